"""The driver's side of a cluster, on one that is played by this process: what it does when tasks fail, hang or come twice, without chance or clocks."""
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from speechadv import __version__
from speechadv.errors import SpeechAdvError
from speechadv.evaluation import remote
from speechadv.evaluation.blocks import Done
from speechadv.evaluation.running import Running
from speechadv.evaluation.work import Item, Worker


class RayError(Exception):
    """As in ray.exceptions."""


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__(f"a traceback\n{cause}")
        self.cause = cause


class WorkerCrashedError(RayError):
    """A process died."""


class OutOfMemoryError(RayError):
    """A process was killed."""


DONE, HANGS = "done", "hangs"


class Played:
    """The part of Ray that a run uses. What happens to each task is decided by `fate(number, names of its clips)`: DONE, HANGS, or what is raised."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, WorkerCrashedError=WorkerCrashedError, OutOfMemoryError=OutOfMemoryError)

    def __init__(self, fate=lambda number, names: DONE, processes=1):
        self.fate, self.processes = fate, processes
        self.tasks, self.cancelled, self.held = {}, [], {}

    def remote(self, **options):
        def with_options(function):
            def submit(*arguments):
                number = len(self.tasks)
                names = [name for item in arguments[2] for name in item.names]
                self.tasks[f"task {number}"] = (self.fate(number, names), function, [self.held.get(a, a) if isinstance(a, str) else a for a in arguments])
                return f"task {number}"

            return SimpleNamespace(options=lambda **more: SimpleNamespace(remote=submit))

        return with_options

    def put(self, value):
        self.held[f"held {len(self.held)}"] = value
        return f"held {len(self.held) - 1}"

    def wait(self, references, num_returns, timeout):
        return [reference for reference in references if self.tasks[reference][0] is not HANGS][:num_returns], []

    def get(self, reference):
        if reference in self.held:
            return self.held[reference]
        fate, function, arguments = self.tasks[reference]
        if fate is not DONE:
            raise fate
        try:
            return function(*arguments)
        except Exception as problem:
            raise RayTaskError(problem) from None

    def cancel(self, reference, force):
        self.cancelled.append(reference)

    def cluster_resources(self):
        return {"CPU": self.processes}

    def get_runtime_context(self):
        return SimpleNamespace(get_node_id=lambda: "abcdef0123")


class Noting(Worker):
    """A row and a file a clip."""

    def sendable(self):
        return Noting(self.run)

    def begin(self, threads, device=None):
        self.threads = threads

    def do(self, item):
        for name in item.names:
            (self.run / "audio").mkdir(exist_ok=True)
            (self.run / "audio" / name).write_bytes(name.encode())
        return Done(item, rows=[{"clip": name, "heard": int(samples[0])} for name, samples in zip(item.names, item.pcm)])


def blocks(count, size=2):
    names = [f"clip{i}" for i in range(count)]
    sound = np.arange(count, dtype=np.int16)[:, None].repeat(4, 1)
    return [Item("craft", (), names[i : i + size], names[i : i + size], None, sound, range(i, min(i + size, count))) for i in range(0, count, size)]


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Run blocks on a played cluster: (rows by clip, failed, notices, the cluster)."""
    remote._workers.clear()

    def run(cluster, count=6, worker=None, items=None):
        monkeypatch.setitem(sys.modules, "ray", cluster)
        notices = []
        engine = SimpleNamespace(cores=1, gpus=0, notice=notices.append, count=lambda node, clips, seconds: counted.update({node: clips}))
        counted, rows, failed = Counter(), {}, {}
        for done in Running(cluster, engine, worker or Noting(tmp_path)).all(blocks(count) if items is None else items):
            assert not {row["clip"] for row in done.rows} & rows.keys(), "a row twice"
            rows |= {row["clip"]: row["heard"] for row in done.rows}
            failed |= done.failed
        return SimpleNamespace(rows=rows, failed=failed, notices=notices, counted=counted)

    yield run
    remote._workers.clear()


def test_everything_comes_back_once_and_its_files_too(play, tmp_path):
    found = play(Played(), 7)
    assert found.rows == {f"clip{i}": i for i in range(7)} and not found.failed and found.counted == {"node abcdef": 7} and not found.notices
    assert {path.name: path.read_text() for path in (tmp_path / "audio").iterdir()} == {f"clip{i}": f"clip{i}" for i in range(7)}


def test_what_a_node_took_along_is_done_elsewhere(play):
    found = play(Played(lambda number, names: RayError("its node left") if number == 1 else DONE))
    assert len(found.rows) == 6 and found.notices == ["a node left the cluster: 2 clips are done elsewhere"]


@pytest.mark.parametrize("death", [WorkerCrashedError(), OutOfMemoryError(), RayTaskError(ValueError("a torn page"))], ids=lambda death: type(death).__name__)
def test_a_clip_that_kills_its_process_is_found_and_left_out(play, death):
    """Twice the whole task, then its halves; the clip alone once more, and the others lose nothing."""
    cluster = Played(lambda number, names: death if "clip3" in names else DONE)
    found = play(cluster)
    why = "ValueError: a torn page" if isinstance(death, RayTaskError) else type(death).__name__
    assert set(found.rows) == {f"clip{i}" for i in (0, 1, 2, 4, 5)} and found.failed == {"clip3": f"3 processes died over it ({why})"}
    assert sum("clip3" in [name for item in arguments[2] for name in item.names] for _, _, arguments in cluster.tasks.values()) == 4
    assert found.notices[0] == f"a process died over 2 clips ({why}): they are tried again"


def test_a_task_that_hangs_is_issued_again_and_the_first_answer_counts(play, monkeypatch):
    monkeypatch.setattr("speechadv.evaluation.running.LATE_FROM", 0.0)
    monkeypatch.setattr("speechadv.evaluation.running.LATE", 0.0)
    cluster = Played(lambda number, names: HANGS if number == 0 else DONE)
    assert len(play(cluster).rows) == 6 and "task 0" in cluster.cancelled


def test_a_cluster_without_room_is_told_of_and_one_that_grows_goes_on(play):
    class Growing(Played):
        looks = 0

        def wait(self, references, num_returns, timeout):
            self.looks += 1
            return ([], []) if self.looks < 3 else super().wait(references, num_returns, timeout)

    found = play(Growing(processes=0), 2)
    assert len(found.rows) == 2 and found.notices == ["the cluster has no node with 1 cores: waiting for one"]


def test_another_version_on_a_node_ends_the_run_and_nothing_hangs_on(play, monkeypatch):
    versions = iter([__version__, "0.0.1", "0.0.1"])  # of the driver, then of the node
    monkeypatch.setattr(remote, "installed_version", lambda: next(versions))
    monkeypatch.setattr("speechadv.evaluation.running.installed_version", remote.installed_version)
    cluster = Played(processes=2)
    with pytest.raises(SpeechAdvError, match=f"node abcdef has speechadv 0.0.1, this process has {__version__}"):
        play(cluster)
    assert set(cluster.cancelled) == set(cluster.tasks) - {"task 0"}


@pytest.mark.parametrize("problem, told", [(ModuleNotFoundError("No module named 'theirs'"), "cannot load what the run needs: No module named 'theirs'"),
                                           (ValueError(), "cannot load what the run needs: ValueError"), (SpeechAdvError("no GPU there"), "no GPU there")])
def test_a_node_that_cannot_load_the_model(play, tmp_path, problem, told):
    class Broken(Noting):
        def sendable(self):
            return Broken(self.run)

        def begin(self, threads, device=None):
            raise problem

    with pytest.raises(SpeechAdvError, match=told):
        play(Played(), worker=Broken(tmp_path))


def test_a_run_that_is_closed_early_cancels_what_is_under_way(tmp_path, monkeypatch):
    remote._workers.clear()
    cluster = Played(processes=2)
    monkeypatch.setitem(sys.modules, "ray", cluster)
    outcomes = Running(cluster, SimpleNamespace(cores=1, gpus=0, notice=print, count=lambda *about: None), Noting(tmp_path)).all(blocks(12))
    next(outcomes)
    outcomes.close()
    assert set(cluster.cancelled) == set(cluster.tasks) - {"task 0"} and len(cluster.tasks) > 1


def test_without_room_in_memory_a_node_writes_elsewhere(monkeypatch):
    monkeypatch.setattr(remote, "ROOM", 1 << 60)
    assert remote._in_memory() is None
    monkeypatch.setattr(remote, "SHARED_MEMORY", "/nowhere/at/all")
    assert remote._in_memory() is None
