"""The engine on a small grid: what it writes, and that a killed, shared or differently batched run ends in the same bytes."""
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from speechadv import audio, config as configs
from speechadv.errors import ConfigError, InputError, SpeechAdvError
from speechadv.evaluation import rows as row_files
from speechadv.evaluation import run as engine_run
from speechadv.evaluation.blocks import Block, Done
from speechadv.locks import locked
from speechadv.evaluation.run import evaluate
from speechadv.report.tables import write_tables

SOUNDS = ("clean_audio", "adversarial_audio", "perturbation_audio", "defended_audio")


@pytest.fixture
def rows(finished):
    return row_files.read_finished(finished / "rows.jsonl")


def test_the_grid_is_complete_and_in_order(finished, rows):
    cells = list(dict.fromkeys((row["defense"], row["threat"], row["attack"]) for row in rows))
    assert cells == [("none", "oblivious", "pgd"), ("none", "adaptive", "pgd"), ("none", "black-box", "noise"),
                     ("bandpass:200-3000", "oblivious", "pgd"), ("bandpass:200-3000", "adaptive", "pgd"), ("bandpass:200-3000", "black-box", "noise")]
    assert len(rows) == 5 * len(cells) and [row["clip"] for row in rows[:5]] == sorted(row["clip"] for row in rows[:5])
    assert all(row["adaptive"] == (row["defense"] == "none" or row["threat"] == "adaptive") for row in rows)
    assert all(row["target"] not in (None, row["label"]) for row in rows)


def test_sound_and_levels_are_those_of_the_files(finished, rows):
    for row in rows[::7]:
        clean, adversarial = (torch.from_numpy(audio.read(finished / row[key]))[None] for key in SOUNDS[:2])
        change = adversarial - clean
        assert row["linf"] == float(change.abs().amax()) <= 0.005
        assert row["snr_db"] == (float(audio.snr_db(clean, change)) if change.any() else None)
        amplified = torch.from_numpy(audio.read(finished / row["perturbation_audio"]))[None]
        assert (amplified - change * 10 ** (row["perturbation_gain_db"] / 20)).abs().amax() <= 2**-16
        assert (row["defended_audio"] is None) == (row["defense"] == "none")


def test_verdicts_are_those_of_the_files(finished, rows, settings):
    from speechadv import load_model

    model = load_model(settings().models[0])
    for row in [row for row in rows if row["defended_audio"]][::4]:
        heard = torch.from_numpy(audio.read(finished / row["defended_audio"]))[None]
        assert row["adversarial_prediction"] == model.labels[int(model(heard).argmax())]


def test_oblivious_clips_are_those_of_the_undefended_model(rows):
    by_defense = {row["defense"]: row["adversarial_audio"] for row in rows if row["threat"] == "oblivious" and row["clip"] == rows[0]["clip"]}
    assert len(set(by_defense.values())) == 1
    assert all(row["passes"] == 4 for row in rows if row["threat"] == "oblivious" and not row["adversarial_audio"] is None and row["linf"] > 0), "all steps spent"


def test_what_a_run_holds(finished, rows):
    names = {path.name for path in finished.iterdir()}
    assert {"config.toml", "environment.json", "rows.jsonl", "timing.jsonl", "probes.json", "audio", "table.csv", "table.md", "table.tex", "result.json", "index.html"} <= names
    times = [json.loads(line) for line in (finished / "timing.jsonl").read_text().splitlines()]
    assert times and all(item["attack_seconds"] > 0 and item["attack_cpu_seconds"] >= 0 for item in times)
    kept = {path.relative_to(finished).as_posix() for path in (finished / "audio").rglob("*.wav")}
    assert kept == {row[key] for row in rows for key in SOUNDS if row[key]}
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["clips"]["number"] == 5 and environment["seeds"] == [0] and environment["packages"]["torch"]
    result = json.loads((finished / "result.json").read_text())
    assert result["finished"] and len(result["cells"]) == len(result["classes"]) == 6


def test_doing_it_again_changes_nothing(copied, settings, files, no_page):
    before = files(copied)
    evaluate(settings(), copied)
    assert files(copied) == before


def test_report_makes_the_tables_again(copied, run, files):
    before = files(copied)
    for name in ("table.csv", "table.md", "table.tex", "result.json", "index.html"):
        (copied / name).unlink()
    status, out, err = run("report", copied)
    assert status == 0 and "bandpass:200-3000" in out
    assert files(copied) == before


def test_a_torn_row_and_a_lost_file_are_made_again(copied, settings, files, no_page):
    before = files(copied)
    content = (copied / "rows.jsonl").read_bytes()
    (copied / "rows.jsonl").write_bytes(content[: len(content) * 2 // 3])
    one, other = row_files.read(copied / "rows.jsonl")[0][:2]
    (copied / one["adversarial_audio"]).unlink()
    (copied / other["adversarial_audio"]).write_bytes(b"")  # as a power failure leaves it
    (copied / "audio" / "left over.wav").write_bytes(b"from a killed process")
    (copied / ".speechadv-0123").write_bytes(b"half a file")
    (copied / "probes.json").unlink()
    notices = []
    evaluate(settings(), copied, notice=notices.append)
    assert files(copied) == before
    assert any("broken rows are made again" in line for line in notices)


def test_other_batches_give_the_same_rows(finished, settings, tmp_path, files, no_page):
    evaluate(settings(batch_size=1), tmp_path / "one")
    mine, theirs = files(tmp_path / "one"), files(finished)
    assert mine["rows.jsonl"] == theirs["rows.jsonl"] and mine["table.csv"] == theirs["table.csv"]
    assert {name: content for name, content in mine.items() if name.startswith("audio/")} == {name: content for name, content in theirs.items() if name.startswith("audio/")}


def test_two_processes_give_the_same_rows(finished, settings, tmp_path, files, no_page):
    evaluate(settings(), tmp_path / "two", workers=2)
    mine, theirs = files(tmp_path / "two"), files(finished)
    assert {name for name in mine if mine[name] != theirs[name]} == set()


@dataclass(frozen=True)
class Nothing(Block):
    """A block that asks for nothing."""

    names: tuple
    sound: np.ndarray
    places: tuple


class Telling:
    """A worker that says which process it is in and what that was told."""

    def sendable(self):
        return self

    def begin(self, threads):
        self.threads = threads

    def do(self, item):
        return Done(item, rows=[{"process": os.getpid(), "told": os.environ.get("SPEECHADV_TOLD"), "threads": self.threads}])


@pytest.mark.parametrize("room", [True, False])
def test_workers_know_what_was_set_after_the_nursery_began(room, monkeypatch):
    """Also where there is no room for its socket, and each is started anew."""
    from speechadv.evaluation import engine

    def full():
        raise OSError("AF_UNIX path too long")

    if not room:
        monkeypatch.setattr("multiprocessing.forkserver.ensure_running", full)
    assert engine.nursery().get_start_method() == ("forkserver" if room and sys.platform == "linux" else "spawn")
    monkeypatch.setenv("SPEECHADV_TOLD", "late")
    (row,) = [row for done in engine.Local(2, 1).run([Nothing(("clip",), np.zeros((1, 4), np.int16), (0,))], Telling()) for row in done.rows]
    assert row["told"] == "late" and row["threads"] == 1 and row["process"] != os.getpid()


def test_a_process_that_dies_is_replaced(monkeypatch, tmp_path):
    from concurrent.futures.process import BrokenProcessPool

    from speechadv.evaluation import engine
    from speechadv.evaluation.work import Worker

    def dying(left, running, worker, workers, threads):
        running |= {number: item for number, item in zip("xy", left)}
        if not running:
            return
        yield f"done {running.pop('x')}"
        raise BrokenProcessPool

    monkeypatch.setattr(engine, "_one_pool", dying)
    assert list(engine.Local(2).run(["a", "b", "c"], Worker(tmp_path))) == ["done a", "done b", "done c"]

    def dead(*arguments):
        raise BrokenProcessPool
        yield

    monkeypatch.setattr(engine, "_one_pool", dead)
    with pytest.raises(SpeechAdvError, match="died 3 times in a row"):
        list(engine.Local(2).run(["a"], Worker(tmp_path)))


class Killed(BaseException):
    """Stands in for the end of the process: nothing of ours catches it."""


@pytest.mark.parametrize("moment", [2, 9, 23])
def test_a_run_that_dies_while_it_writes_goes_on(moment, finished, settings, tmp_path, files, no_page, monkeypatch):
    out, count = tmp_path / "died", iter(range(1000))
    real = os.replace

    def dying(source, target):
        if next(count) == moment:
            os.link(source, f"{source}-{moment}")  # what a kill would leave: the file that was not renamed
            raise Killed
        real(source, target)

    monkeypatch.setattr("speechadv.audio.os.replace", dying)
    with pytest.raises(Killed):
        evaluate(settings(), out)
    monkeypatch.setattr("speechadv.audio.os.replace", real)
    if (out / "rows.jsonl").exists():
        with open(out / "rows.jsonl", "ab") as file:
            file.write(row_files.encode(row_files.read_finished(finished / "rows.jsonl")[-1])[:100].encode())
    evaluate(settings(), out)
    mine, theirs = files(out), files(finished)
    assert {name for name in mine | theirs if mine.get(name) != theirs.get(name) and not name.startswith(("figures/", "page/", "index.html"))} == set()


def test_killed_with_9(finished, settings, tmp_path, files, no_page):
    (tmp_path / "config.toml").write_text(configs.dumps(settings()))
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-m", "speechadv", "evaluate", str(tmp_path / "config.toml"), "--out", str(out), "--threads", "1", "--quiet"])
    try:
        while process.poll() is None and not (out / "rows.jsonl").exists():
            time.sleep(0.005)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    evaluate(settings(), out)
    mine, theirs = files(out), files(finished)
    assert mine["rows.jsonl"] == theirs["rows.jsonl"] and mine["table.csv"] == theirs["table.csv"]
    assert [name for name in mine if name.startswith("audio/")] == [name for name in theirs if name.startswith("audio/")]
    assert all(mine[name] == theirs[name] for name in mine if name.startswith("audio/"))


def test_out_of_memory_halves_the_batch(finished, settings, tmp_path, files, no_page, monkeypatch):
    from speechadv.evaluation.work import Worker

    real = Worker._do

    def small(self, item):
        if len(item.names) > 1:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes")
        return real(self, item)

    monkeypatch.setattr(Worker, "_do", small)
    notices = []
    evaluate(settings(), tmp_path / "small", notice=notices.append)
    assert notices == ["out of memory with 3 clips at a time: going on with 1"]
    assert files(tmp_path / "small")["rows.jsonl"] == files(finished)["rows.jsonl"]
    monkeypatch.setattr(Worker, "_do", lambda self, item: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(SpeechAdvError, match="out of memory with a single clip"):
        evaluate(settings(), tmp_path / "none")


def test_another_error_is_not_taken_for_memory(settings, tmp_path, monkeypatch):
    from speechadv.evaluation.work import Worker

    def broken(self, item):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Worker, "_do", broken)
    with pytest.raises(SpeechAdvError, match="not one row could be made .RuntimeError: shapes do not fit.; .*failed.jsonl' says more"):
        evaluate(settings(), tmp_path / "out")


def test_ctrl_c_keeps_what_is_done(settings, tmp_path, run, no_page, monkeypatch):
    (tmp_path / "config.toml").write_text(configs.dumps(settings()))
    real, count = engine_run.note_time, iter(range(100))

    def interrupted(plan, done):
        real(plan, done)
        if next(count) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(engine_run, "note_time", interrupted)
    status, out, err = run("evaluate", tmp_path / "config.toml", "--out", tmp_path / "out")
    assert status == 130 and "Go on with:" in err and "Traceback" not in err
    assert len(row_files.read_finished(tmp_path / "out" / "rows.jsonl")) >= 5
    result = write_tables(tmp_path / "out")
    assert not result["finished"] and "not finished" in (tmp_path / "out" / "table.md").read_text()


def test_another_config_in_the_folder_is_refused(copied, settings, files, run, tmp_path):
    before = files(copied)
    (tmp_path / "config.toml").write_text(configs.dumps(settings()))
    status, out, err = run("evaluate", tmp_path / "config.toml", "--out", copied, "--set", "budgets=['linf:0.001']")
    assert status == 2 and err.count("\n") == 1 and "another config ('budgets' differs)" in err
    assert files(copied) == before


def test_other_clips_or_weights_are_refused(copied, settings):
    environment = json.loads((copied / "environment.json").read_text())
    for part, words in (("clips", "other clips"), ("models", "other weights")):
        (copied / "environment.json").write_text(json.dumps(environment | {part: {}}))
        with pytest.raises(InputError, match=words):
            evaluate(settings(), copied)


def test_a_second_process_is_refused(copied, settings):
    with locked(copied), pytest.raises(InputError, match="another process is working on this run"):
        evaluate(settings(), copied)


def test_foreign_files_are_refused(tmp_path, settings):
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(InputError, match="foreign files"):
        evaluate(settings(), tmp_path)
    with pytest.raises(InputError, match="expected a folder, got a file"):
        evaluate(settings(), tmp_path / "thesis.txt")


@pytest.mark.parametrize("kept", ["failures", "sample:2"])
def test_less_sound(kept, finished, settings, tmp_path, no_page):
    evaluate(settings(audio=kept), tmp_path / "out")
    rows, full = (row_files.read_finished(folder / "rows.jsonl") for folder in (tmp_path / "out", finished))
    for row, other in zip(rows, full):
        assert all(row[key] == other[key] for key in row if key not in (*SOUNDS, "perturbation_gain_db"))
        if kept == "failures":
            assert (row["adversarial_audio"] is not None) == (row["clean_prediction"] == row["label"] != row["adversarial_prediction"])
        assert row["adversarial_audio"] in (None, other["adversarial_audio"])
    if kept != "failures":
        assert len({row["clip"] for row in rows if row["adversarial_audio"]}) == 2
    named = {row[key] for row in rows for key in SOUNDS if row[key]}
    assert named == {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out" / "audio").rglob("*.wav")}


def test_transfer_is_crafted_on_the_source(settings, tiny_weights, tmp_path, no_page):
    import shutil

    other = tmp_path / "other"
    other.mkdir()
    for suffix in (".safetensors", ".json"):
        shutil.copy(tiny_weights.with_suffix(suffix), other / f"twin{suffix}")
    twin = str(other / "twin.safetensors")
    source = str(tiny_weights)
    evaluate(settings(models=[source, twin], source=source, threats=["transfer", "oblivious"], attacks=["fgsm"], defenses=["none"], clips=3), tmp_path / "out")
    rows = row_files.read_finished(tmp_path / "out" / "rows.jsonl")
    assert {(row["model"], row["threat"], row["adaptive"]) for row in rows} == {(source, "oblivious", True), (twin, "transfer", False), (twin, "oblivious", True)}
    sent = [row for row in rows if row["threat"] == "transfer"]
    assert [row["adversarial_audio"] for row in sent] == [row["adversarial_audio"] for row in rows if row["model"] == source]
    assert str(tmp_path) not in "".join(path for row in rows for path in [row["adversarial_audio"]])


def test_a_factory_that_changes_its_mind_is_refused(settings, tmp_path, monkeypatch):
    from speechadv.evaluation.work import Worker

    worker = Worker(tmp_path, fingerprints={settings().models[0]: "another"})
    with pytest.raises(InputError, match="weights are others"):
        worker.model(settings().models[0])


@pytest.mark.parametrize("keys, message", [
    ({"models": ["resnt"]}, "unknown model"),
    ({"budgets": ["linf:0"]}, "linf:0"),
    ({"budgets": ["linf:-1"]}, "linf:-1"),
    ({"budgets": ["linf:0.002", "linf:0.002"]}, "twice"),
    ({"defenses": ["mp4:32"]}, "unknown defense 'mp4', did you mean 'mp3'"),
    ({"attacks": [{"name": "pgdd"}]}, "did you mean 'pgd'"),
    ({"attacks": [{"steps": 3}]}, "name"),
    ({"attacks": [{"name": "pgd", "stepz": 3}]}, "did you mean 'steps'"),
    ({"attacks": [{"name": "pgd", "steps": "many"}]}, "whole number"),
    ({"attacks": [{"name": "pgd", "steps": 2.5}]}, "whole number"),
    ({"attacks": [{"name": "pgd", "steps": 0}]}, "steps"),
    ({"attacks": ["pgd", {"name": "pgd"}]}, "twice"),
    ({"attacks": ["noise"], "threats": ["adaptive"]}, "needs the threat black-box"),
    ({"attacks": ["pgd"], "threats": ["black-box"]}, "needs the threat oblivious or adaptive"),
    ({"task": ["yes", "no", "sheila"]}, "does not know the word 'sheila'"),
    ({"clip_list": "no such list"}, "no such list"),
    ({"data": ["no such folder"]}, "no such folder"),
])
def test_bad_values_leave_no_folder(keys, message, settings, tmp_path):
    with pytest.raises(SpeechAdvError, match=message) as raised:
        evaluate(settings(**keys), tmp_path / "out")
    assert "\n" not in str(raised.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("keys", [{"goal": "win"}, {"split": "tset"}, {"threats": ["evil"]}, {"threats": ["transfer"]}, {"seeds": [-1]}, {"seeds": [1, 1]}, {"clips": 0},
                                  {"batch_size": -2}, {"audio": "some"}, {"audio": "sample:0"}, {"models": []}, {"budgets": []}])
def test_bad_settings(keys, settings):
    with pytest.raises(ConfigError, match=next(iter(keys)) if keys != {"threats": ["transfer"]} else "source"):
        settings(**keys)


def test_labels_of_attacks():
    from speechadv.evaluation.cells import attack_specs

    entries = [{"name": "pgd", "steps": 20, "loss": "margin"}, {"name": "pgd", "steps": 20}, "fgsm"]
    assert [spec.label for spec in attack_specs(entries)] == ["pgd loss=margin", "pgd", "fgsm"]
    assert [str(spec) for spec in attack_specs(entries)] == ["pgd loss=margin steps=20", "pgd steps=20", "fgsm"]


def test_report_of_what_is_no_run(run, tmp_path):
    (tmp_path / "file.txt").write_text("x")
    for folder in (tmp_path, tmp_path / "missing"):
        status, out, err = run("report", folder)
        assert status == 2 and err.count("\n") == 1 and "expected the folder of a run" in err


def test_other_threads_give_the_same_rows(finished, settings, tmp_path, files, no_page):
    for threads in (1, 2):
        evaluate(settings(), tmp_path / str(threads), threads=threads)
        mine = files(tmp_path / str(threads))
        assert "probes.json" in mine and mine.items() <= files(finished).items()  # all but the page, which is not made here
