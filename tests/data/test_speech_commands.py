"""The official layout, lists, hash rule."""
import shutil

import pytest

from speechadv.data import official_split, scan
from speechadv.data.speech_commands import data_roots, normal_name, read_lists, speaker_of
from speechadv.errors import DataError


def test_hash_rule_gives_the_official_lists(make):
    for name, split in make.OFFICIAL.items():
        assert official_split(name) == split
        assert official_split(name.split("/")[1].replace(".wav", ".flac")) == split


def test_lists_and_hash_rule_agree(roots):
    from pathlib import Path

    for root in map(Path, roots):
        listed = read_lists(root) or {}
        assert all(official_split(name) == split for name, split in listed.items())
    for clip in scan(roots):
        assert clip.split == "background" or clip.split == official_split(clip.name)


def test_no_speaker_stands_in_two_splits(roots):
    speakers = {split: {c.speaker for c in scan(roots) if c.split == split} for split in ("train", "validation", "test")}
    assert all(speakers.values())
    assert sum(map(len, speakers.values())) == len(set.union(*speakers.values()))


@pytest.mark.parametrize("suffix", ["flac", "ogg", "WAV"])
def test_suffixes_have_the_official_names(tmp_path, make, suffix):
    make.tree(tmp_path, suffix=suffix)
    clips = scan(tmp_path)
    assert {c.name for c in clips if c.word == "yes"} >= {"yes/004ae714_nohash_0.wav"}
    assert {c.split for c in clips} == {"train", "validation", "test", "background"}


def test_without_lists_the_hash_decides(tmp_path, make):
    make.tree(tmp_path, lists=False)
    assert read_lists(tmp_path) is None
    assert all(c.split == official_split(c.name) for c in scan(tmp_path) if c.split != "background")


def test_one_list_without_the_other_is_an_error(made_tree):
    (made_tree / "testing_list.txt").unlink()
    with pytest.raises(DataError, match="expected both"):
        scan(made_tree)


def test_first_of_several_roots_wins(tmp_path, make):
    make.tree(tmp_path / "a", words=("yes",))
    make.tree(tmp_path / "b", words=("yes", "no"))
    clips = scan([tmp_path / "a", tmp_path / "b"])
    assert len({c.name for c in clips}) == len(clips) and all("/a/" in c.path.as_posix() for c in clips if c.word == "yes")


def test_official_test_archive(tmp_path, make):
    for name in ("yes/0132a06d_nohash_3.wav.wav", "_unknown_/bed_beb458a4_nohash_0.wav.wav", "_silence_/12.wav"):
        make.put(tmp_path / name)
    clips = {c.name: c for c in scan(tmp_path)}
    assert set(clips) == {"yes/0132a06d_nohash_3.wav", "_unknown_/bed_beb458a4_nohash_0.wav", "_silence_/12.wav"}
    assert {c.split for c in clips.values()} == {"test"}
    assert clips["_unknown_/bed_beb458a4_nohash_0.wav"].speaker == "beb458a4"


def test_folder_for_training_only(tmp_path, made_tree, make):
    make.put(tmp_path / "extra/yes/004ae714_nohash_0.ogg")
    clips = scan(made_tree, train_only=[tmp_path / "extra"])
    assert [c.split for c in clips if c.path.suffix == ".ogg"] == ["train"]
    assert sum(c.name == "yes/004ae714_nohash_0.wav" for c in clips) == 2
    make.put(tmp_path / "extra/yes/beb458a4_nohash_0.ogg")
    with pytest.raises(DataError, match="belongs to test"):
        scan(made_tree, train_only=[tmp_path / "extra"])


def test_no_speaker_of_the_lists_or_of_unknown_words_comes_in_by_a_training_folder(tmp_path, make):
    make.put(tmp_path / "root/yes/004ae714_nohash_0.wav")  # training by the hash, test by the list
    make.put(tmp_path / "root/yes/0132a06d_nohash_0.wav")
    (tmp_path / "root/testing_list.txt").write_text("yes/004ae714_nohash_0.wav\n")
    (tmp_path / "root/validation_list.txt").write_text("")
    make.put(tmp_path / "extra/yes/004ae714_nohash_1.wav")
    with pytest.raises(DataError, match="004ae714_nohash_1.wav': a folder for training only may not hold it, its speaker belongs to test"):
        scan(tmp_path / "root", train_only=[tmp_path / "extra"])
    make.put(tmp_path / "unknown/_unknown_/bed_beb458a4_nohash_0.wav")
    assert official_split("bed_beb458a4_nohash_0.wav") == "train", "a hash of word and speaker says nothing"
    with pytest.raises(DataError, match="belongs to test"):
        scan([], train_only=[tmp_path / "unknown"])


def test_missing_empty_and_foreign_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes/yes").mkdir(parents=True)
    (tmp_path / "notes/yes/readme.txt").write_text("no sound")
    (tmp_path / "file").write_text("")
    for name, expected in (("none", "no such folder"), ("empty", "found none"), ("notes", "found none"), ("file", "Not a directory")):
        with pytest.raises(DataError, match=f"{name}.*{expected}"):
            scan(tmp_path / name)
        with pytest.raises(DataError, match=f"{name}.*{expected}"):
            scan([], train_only=[tmp_path / name])


def test_roots_from_config_and_environment(monkeypatch, tmp_path):
    import os

    monkeypatch.setenv("SPEECHADV_DATA", f"a{os.pathsep}b")
    assert [str(r) for r in data_roots()] == ["a", "b"] and [str(r) for r in data_roots(["c"])] == ["c"]
    monkeypatch.delenv("SPEECHADV_DATA")
    assert data_roots() == []


def test_names():
    assert normal_name("a.wav.wav") == normal_name("a.flac") == "a.wav"
    assert speaker_of("yes/0132a06d_nohash_3.wav") == "0132a06d" and speaker_of("_unknown_/bed_12ab34cd_nohash_0.wav") == "12ab34cd"


def test_hidden_files_are_passed_over(made_tree):
    before = len(scan(made_tree))
    (made_tree / "yes/._004ae714_nohash_0.wav").write_bytes(b"")
    shutil.copytree(made_tree / "yes", made_tree / ".trash")
    assert len(scan(made_tree)) == before
