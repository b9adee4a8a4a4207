"""What a run does when the world fails: a few kills at random moments, full and read-only disks, dead workers, Ctrl-C, clocks, two processes at once."""
import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.faults.cases import cases, report
from tests.faults.harness import Harness, contents, ended, forked

from speechadv.audio import write_bytes
from speechadv.locks import locked

MOMENTS = 2


@pytest.fixture(scope="module")
def setting(tmp_path_factory, tiny_weights, data_root):
    """The cases, and the harness of `evaluate` with its undisturbed run."""
    folder = tmp_path_factory.mktemp("faults")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a fork keeps no threads
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("speechadv.report.page.write_page", small_page)
        found = cases(tiny_weights, data_root, folder / "needed")
        yield found, Harness(found["evaluate"], folder / "tries"), folder
    torch.set_num_threads(threads)


def small_page(run):
    """In place of the real page, which takes most of the time of a small run: `python -m tests.faults` writes that one."""
    write_bytes(Path(run) / "index.html", (Path(run) / "table.md").read_bytes())


@pytest.mark.parametrize("name", ["evaluate", "train", "attack", "download", "report"])
def test_killed_at_random_moments(name, setting):
    found, evaluation, folder = setting
    harness = evaluation if name == "evaluate" else Harness(report(evaluation) if name == "report" else found[name], folder / "tries")
    moments = list(harness.moments(MOMENTS))
    assert len(moments) >= MOMENTS and [problem for moment in moments for problem in moment.problems] == []


def test_the_harness_sees_a_file_that_is_not_whole(setting, monkeypatch):
    """A command that writes in place is found out."""
    _, evaluation, folder = setting

    def in_place(path, content):
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            os.rename(path, path)  # an operation that the harness may strike at
            file.write(content[len(content) // 2 :])

    monkeypatch.setattr("speechadv.report.tables.write_bytes", in_place)
    case = report(evaluation)
    case.name = "in place"
    harness = Harness(case, folder / "tries")
    found = {problem for moment in harness.moments(8) for problem in moment.problems}
    assert any("is not whole" in problem for problem in found)


def run_in_child(arguments, folder: Path, before=lambda: None) -> tuple[int, str]:
    """The command in a fork, after something was done to it; exit status and what it printed."""
    return ended(forked(arguments, folder, before), 200), (folder / "log").read_text()


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int):
    """A file system of that size where this process may mount one."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name, kilobytes", [("evaluate", 120), ("evaluate", 400), ("attack", 120), ("train", 40), ("download", 300)])
def test_a_disk_that_becomes_full(name, kilobytes, setting, tmp_path):
    """One line and status 2; what stands there is whole; with room the run goes on to the same end."""
    found, evaluation, folder = setting
    case = found[name]
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        case.prepare(disk)
        status, printed = run_in_child(case.arguments, tmp_path, lambda: os.chdir(disk))
        assert status == 2 and "No space left on device" in printed and printed.count("\n") == 1, printed
        rows = disk / case.out / "rows.jsonl"
        assert not rows.exists() or rows.read_bytes().endswith(b"\n") or not rows.read_bytes()
        if name == "evaluate":
            assert all(evaluation.expected[path] == content for path, content in contents(disk / case.out).items() if path.endswith(".wav"))
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        status, printed = run_in_child(case.arguments, tmp_path, lambda: os.chdir(disk))
        assert status == 0, printed
        if name == "evaluate":
            assert contents(disk / case.out) == evaluation.expected


def test_a_limit_on_the_size_of_files(setting, tmp_path):
    """The same without a mount: no file may have more than 20 KB."""
    found, _, _ = setting

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

    status, printed = run_in_child(found["attack"].arguments, tmp_path, limit)
    assert status == 2 and "cannot write 'out/" in printed and "File too large" in printed and printed.count("\n") == 1
    assert not list((tmp_path / "out").glob("*.wav")) and not list((tmp_path / "out").glob(".speechadv-*"))


def test_a_read_only_disk(setting, tmp_path):
    found, _, _ = setting
    with small_disk(tmp_path / "disk", 100) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for name in ("evaluate", "attack", "train"):
            status, printed = run_in_child(found[name].arguments, tmp_path, lambda: os.chdir(disk))
            assert status == 2 and "--out 'out': not writable (Read-only file system)" in printed and printed.count("\n") == 1


def test_no_part_of_a_row_stays(tmp_path, monkeypatch):
    from speechadv.errors import SpeechAdvError
    from speechadv.evaluation.rows import append_lines

    append_lines(tmp_path / "rows", "whole\n")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpeechAdvError, match="cannot write .*rows.: No space left on device; what is finished is kept"):
        append_lines(tmp_path / "rows", "another\n")
    assert (tmp_path / "rows").read_text() == "whole\n"


@pytest.mark.parametrize("name, told", [("evaluate", "Go on with: speechadv evaluate"), ("train", "go on with: speechadv train"), ("attack", "same command again")])
def test_ctrl_c(name, told, setting, tmp_path):
    """Exit status 130, the way to go on, and the same end when it is taken."""
    found, evaluation, _ = setting
    case = found[name]

    def interrupt():
        count = iter(range(10**6))

        def hook(event, arguments):
            if event == "os.rename" and next(count) == 6:
                signal.raise_signal(signal.SIGINT)

        sys.addaudithook(hook)

    status, printed = run_in_child(case.arguments, tmp_path, interrupt)
    assert status == 130 and told in printed and "Traceback" not in printed, printed
    assert run_in_child(case.arguments, tmp_path)[0] == 0
    if name == "evaluate":
        assert contents(tmp_path / "out") == evaluation.expected


def test_a_clock_that_jumps(setting, tmp_path):
    """Clock times order nothing: a run during which it jumps by years, both ways, ends the same."""
    found, evaluation, _ = setting

    def jump():
        real, count = time.time, iter(range(10**9))
        time.time = lambda: real() + (-1) ** next(count) * 1e8

    assert run_in_child(found["evaluate"].arguments, tmp_path, jump) == (0, "") or (tmp_path / "log").read_text()
    assert contents(tmp_path / "out") == evaluation.expected


@pytest.mark.parametrize("name", ["evaluate", "train", "attack"])
def test_two_processes_on_one_folder(name, setting, tmp_path):
    """The second is refused at once; the first does not notice."""
    found, _, _ = setting
    assert run_in_child(found[name].arguments, tmp_path)[0] == 0
    before = contents(tmp_path / "out")
    with locked(tmp_path / "out"):
        status, printed = run_in_child(found[name].arguments, tmp_path)
    assert status == 2 and "another process is working on this run" in printed and printed.count("\n") == 1
    assert contents(tmp_path / "out") == before


def test_workers_end_with_a_killed_parent_and_a_dead_worker_is_replaced(setting, tmp_path):
    """In a program of its own: workers are spawned, not forked."""
    found, evaluation, _ = setting
    command = [sys.executable, "-m", "speechadv", *found["evaluate"].arguments, "--workers", "2"]

    def begun():
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        limit = time.monotonic() + 100
        while time.monotonic() < limit and not list((tmp_path / "out").rglob("adversarial/*/*.wav")) and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None, process.stderr.read()
        return process, workers_of(process.pid)

    process, workers = begun()
    process.kill()
    process.wait()
    assert workers and all(gone(worker) for worker in workers)
    (tmp_path / "out" / "rows.jsonl").unlink(missing_ok=True)
    for file in (tmp_path / "out").rglob("*.wav"):
        file.unlink()
    process, workers = begun()
    os.kill(workers[0], signal.SIGKILL)
    assert process.wait(120) == 0, process.stderr.read()
    assert contents(tmp_path / "out") == evaluation.expected


def workers_of(process: int) -> list[int]:
    """Its children that hold a Worker (the resource tracker is none)."""
    children = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if parent(path) == process]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def parent(path: Path) -> int:
    with contextlib.suppress(OSError):
        return int(path.read_text().rsplit(")", 1)[1].split()[1])
    return 0


def gone(process: int) -> bool:
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                time.sleep(0.05)
                continue
        return True
    return False
