"""Which clips an evaluation uses."""
from collections import Counter

import pytest

from speechadv.data.samples import bundled_folder
from speechadv.errors import ConfigError
from speechadv.evaluation.clips import chosen, load_clips
from speechadv.evaluation.settings import EvaluationConfig


def config(**keys):
    return EvaluationConfig(attacks=["pgd"], budgets=["linf:0.002"], **keys)


NAMES = [f"{word}/{i:03}_nohash_0.wav" for word, count in (("yes", 60), ("no", 30), ("off", 3)) for i in range(count)]
LABELS = [name.partition("/")[0] for name in NAMES]


def test_a_part_keeps_the_proportions_and_grows():
    few, more = (set(chosen(NAMES, LABELS, config(clips=n))) for n in (31, 62))
    assert few < more and Counter(LABELS[row] for row in few) == {"yes": 20, "no": 10, "off": 1}
    assert Counter(LABELS[row] for row in more) == {"yes": 40, "no": 20, "off": 2}
    assert chosen(NAMES, LABELS, config(clips=1000)) == list(range(len(NAMES)))


def test_a_part_does_not_depend_on_the_order():
    backwards = chosen(NAMES[::-1], LABELS[::-1], config(clips=20))
    assert {NAMES[::-1][row] for row in backwards} == {NAMES[row] for row in chosen(NAMES, LABELS, config(clips=20))}


def test_a_list(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"# two clips\n{NAMES[5]}\n\n{NAMES[2]}\n{NAMES[5]}\n")
    assert chosen(NAMES, LABELS, config(clip_list=str(path))) == [2, 5]
    path.write_text("yes/001_nohash_9.wav\n")
    with pytest.raises(ConfigError, match="no clip 'yes/001_nohash_9.wav'.*did you mean"):
        chosen(NAMES, LABELS, config(clip_list=str(path)))
    path.write_text("\n")
    with pytest.raises(ConfigError, match="found none"):
        chosen(NAMES, LABELS, config(clip_list=str(path)))


def test_targets_differ_from_labels_and_depend_on_seed_and_clip(data_root):
    clips = load_clips(config(data=[str(data_root)], task="yes,no,stop,go"), 16000)
    drawn = [[clips.target(row, seed) for row in range(len(clips))] for seed in (0, 1)]
    assert len(clips) == 12 and clips.source == "data" and drawn[0] != drawn[1]
    assert all(target != label for targets in drawn for target, label in zip(targets, clips.labels))
    assert len(set(drawn[0])) > 1
    part = load_clips(config(data=[str(data_root)], task="yes,no,stop,go", clips=5), 16000)
    assert [part.target(row, 0) for row in range(5)] == [drawn[0][clips.names.index(name)] for name in part.names]


@pytest.mark.skipif(not (bundled_folder() / "manifest.json").exists(), reason="no bundled clips")
def test_bundled_clips_without_data(monkeypatch):
    monkeypatch.delenv("SPEECHADV_DATA", raising=False)
    clips = load_clips(config(clips=24), 16000)
    assert clips.source == "bundled" and len(clips) == 24 and clips.pcm.shape == (24, 16000) and set(Counter(clips.labels).values()) == {2}
    with pytest.raises(ConfigError, match="16000 Hz"):
        load_clips(config(), 8000)
