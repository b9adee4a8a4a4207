"""The arithmetic of benchmarks/scale.py; the figures themselves are nothing for a test."""
import os
import subprocess
import sys

import pytest

from benchmarks import empty, scale

WRITING = [{"clips_a_task": 512, "rows": 1000, "seconds": 0.2, "rows_a_second": 5000, "driver_cpu_seconds": 0.1},
           {"clips_a_task": 1, "rows": 100, "seconds": 1.0, "rows_a_second": 100, "driver_cpu_seconds": 0.21}]
MEMORY = [{"rows": 1000, "page": False, "peak_before_mb": 500.0, "peak_of_rows_mb": 500.0, "peak_mb": 600.0, "seconds": 1.0, "rows_a_second": 1000},
          {"rows": 10000, "page": False, "peak_before_mb": 500.0, "peak_of_rows_mb": 501.0, "peak_mb": 605.0, "seconds": 5.0, "rows_a_second": 2000},
          {"rows": 1000, "page": True, "peak_before_mb": 500.0, "peak_of_rows_mb": 500.0, "peak_mb": 900.0, "seconds": 5.0, "rows_a_second": 2000}]


def a_round(two_processes, one_node, two_nodes):
    seconds = {"two_processes": two_processes, "one_node": one_node, "two_nodes": two_nodes}
    return seconds | {f"{name}_busy": 2 * value for name, value in seconds.items()} | {"start_of_one_node": 4.0, "start_of_two_nodes": 5.0}


def test_a_task_costs_what_small_ones_take_more():
    assert scale.costs(WRITING) == (pytest.approx(0.0002), pytest.approx(0.002))


def test_figures_say_whether_their_aim_is_reached():
    found = {line["what"]: line for line in scale.figures([a_round(100, 190, 104), a_round(100, 170, 106), a_round(100, 200, 100)], WRITING, MEMORY)}
    overhead, gain = found["Ray over local, two workers each"], found["one node over two nodes"]
    assert (overhead["value"], overhead["reached"], overhead["more"]) == (1.04, "yes", "1.000 to 1.060, rounds: 3")
    assert gain["value"] == pytest.approx(1.827, abs=1e-3) and gain["reached"] == "yes"
    assert found["rows a second from Ray that the driver takes"]["reached"] == "yes" and found["tasks of one row a second"]["reached"] == ""
    assert found["peak memory of 10000 rows over that of 1000"]["value"] == 1.008 and found["bytes a row in all"]["value"] == 500
    slow = {line["what"]: line["reached"] for line in scale.figures([a_round(100, 150, 106)], WRITING, MEMORY)}
    assert slow["Ray over local, two workers each"] == slow["one node over two nodes"] == "no"
    shared = {line["what"]: line["reached"] for line in scale.figures([a_round(100, 150, 106)], WRITING, MEMORY, shared=True)}
    assert shared["one node over two nodes"].startswith("not judged") and shared["the same in processor seconds"] == "no"


def test_page_has_all_figures():
    about = {"processor": "P", "cores": 2, "load": 1.0, "load_after": 2.0, "niceness": 0}
    speed = [a_round(100, 190, 104)]
    text = scale.page({"machine": about, "speed": speed, "figures": scale.figures(speed, WRITING, MEMORY), "memory": MEMORY})
    assert "| 100 (200) | 190 (380) | 104 (208) |" in text and "| 10,000 | no | 500.0 | 501.0 | 605.0 | 5.0 | 2,000 |" in text


def test_processor_seconds_are_those_of_a_process_and_of_what_it_begins():
    script = "import sys; sum(range(3_000_000)); print('done', flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    found = scale.running()
    child.communicate()
    assert {os.getpid(), child.pid} <= {number for number, _ in found} and 1 not in {number for number, _ in found}
    assert sum(value for (number, _), value in found.items() if number == child.pid) > 0


def test_rows_that_nobody_worked_for_are_a_run(tmp_path):
    """What is measured is what `evaluate` does: all rows are whole, in order and in the tables."""
    from speechadv.evaluation.run import evaluate

    engine = scale.Clocked(empty.Idle())
    with empty.many_clips(20):
        result = evaluate(empty.config_of(20, block=8), tmp_path / "run", engine=engine)
    assert result["finished"] and result["rows"] == engine.rows == 20 and engine.seconds > 0
    assert not list((tmp_path / "run").rglob("*.wav")) and (tmp_path / "run" / "rows.jsonl").read_bytes().count(b"\n") == 20
