"""What the scaling curves are made of; the figures themselves are nothing for a test."""
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import scaling
from speechadv.data import load, scan, select, task


def test_slope_is_the_power():
    rows = [{"value": value, "time": 3 * value**1.5} for value in (1, 2, 4, 8)]
    assert scaling.slope(rows, "time") == pytest.approx(1.5)


def test_recordings_are_a_test_split_of_different_clips(tmp_path):
    scaling.recordings(tmp_path, 250)
    chosen = select(scan([tmp_path]), task("v2-12"), "test")
    clips = load([clip for clip, _ in chosen])
    assert len(chosen) == 250 == len({clip.speaker for clip, _ in chosen}) and len(np.unique(clips, axis=0)) == 250


def test_an_axis_measured_again_leaves_the_others(tmp_path, monkeypatch):
    taken = iter(range(1, 100))
    monkeypatch.setattr(scaling, "of_process", lambda settings: {"seconds_taken": float(next(taken)), "peak_mib": 2.0})
    monkeypatch.setattr(scaling, "evaluated", lambda **settings: {"seconds_taken": 1.0, "peak_mib": 900.0})
    run = lambda *options: CliRunner().invoke(scaling.main, ["--quick", "--out", str(tmp_path), *options])
    assert run().exit_code == 0
    before = scaling.read(tmp_path / "scaling.csv")
    assert run("--axis", "steps").exit_code == 0
    after = scaling.read(tmp_path / "scaling.csv")
    assert [row["axis"] for row in after] == [row["axis"] for row in before] == [axis for axis in scaling.QUICK for _ in range(2)]
    assert [row for row in after if row["axis"] != "steps"] == [row for row in before if row["axis"] != "steps"] and before != after
    assert "| `steps` | attack | 1 to 2 |" in (tmp_path / "scaling.md").read_text() and (tmp_path / "scaling.png").stat().st_size > 1000


def test_an_evaluation_is_measured_from_outside():
    found = scaling.evaluated(clips=3, batch_size=3, steps=1, seconds=1, models=2)
    assert found["seconds_taken"] > 0.5 and 100 < found["peak_mib"] < 10_000
