"""A real cluster on this machine, and what goes wrong on one: nothing is lost, nothing doubled, and the table is the same."""
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import speechadv
from speechadv import config as configs
from speechadv.errors import ConfigError
from speechadv.evaluation import running
from speechadv.evaluation.blocks import Block, Done
from speechadv.evaluation.cluster import OnRay

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.cluster
SLOW = "SPEECHADV_TEST_SLOW"
LONG = {"clips": 12, "seeds": [0, 1]}  # of a run that is stopped on the way


@dataclass(frozen=True)
class Words(Block):
    """A block that needs no torch."""

    names: list
    sound: np.ndarray
    places: range
    kind = "words"


class Speller:
    """Makes a row and a file of each word; may kill its process over one, be slow on a slow node, or take its time."""

    def __init__(self, run, poison=None, seconds=0.0, slow=0.0, silent=False):
        self.run, self.poison, self.seconds, self.slow, self.silent = run, poison, seconds, slow, silent

    def sendable(self):
        return self

    def begin(self, threads, device=None):
        pass

    def do(self, item):
        time.sleep(self.seconds * len(item.names) + (self.slow if SLOW in os.environ else 0))
        for name in item.names:
            if name == self.poison:
                os.kill(os.getpid(), signal.SIGKILL)
            if not self.silent:
                (self.run / f"{name}.txt").write_text(name)
        return Done(item, [{"clip": name, "pid": os.getpid(), "folder": os.getcwd(), "data": os.environ.get("SPEECHADV_DATA")} for name in item.names])


def words(count, size=4):
    """Blocks of words, made as they are asked for."""
    sound = np.zeros((count, 10), np.int16)
    for start in range(0, count, size):
        rows = range(start, min(count, start + size))
        yield Words([f"w{row}" for row in rows], sound, rows)


def spelled(engine, run, count, size=4, **how):
    """The rows of a run of fake work, each word once, its files whole."""
    rows = [row for done in engine.run(words(count, size), Speller(run, **how)) for row in done.rows]
    assert Counter(row["clip"] for row in rows) == Counter(f"w{row}" for row in range(count) if f"w{row}" != how.get("poison"))
    assert all((run / f"{row['clip']}.txt").read_text() == row["clip"] for row in rows)
    return rows


class Pair:
    """A node, and a second one when it is asked for, slow, in another folder and without data."""

    def __init__(self, nodes, elsewhere):
        self.nodes, self.elsewhere, self._second, self._third = nodes, elsewhere, None, None
        self.first = nodes.add()

    def second(self, **environment):
        """The second node, with more in its environment where it is not there yet. In the main thread alone."""
        if self._second is None:
            here = os.getcwd()
            os.chdir(self.elsewhere)
            try:
                self._second = self.nodes.add(env_vars={SLOW: "1", **environment})
            finally:
                os.chdir(here)
        self.nodes.wait_for(2)

    @contextlib.contextmanager
    def third(self):
        """One more for a while."""
        self._third = self.nodes.add()
        self.nodes.wait_for(3)
        yield
        self.nodes.lose(self._third)
        self._third = None
        self.nodes.wait_for(1 if self._second is None else 2)

    def remove_second(self):
        if self._second is not None:
            self.nodes.lose(self._second)
            self._second = None
            self.nodes.wait_for(1 if self._third is None else 2)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    from benchmarks.cluster_demo import Nodes

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with pytest.MonkeyPatch.context() as patch, Nodes(200.0) as nodes:
        patch.delenv("SPEECHADV_DATA", raising=False)
        pair = Pair(nodes, tmp_path_factory.mktemp("elsewhere"))
        nodes.wait_for(1)
        yield pair


@pytest.fixture
def told():
    return []


@pytest.fixture
def engine(nodes, told):
    return OnRay(nodes.nodes.address, notice=told.append)


def test_a_bounded_number_of_items_is_in_flight(engine, tmp_path, monkeypatch):
    """However long the run is: references that the driver holds, and blocks that it has read ahead."""
    most, read, done = [0], [0], [0]
    whole = running.Running._fill

    def counted(self, waiting):
        whole(self, waiting)
        most[0] = max(most[0], len(self.under_way))

    def counting(blocks):
        for block in blocks:
            read[0] += 1
            assert read[0] - done[0] <= 256 + 2 * 512 + 2
            yield block

    monkeypatch.setattr(running.Running, "_fill", counted)
    for result in engine.run(counting(words(3000, 1)), Speller(tmp_path, silent=True)):
        done[0] += 1
    assert done[0] == read[0] == 3000 and most[0] <= running.AHEAD
    assert engine.status().endswith("/s") and sum(engine.clips_of.values()) == 3000


def test_a_process_that_is_killed_is_replaced(engine, told, tmp_path):
    """kill -9 of the process that works: its words are done once more."""
    rows = []
    for result in engine.run(words(12, 2), Speller(tmp_path, seconds=0.3)):
        rows += result.rows
        if len(rows) == 2:
            os.kill(rows[0]["pid"], signal.SIGKILL)
    assert Counter(row["clip"] for row in rows) == Counter(f"w{row}" for row in range(12))
    assert len({row["pid"] for row in rows}) == 2 and len(told) == 1 and "a process died over" in told[0]


def test_a_word_that_kills_is_given_up_after_three_tries(engine, told, tmp_path):
    failed = {}
    for result in engine.run(words(8, 4), Speller(tmp_path, poison="w5")):
        failed |= result.failed
    assert failed == {"w5": "3 processes died over it (WorkerCrashedError)"}
    assert {path.stem for path in tmp_path.glob("*.txt")} == {f"w{row}" for row in range(8)} - {"w5"}


def test_what_a_slow_node_has_is_issued_once_more(engine, nodes, tmp_path, monkeypatch):
    """When nothing else is left; the first answer counts."""
    nodes.second()
    monkeypatch.setattr(running, "LATE_FROM", 0.5)
    started = time.monotonic()
    rows = spelled(engine, tmp_path, 12, size=1, seconds=0.1, slow=45.0)
    assert time.monotonic() - started < 40 and len(rows) == 12


def test_a_node_that_joins_late_gets_work(engine, nodes, tmp_path):
    """There is work until a second node has done some of it."""
    nodes.remove_second()
    end = time.monotonic() + 250

    def blocks():
        sound = np.zeros((1, 10), np.int16)
        for number in itertools.count():
            if len(engine.clips_of) == 2 or time.monotonic() > end:
                return
            yield Words([f"w{number}"], sound, range(1))

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(lambda: [row["clip"] for done in engine.run(blocks(), Speller(tmp_path, seconds=0.05, silent=True)) for row in done.rows])
        while not engine.clips_of and not run.done():
            time.sleep(0.05)
        assert len(engine.clips_of) == 1, "the first node works alone"
        nodes.second()
        found = run.result()
    assert len(engine.clips_of) == 2 and min(engine.clips_of.values()) > 0
    assert sorted(found) == sorted(f"w{number}" for number in range(len(found)))


@pytest.fixture(scope="module")
def another(tmp_path_factory):
    """The folder of a real copy of the package with another version on it, for a node to import."""
    copy = shutil.copytree(Path(speechadv.__file__).parent, tmp_path_factory.mktemp("other") / "speechadv", ignore=shutil.ignore_patterns("__pycache__", "weights", "bundled"))
    text = (copy / "__init__.py").read_text("utf-8")
    (copy / "__init__.py").write_text(text.replace(f'__version__ = "{speechadv.__version__}"', '__version__ = "9.9.9"'), encoding="utf-8")
    return str(copy.parent)


def refused(process):
    """One line that names both versions. Returns what is on standard output."""
    printed, err = process.communicate(timeout=240)
    assert process.returncode == 2 and "has speechadv 9.9.9" in err and f"this process has {speechadv.__version__}" in err and err.count("\n") == 1, err
    return printed


@pytest.mark.parametrize("late", (False, True), ids=("at the start", "on the way"))
def test_a_node_with_another_version_is_refused(nodes, settings, tmp_path, another, late):
    """Before anything is written; where it joins later, what is finished is kept."""
    config, out = tmp_path / "config.toml", tmp_path / "run"
    config.write_text(configs.dumps(settings(clips=12, seeds=list(range(300)))))
    nodes.remove_second()
    if late:
        process = driver(nodes, config, out, tmp_path)
        lines = wait_for_rows(out, 0)
    nodes.second(PYTHONPATH=another)
    try:
        printed = refused(process if late else driver(nodes, config, out, tmp_path))
    finally:
        nodes.remove_second()
    assert not printed and (out / "rows.jsonl").read_bytes().count(b"\n") >= lines if late else not out.exists()


def test_addresses_without_a_cluster():
    for address in ("foo", "ray://127.0.0.1:1", "foo:bar", ":", "a b:1"):
        with pytest.raises(ConfigError, match="expected auto or HOST:PORT"):
            OnRay(address)


def test_a_node_that_leaves_takes_nothing_with_it(engine, nodes, settings, undisturbed, tmp_path, no_page):
    """`make cluster-demo` with three nodes: the second is killed once the first rows are there; the same rows, tables and sound byte for byte."""
    from benchmarks.cluster_demo import lose_a_node

    nodes.second()
    with nodes.third():
        assert lose_a_node(settings(**LONG), tmp_path, engine, nodes.remove_second, alone=undisturbed) == []


def driver(nodes, config, out, folder=None):
    """The command as a process of its own, in its own group; Ray lets the nodes import from its folder first."""
    words = [sys.executable, "-m", "speechadv", "evaluate", str(config), "--out", str(out), "--engine", "ray", "--address", nodes.nodes.address]
    words += ["--json", "--quiet"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
                            cwd=folder)


def wait_for_rows(out, more_than):
    """Lines of rows.jsonl, once there are some more."""
    end = time.monotonic() + 240
    while not (out / "rows.jsonl").exists() or (lines := (out / "rows.jsonl").read_bytes().count(b"\n")) <= more_than:
        assert time.monotonic() < end
        time.sleep(0.05)
    return lines


def test_the_driver_is_stopped_killed_and_started_again(nodes, settings, undisturbed, tmp_path):
    """Ctrl-C keeps what is done and says how to go on; so does kill -9; the end is the same."""
    from benchmarks.cluster_demo import contents

    config, out = tmp_path / "config.toml", tmp_path / "run"
    config.write_text(configs.dumps(settings(**LONG)))
    lines = 0
    for how in (signal.SIGINT, signal.SIGKILL):
        process = driver(nodes, config, out)
        lines = wait_for_rows(out, lines)
        process.send_signal(how)
        _, err = process.communicate(timeout=240)
        if how == signal.SIGINT:
            assert process.returncode == 130 and "Go on with: speechadv evaluate" in err and "--engine ray" in err and "Traceback" not in err
        assert (out / "rows.jsonl").read_bytes().count(b"\n") >= lines
    process = driver(nodes, config, out)
    printed, err = process.communicate(timeout=240)
    assert process.returncode == 0 and json.loads(printed)["finished"], err
    assert contents(out) == contents(undisturbed)


@pytest.fixture(scope="module")
def undisturbed(settings, tmp_path_factory):
    from speechadv.evaluation.run import evaluate

    run = tmp_path_factory.mktemp("undisturbed") / "run"
    evaluate(settings(**LONG), run)
    return run
