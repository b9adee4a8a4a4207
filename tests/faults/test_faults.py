"""What a run does when the world fails: a few kills at random moments, full and read-only disks, dead workers, Ctrl-C, clocks, two processes at once."""
import contextlib
import dataclasses
import functools
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.faults.cases import cases, report
from tests.faults.harness import Case, Harness, Operations, contents, ended, forked

from speechadv.locks import locked

MOMENTS = 2


@pytest.fixture(scope="module")
def setting(tmp_path_factory, tiny_weights, data_root):
    """See `Setting`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a fork keeps no threads
    yield Setting(tiny_weights, data_root, tmp_path_factory.mktemp("faults"))
    torch.set_num_threads(threads)


class Setting:
    """The cases; `harness(name)` has made a case's undisturbed run, once for all tests."""

    def __init__(self, weights: Path, data: Path, folder: Path):
        self.folder, self.cases = folder, cases(weights, data, folder / "needed")

    @functools.cache
    def harness(self, name: str) -> Harness:
        case = report(self.harness("evaluate"), page=False) if name == "report" else self.cases[name]
        return Harness(case, self.folder / "tries")

    def same(self, name: str, place: Path) -> bool:
        """Whether a case ended in a folder as its undisturbed run."""
        return contents(place / self.cases[name].out) == self.harness(name).expected


@pytest.mark.parametrize("name", ["evaluate", "train", "attack", "download", "report", "defend", "certify"])
def test_killed_at_random_moments(name, setting):
    moments = list(setting.harness(name).moments(MOMENTS))
    assert len(moments) >= MOMENTS and [problem for moment in moments for problem in moment.problems] == []


@pytest.mark.parametrize("name", ["evaluate", "train", "attack", "download", "report", "defend", "certify"])
def test_nobody_is_called_and_nothing_started_that_was_not_asked_for(name, setting):
    """But git, for the revision, and this machine's own server in the case that downloads."""
    seen = [what for what in setting.harness(name).outside if what != "subprocess.Popen git"]
    assert bool(seen) == (name == "download") and all(re.match(r"socket.* .*127.0.0.1|socket.getaddrinfo ", what) for what in seen), seen


def test_the_harness_sees_a_file_that_is_not_whole(setting, monkeypatch):
    """A command that writes in place is found out."""

    def in_place(path, content):
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            os.rename(path, path)  # an operation that the harness may strike at
            file.write(content[len(content) // 2 :])

    monkeypatch.setattr("speechadv.report.tables.write_bytes", in_place)
    case = dataclasses.replace(report(setting.harness("evaluate"), page=False), name="in place")
    harness = Harness(case, setting.folder / "tries")
    problems = (problem for at in range(1, harness.events + 1) for moment in harness.struck(harness.fresh(), "file", at) for problem in moment.problems)
    assert "is not whole" in next(problems, "none was found")


def run_in_child(case: Case, folder: Path, before=lambda: None) -> tuple[int, str]:
    """The command in a fork, after something was done to it; exit status and what it printed."""
    return ended(forked(case.arguments, folder, lambda: (case.within(), before())), 200), (folder / "log").read_text()


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


@pytest.mark.parametrize("name, kilobytes", [("evaluate", 120), ("evaluate", 400), ("attack", 120), ("train", 40), ("download", 300), ("defend", 100), ("certify", 4)])
def test_a_disk_that_becomes_full(name, kilobytes, setting, tmp_path):
    """One line and status 2; what stands there is whole; with room the run goes on to the same end."""
    case = setting.cases[name]
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        case.prepare(disk)
        status, printed = run_in_child(case, tmp_path, lambda: os.chdir(disk))
        assert status == 2 and "No space left on device" in printed and printed.count("\n") == 1, printed
        rows = disk / case.out / "rows.jsonl"
        assert not rows.exists() or rows.read_bytes().endswith(b"\n") or not rows.read_bytes()
        expected = setting.harness(name).expected
        assert all(expected[path] == content for path, content in contents(disk / case.out).items() if path.endswith(".wav"))
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        status, printed = run_in_child(case, tmp_path, lambda: os.chdir(disk))
        assert status == 0 and setting.same(name, disk), printed


def test_a_limit_on_the_size_of_files(setting, tmp_path):
    """The same without a mount: no file may have more than 20 KB."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

    status, printed = run_in_child(setting.cases["attack"], tmp_path, limit)
    assert status == 2 and "cannot write 'out/" in printed and "File too large" in printed and printed.count("\n") == 1
    assert not list((tmp_path / "out").glob("*.wav")) and not list((tmp_path / "out").glob(".speechadv-*"))


def test_a_read_only_disk(setting, tmp_path):
    with small_disk(tmp_path / "disk", 100) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for name in ("evaluate", "attack", "train", "defend", "certify"):
            status, printed = run_in_child(setting.cases[name], tmp_path, lambda: os.chdir(disk))
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


AGAIN = "the same command again goes on"


@pytest.mark.parametrize("name, told", [("evaluate", "Go on with: speechadv evaluate"), ("train", "go on with: speechadv train"), ("attack", AGAIN),
                                        ("certify", "Go on with: speechadv certify"), ("download", AGAIN), ("defend", AGAIN)])
def test_ctrl_c(name, told, setting, tmp_path):
    """Exit status 130, the way to go on, and the same end when it is taken."""
    case, operations = setting.cases[name], Operations(8, signal.SIGINT)
    case.prepare(tmp_path)

    def interrupted():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
        operations.watch()

    status, printed = run_in_child(case, tmp_path, interrupted)
    assert status == 130 and told in printed and "Traceback" not in printed, printed
    assert run_in_child(case, tmp_path)[0] == 0 and setting.same(name, tmp_path)


def test_a_clock_that_jumps(setting, tmp_path):
    """Clock times order nothing: a run during which it jumps by years, both ways, ends the same."""

    def jump():
        real, count = time.time, iter(range(10**9))
        time.time = lambda: real() + (-1) ** next(count) * 1e8

    assert run_in_child(setting.cases["evaluate"], tmp_path, jump)[0] == 0 and setting.same("evaluate", tmp_path)


@pytest.mark.parametrize("name", ["evaluate", "train", "attack", "defend", "certify"])
def test_two_processes_on_one_folder(name, setting):
    """The second is refused at once; the first does not notice."""
    place = setting.harness(name).whole
    with locked(place / "out"):
        status, printed = run_in_child(setting.cases[name], place)
    assert status == 2 and "another process is working on this run" in printed and printed.count("\n") == 1
    assert setting.same(name, place)


def test_workers_end_with_a_killed_parent_and_a_dead_worker_is_replaced(setting, tmp_path):
    """One worker dies: others go on. Then the parent is killed, and with it go they and the process that they were forked from; begun again, the run ends as ever."""
    case = setting.cases["evaluate"]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen([sys.executable, "-m", "speechadv", *case.arguments, "--workers", "2"], cwd=tmp_path, stdout=log, stderr=log)
    first, made = at_work(process, tmp_path, (), 0)
    os.kill(first[0], signal.SIGKILL)
    others, _ = at_work(process, tmp_path, first, made)
    nurseries = nurseries_of(process.pid)
    process.kill()
    process.wait()
    assert len(nurseries) == 1 and all(gone(each) for each in (*first, *others, *nurseries))
    assert run_in_child(case, tmp_path)[0] == 0 and setting.same("evaluate", tmp_path)


def at_work(process: subprocess.Popen, place: Path, before: tuple[int, ...], made: int) -> tuple[tuple[int, ...], int]:
    """Its two workers, once they are others than those before and there are more sound files than were made; and how many there are."""
    limit = time.monotonic() + 100
    while time.monotonic() < limit and process.poll() is None:
        workers = tuple(worker for worker in workers_of(process.pid) if worker not in before)
        found = len(list((place / "out").rglob("adversarial/*/*.wav")))
        if len(workers) == 2 and found > made:
            return workers, found
        time.sleep(0.005)
    raise AssertionError((place / "log").read_text())


def workers_of(process: int) -> list[int]:
    """The processes that hold a Worker."""
    return [worker for nursery in nurseries_of(process) for worker in children(nursery)]


def nurseries_of(process: int) -> list[int]:
    """The one that workers are forked from, once it is there (the resource tracker is none)."""
    return [child for child in children(process) if b"forkserver" in words_of(Path(f"/proc/{child}/stat"))]


def children(process: int) -> list[int]:
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if parent(path) == process]


def words_of(path: Path) -> bytes:
    """The command line of a process; empty where it has ended in between."""
    with contextlib.suppress(OSError):
        return (path.parent / "cmdline").read_bytes()
    return b""


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
