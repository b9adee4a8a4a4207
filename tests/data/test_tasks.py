"""Tasks, shares of other words, silence that no two splits share."""
from collections import Counter

import pytest

from speechadv.data import load, official_split, scan, select, task
from speechadv.data.tasks import LABELS, PARTS, silence_clips
from speechadv.errors import ConfigError, DataError

SPLITS = ("train", "validation", "test")


def test_labels_and_their_order():
    assert task("v2-12").labels == ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "_unknown_", "_silence_")
    assert [len(LABELS[name]) for name in ("v2-35", "v1-12", "sc09")] == [35, 12, 10]
    assert task("yes, no").labels == task(["yes", "no"]).labels == ("yes", "no")
    assert task("v2-12").indices(["_silence_", "yes"]).tolist() == [11, 0]


@pytest.mark.parametrize("spec", ["v2-13", "yes,yes", "", "yes,", ["yes"]])
def test_bad_tasks(spec):
    with pytest.raises(ConfigError, match="task"):
        task(spec)


def test_closest_task_is_suggested():
    with pytest.raises(ConfigError, match="did you mean 'v2-12'"):
        task("v2_12")


def test_version_1_knows_no_words_of_version_2():
    assert task("v1-12").label_of("backward") is None and task("v2-12").label_of("backward") == "_unknown_"
    assert task("sc09").label_of("yes") is None and task("v2-12").label_of("_background_noise_") is None


@pytest.mark.parametrize("split", SPLITS)
def test_shares_are_the_mean_of_the_keywords(roots, split):
    spec = task(["yes", "no", "_unknown_", "_silence_"])
    counts = Counter(label for _, label in select(scan(roots), spec, split))
    mean = round((counts["yes"] + counts["no"]) / 2)
    assert counts["_silence_"] == mean and 0 < counts["_unknown_"] <= mean


def test_selection_is_sorted_repeats_and_depends_on_the_seed(roots):
    clips, spec = scan(roots), task(["yes", "_unknown_", "_silence_"])
    first, again = select(clips, spec, "test"), select(clips[::-1], spec, "test")
    assert [c.name for c, _ in first] == sorted(c.name for c, _ in first)
    assert [(c.name, label) for c, label in first] == [(c.name, label) for c, label in again]
    other = select(clips, spec, "test", seed=1)
    assert [c.start for c, label in first if label == "_silence_"] != [c.start for c, label in other if label == "_silence_"]


def test_all_other_words_on_request(made_tree):
    clips = scan(made_tree)
    chosen = select(clips, task(["yes", "_unknown_"]), "train", unknown=None)
    assert sum(label == "_unknown_" for _, label in chosen) == sum(c.split == "train" and c.word != "yes" for c in clips)


def test_silence_of_two_splits_shares_no_sample(roots):
    clips = scan(roots)
    lengths = {}
    for clip in clips:
        if clip.split == "background":
            lengths[clip.path] = len(load_whole(clip.path))
    for split in SPLITS:
        for cut in silence_clips(clips, split, 40):
            low, high = (round(lengths[cut.path] * part) for part in PARTS[split])
            assert low <= cut.start and cut.start + 16000 <= high
            assert official_split(cut.name) == split == cut.split and 0 <= cut.gain <= 1


def load_whole(path):
    from speechadv import audio

    return audio.read(path)


def test_silence_has_many_levels(made_tree):
    gains = [clip.gain for clip in silence_clips(scan(made_tree), "train", 400)]
    assert 0.05 < sum(gain < 0.01 for gain in gains) / 400 < 0.17 and max(gains) > 0.9
    assert len({clip.name for clip in silence_clips(scan(made_tree), "train", 400)}) == 400


def test_ready_made_silence_is_taken_as_it_is(tmp_path, make):
    for name in ("yes/beb458a4_nohash_0.wav", "_silence_/0.wav", "_silence_/1.wav", "_unknown_/bed_beb458a4_nohash_0.wav"):
        make.put(tmp_path / name)
    counts = Counter(label for _, label in select(scan(tmp_path), task(["yes", "_unknown_", "_silence_"]), "test"))
    assert counts == {"yes": 1, "_silence_": 1, "_unknown_": 1}


def test_labels_without_clips_are_told_and_nothing_at_all_is_an_error(made_tree):
    notices = []
    select(scan(made_tree), task(["yes", "stop"]), "test", notice=notices.append)
    assert notices == ["task 'yes,stop', split test: no clips of 'stop'"]
    with pytest.raises(DataError, match="no clips of task 'left,right' in split train"):
        select(scan(made_tree), task(["left", "right"]), "train")
    with pytest.raises(ConfigError, match="unknown split 'tset', did you mean 'test'"):
        select(scan(made_tree), task("v2-12"), "tset")


def test_training_only_clips_never_reach_an_evaluation(tmp_path, made_tree, make):
    make.tree(tmp_path / "extra", words=("yes",), suffix="ogg", lists=False)
    for speaker in (*make.SPEAKERS["validation"], *make.SPEAKERS["test"]):
        (tmp_path / "extra/yes" / f"{speaker}_nohash_0.ogg").unlink()
    clips = scan(made_tree, train_only=[tmp_path / "extra"])
    for split in SPLITS:
        extra = [c for c, _ in select(clips, task("v2-12"), split) if "extra" in c.path.parts]
        assert len(extra) == (4 if split == "train" else 0)


def test_silence_is_loaded_with_its_gain(made_tree):
    cut = silence_clips(scan(made_tree), "test", 1)[0]
    whole = load_whole(cut.path)
    wave = load([cut])[0] / 32768
    assert abs(wave - whole[cut.start : cut.start + 16000] * cut.gain).max() <= 2**-16 + 1e-9
