"""`data check` names what is wrong and proves what is right."""
import json
import shutil
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from speechadv.cli.data import command
from speechadv.data.check import check, fingerprint
from speechadv.errors import DataError, InputError


def run(*arguments, **environment):
    return CliRunner().invoke(command, ["check", *map(str, arguments)], env=environment)


def test_good_data(roots):
    findings = check([Path(root) for root in roots])
    assert findings.faults == [] and all(findings.speakers.values()) and findings.recordings


def test_command_prints_counts(made_tree):
    result = run(made_tree)
    lines = [line.split() for line in result.output.splitlines()]
    assert result.exit_code == 0 and ["yes", "4", "2", "2"] in lines and ["clips", "16", "8", "8"] in lines and ["speakers", "4", "2", "2"] in lines
    assert "no speaker stands in two splits" in result.output
    assert run(SPEECHADV_DATA=str(made_tree)).output == result.output


def test_json_is_one_document(made_tree):
    content = json.loads(run(made_tree, "--json").stdout)
    assert content["words"]["yes"] == {"train": 4, "validation": 2, "test": 2} and content["faults"] == []


def test_speaker_in_two_splits(made_tree):
    listing = made_tree / "testing_list.txt"
    listing.write_text("".join(line for line in listing.open() if line != "yes/beb458a4_nohash_0.wav\n"))
    result = run(made_tree)
    assert result.exit_code == 1 and "fault: speaker 'beb458a4' stands in " in result.output and "yes/beb458a4_nohash_0.wav" in result.output
    assert "no speaker stands" not in result.output


def test_speaker_crossing_between_roots(tmp_path, make):
    make.put(tmp_path / "a/yes/beb458a4_nohash_0.wav")
    make.put(tmp_path / "b/yes/beb458a4_nohash_1.wav")
    (tmp_path / "b/testing_list.txt").write_text("")
    (tmp_path / "b/validation_list.txt").write_text("")
    assert any(fault.startswith("speaker 'beb458a4' stands in test and train") for fault in check([tmp_path / "a", tmp_path / "b"]).faults)


def test_lists_against_files_and_hash(made_tree):
    with (made_tree / "testing_list.txt").open("a") as file:
        file.write("yes/gone_nohash_0.wav\nyes/004ae714_nohash_0.wav\nyes/ff2b842e_nohash_0.wav\n")
    faults = "\n".join(check([made_tree]).faults)
    assert "'yes/gone_nohash_0.wav' is listed in testing_list.txt and missing" in faults
    assert "'yes/004ae714_nohash_0.wav' is listed in testing_list.txt, the speaker's hash says train" in faults
    assert "'yes/ff2b842e_nohash_0.wav' stands in both lists" in faults


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_one_sound_under_two_words(tmp_path, make, suffix):
    make.tree(tmp_path, suffix=suffix)
    shutil.copy(tmp_path / f"yes/004ae714_nohash_0.{suffix}", tmp_path / f"no/004ae714_nohash_7.{suffix}")
    shutil.copy(tmp_path / f"yes/004ae714_nohash_0.{suffix}", tmp_path / f"yes/004ae714_nohash_8.{suffix}")
    (fault,) = check([tmp_path]).faults
    assert "two words" in fault and f"no/004ae714_nohash_7.{suffix}" in fault and f"yes/004ae714_nohash_0.{suffix}" in fault


def test_twice_under_one_word_is_no_fault(made_tree):
    shutil.copy(made_tree / "yes/004ae714_nohash_0.wav", made_tree / "yes/004ae714_nohash_8.wav")
    assert check([made_tree]).faults == []


def test_wav_and_flac_of_one_sound_have_one_fingerprint(tmp_path, make):
    samples, rate = soundfile.read(make.put(tmp_path / "a.wav"), dtype="int16")
    soundfile.write(tmp_path / "a.flac", samples, rate)
    assert fingerprint(tmp_path / "a.wav") == fingerprint(tmp_path / "a.flac")


def test_forged_flac_header_accuses_nobody(made_tree, make):
    for word in ("yes", "no"):
        path = make.put(made_tree / word / "004ae714_nohash_9.flac")
        data = bytearray(path.read_bytes())
        data[26:42] = b"x" * 16
        path.write_bytes(data)
    assert check([made_tree]).faults == []


def test_nothing_to_check_and_broken_clip(made_tree, monkeypatch):
    assert isinstance(run(SPEECHADV_DATA="").exception, DataError)
    (made_tree / "yes/004ae714_nohash_5.wav").write_text("text")
    assert isinstance(run(made_tree).exception, InputError)
