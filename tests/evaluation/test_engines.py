"""What every engine must do; what only a cluster of several nodes can show is in test_cluster.py."""
import json
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from speechadv.errors import SpeechAdvError
from speechadv.evaluation.blocks import Done
from speechadv.evaluation.certification import CertificationConfig, certify
from speechadv.evaluation.cluster import OnRay
from speechadv.evaluation.engine import Local
from speechadv.evaluation.remote import taken
from speechadv.evaluation.run import evaluate
from speechadv.evaluation.tasks import Grouped, Task
from speechadv.evaluation.work import Item, Worker

ray = pytest.importorskip("ray")
FILES = ("rows.jsonl", "table.csv", "table.md", "result.json")


def everything(run):
    """Content of all that an engine makes, sound included; the times are nobody's promise."""
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file() and (path.suffix == ".wav" or path.name in FILES)}


@pytest.fixture(scope="module")
def machine():
    """A cluster of this machine alone, with two cores."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # 15 by itself: beside other work a test would take minutes
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


@pytest.fixture(params=["one process", "two processes", pytest.param("ray", marks=pytest.mark.cluster)])
def engine(request):
    if request.param == "ray":
        request.getfixturevalue("machine")
        return OnRay()
    return Local(1 if request.param == "one process" else 2, 1)


@pytest.fixture(scope="module")
def undisturbed(settings, tmp_path_factory):
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    evaluate(settings(), run)
    return everything(run)


def test_same_rows_tables_and_sound(engine, settings, undisturbed, tmp_path):
    evaluate(settings(), tmp_path / "run", engine=engine)
    assert everything(tmp_path / "run") == undisturbed


class Nervous(Worker):
    """Fails over one clip, and says which file it saw."""

    def __init__(self, run, poison, how=RuntimeError):
        super().__init__(run)
        self.poison, self.how = poison, how

    def sendable(self):
        return self

    def do(self, item):
        if self.poison in item.names:
            raise self.how("no such clip please")
        return Done(item, rows=[{"clip": name} for name in item.names])


def items(names, size=4):
    import numpy as np

    sound = np.zeros((len(names), 10), np.int16)
    return [Item("craft", (), names[i : i + size], names[i : i + size], None, sound, range(i, min(i + size, len(names)))) for i in range(0, len(names), size)]


def test_same_certificates(engine, data_root, tiny_weights, tmp_path):
    config = CertificationConfig(model=str(tiny_weights), sigma=0.002, n=60, n0=10, alpha=0.01, task=["yes", "no"], data=[str(data_root)], clips=4)
    certify(config, tmp_path / "here")
    certify(config, tmp_path / "there", engine=engine)
    for name in ("certificates.jsonl", "certified.csv", "result.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_what_is_done_survives_a_pool_that_breaks(monkeypatch, tmp_path):
    class Pool:
        """Breaks at the fifth item that it is given, once."""

        given = 0

        def __init__(self, *_):
            pass

        def submit(self, _, packed):
            Pool.given += 1
            if Pool.given == 5:
                raise BrokenProcessPool
            future = Future()
            future.set_result(Done(None, rows=[{"clip": name} for name in packed.names]))
            return future

        def shutdown(self, **_):
            pass

    monkeypatch.setattr("speechadv.evaluation.engine.ProcessPoolExecutor", Pool)
    names = [f"clip{i}" for i in range(20)]
    found = list(Local(2, 1).run(items(names, 2), Nervous(tmp_path, "")))
    assert sorted(row["clip"] for done in found for row in done.rows) == sorted(names)


def test_a_poisoned_clip_fails_alone(engine, tmp_path):
    names = [f"clip{i}" for i in range(10)]
    found = list(engine.run(items(names), Nervous(tmp_path, "clip5")))
    assert sorted(row["clip"] for done in found for row in done.rows) == sorted(set(names) - {"clip5"})
    failed = {name: why for done in found for name, why in done.failed.items()}
    assert failed == {"clip5": "RuntimeError: no such clip please"}


def test_an_error_of_the_users_ends_the_run(engine, tmp_path):
    with pytest.raises(SpeechAdvError, match="no such clip please"):
        list(engine.run(items(["a", "b"]), Nervous(tmp_path, "b", SpeechAdvError)))


def test_failures_are_told_and_the_same_command_tries_again(settings, tmp_path, monkeypatch):
    whole = Worker._do

    def failing(self, item):
        if "yes" in item.names[0] or any("yes" in name for name in item.names):
            raise RuntimeError("broken codec")
        return whole(self, item)

    monkeypatch.setattr(Worker, "_do", failing)
    result = evaluate(settings(), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "failed.jsonl").read_text().splitlines()]
    assert result["failed"] == len(lines) > 0 and {line["failed"] for line in lines} == {"RuntimeError: broken codec"}
    monkeypatch.undo()
    again = evaluate(settings(), tmp_path / "run")
    assert "failed" not in again and not (tmp_path / "run" / "failed.jsonl").exists()


def test_groups_take_as_long_as_they_should():
    speed = {"craft": 1.0}
    grouped = Grouped(items([f"c{i}" for i in range(2000)], size=4), speed)
    assert sum(len(item.names) for item in grouped.next(2)) == 20  # 20 s at one second a clip
    speed["craft"] = 30.0
    assert [len(item.names) for item in grouped.next(2)] == [1]  # four would take two minutes
    speed.clear()
    assert len(grouped.next(2)) == 1
    speed["craft"] = 1e-6
    assert sum(len(item.names) for item in grouped.next(2)) <= 512
    names = []
    while not grouped.empty:
        names += [name for item in grouped.next(2) for name in item.names]
    assert names[-1] == "c1999" and len(names) == len(set(names))


def test_the_last_groups_are_shared():
    speed, sizes = {"craft": 0.5}, []
    grouped = Grouped(items([f"c{i}" for i in range(80)], size=4), speed)
    while not grouped.empty:
        sizes.append(sum(len(item.names) for item in grouped.next(2)))
    assert sum(sizes) == 80 and sizes[0] == 20 and sizes == sorted(sizes, reverse=True) and sizes[-1] <= 4


def test_halves_hold_every_clip_once():
    task = Task(items([f"c{i}" for i in range(9)], size=4))
    parts = [task]
    while any(part.clips > 1 for part in parts):
        parts = [half for part in parts for half in (part.halves() if part.clips > 1 else [part])]
    assert sorted(name for part in parts for item in part.items for name in item.names) == sorted(f"c{i}" for i in range(9))


def test_files_are_taken_out_of_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.wav").write_bytes(b"x")
    assert taken(tmp_path) == {"a/b.wav": b"x"} and not list(tmp_path.rglob("*.wav"))


@pytest.mark.cluster
def test_attack_gives_the_same_files(machine, run, write_clip, tiny_weights, tmp_path):
    """Anyone's files on Ray, and here."""
    clips = [write_clip(tmp_path / f"{word}{seed}.wav", word, seed) for word in ("yes", "go") for seed in range(2)]
    words = ("attack", *clips, "--target", "stop", "--budget", "snr:12", "--steps", 5, "--model", tiny_weights, "--defense", "bandpass:200-3000", "--json")
    assert run(*words, "--out", tmp_path / "here")[0] == 0
    status, printed, err = run(*words, "--out", tmp_path / "there", "--engine", "ray")
    assert status == 0 and len(json.loads(printed)) == 4, err
    assert everything(tmp_path / "here") == everything(tmp_path / "there") and (tmp_path / "there" / "rows.jsonl").exists()


def test_ray_is_an_extra(monkeypatch, run, settings, tmp_path):
    from speechadv import config as configs

    (tmp_path / "config.toml").write_text(configs.dumps(settings()))
    monkeypatch.setitem(sys.modules, "ray", None)
    status, out, err = run("evaluate", tmp_path / "config.toml", "--out", tmp_path / "out", "--engine", "ray")
    assert (status, out) == (2, "") and "pip install 'speechadv[ray]'" in err and err.count("\n") == 1 and not (tmp_path / "out").exists()
