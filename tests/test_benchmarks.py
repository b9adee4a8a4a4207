"""The benchmarks' arithmetic, names and files; the figures themselves are nothing for a test."""
import importlib
import itertools
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import check_machine, keep, main, passes
from benchmarks.comparisons import WHERE
from benchmarks.timing import Comparison, measure


@pytest.fixture
def clock(monkeypatch):
    """Calls return the seconds that they are said to have taken."""
    monkeypatch.setattr("benchmarks.timing.seconds", lambda work: work())


def taking(*seconds):
    each = itertools.cycle(seconds)
    return lambda: next(each)


def test_ratio_is_theirs_over_ours_for_times_and_rates(clock):
    for unit in ("s", "clips a second"):
        row = measure(Comparison("x", taking(2.0), taking(10.0, 8.0, 12.0), unit, "sleep", 2), 3, warm=False)
        assert (row["low"], row["ratio"], row["high"], row["reached"]) == (4, 5, 6, True)
    assert (row["ours"], row["theirs"]) == (0.5, 0.1)  # a rate


def test_work_of_different_size_is_compared_by_the_piece(clock):
    row = measure(Comparison("x", taking(0.04), taking(0.02), "ms a clip", "sleep", 5, work=8, their_work=1), 3)
    assert (row["ours"], row["theirs"], row["ratio"]) == (pytest.approx(5), pytest.approx(20), pytest.approx(4)) and not row["reached"]


def test_without_a_peer_the_aim_is_over_ours(clock):
    row = measure(Comparison("x", taking(0.02), None, "s", "the aim", 0.2), 3)
    assert row["ratio"] == pytest.approx(10) and row["theirs"] == 0.2 and row["aim"] == 1


def test_every_name_has_its_function():
    for name, module in WHERE.items():
        assert callable(getattr(importlib.import_module(f"benchmarks.comparisons.{module}"), re.sub(r"\W+", "_", name)))


def test_command_writes_both_files_and_keeps_other_lines(tmp_path):
    other = measure(Comparison("mp3", lambda: None, lambda: None, "clips a second", "nothing", 1), 1)
    keep([other], tmp_path)
    result = CliRunner().invoke(main, ["--only", "import speechadv", "--quick", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "benchmarks.json").read_text())
    assert [row["name"] for row in content["comparisons"]] == ["mp3", "import speechadv"] and content["machine"]["cores"]
    assert {"name", "ours", "theirs", "ratio", "low", "high", "unit", "command"} <= set(content["comparisons"][0])
    assert "| `import speechadv` |" in (tmp_path / "benchmarks.md").read_text()
    (tmp_path / "benchmarks.json").write_text(json.dumps(content | {"machine": content["machine"] | {"processor": "another"}}))
    result = CliRunner().invoke(main, ["--only", "import speechadv", "--quick", "--out", str(tmp_path)])
    assert result.exit_code == 2 and "holds figures of another machine (processor: another" in result.output
    check_machine(tmp_path, partial=False)
    assert not (tmp_path / "benchmarks.json").exists(), "a whole run begins anew"


def test_where_there_is_a_gpu_what_runs_on_it_is_measured_there_too(monkeypatch):
    here, names = Path("out"), ["mp3", "step_overhead"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert passes(None, here, names) == [("cpu", here, names)]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert passes(None, here, names) == [("cpu", here, names), ("cuda", here / "gpu", ["step_overhead"])]
    assert passes("cpu", here, names) == [("cpu", here, names)]


def test_what_cannot_be_measured_here_leaves_no_row_of_before(tmp_path, monkeypatch):
    keep([measure(Comparison(name, lambda: None, lambda: None, "s", "nothing", 1), 1) for name in ("mp3", "mp3_ffmpeg")], tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: None)
    result = CliRunner().invoke(main, ["--only", "mp3_ffmpeg", "--quick", "--out", str(tmp_path)])
    assert result.exit_code == 0 and "mp3_ffmpeg: left out" in result.output
    assert [row["name"] for row in json.loads((tmp_path / "benchmarks.json").read_text())["comparisons"]] == ["mp3"]
