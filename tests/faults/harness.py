"""Kill -9 at random moments: a command is begun, killed, begun again, and must end in the files of a run that nobody disturbed.

Each try is a fork of this process, which has torch loaded already: a try costs what the command costs, not what importing does.
"""
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

VOLATILE = {"timing.jsonl", "environment.json"}  # clock times; the revision of the code
GROWING = {"rows.jsonl", "certificates.jsonl", "history.jsonl", "checkpoint.pt"}  # those that are other files while a run is under way
ASIDE = ".speechadv-"  # what is not whole yet is called so
PATIENCE = 120  # s
OUTSIDE = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
WRITES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")


@dataclass
class Case:
    """A command.

    Args:
        name: of the case.
        arguments: of the command line, with names relative to the folder of a try.
        prepare: fills the folder of a try.
        out: the folder in it that is compared.
        before: files that are there before, whole, and may still be the old ones when the command is killed.
        within: is called in the process of the command, before it begins.
    """

    name: str
    arguments: list[str]
    prepare: Callable[[Path], None] = lambda folder: None
    out: str = "out"
    before: dict[str, bytes] = field(default_factory=dict)
    within: Callable[[], Any] = lambda: None


@dataclass
class Moment:
    """A kill: where it struck, and what came of it. `problems` is empty where all is well."""

    case: str
    kind: str  # "time" in seconds, or "file": before the n-th time that a file is opened for writing, renamed, made or removed
    at: float
    again: int  # kills of the same run before this one
    whole: int  # files that were there right after it, each as the undisturbed run has it
    problems: list[str] = field(default_factory=list)


class Harness:
    """Tries of one case.

    Args:
        case: the command.
        folder: for tries; each is removed when it went well.
        seed: of the moments.
    """

    def __init__(self, case: Case, folder: Path, seed: int = 0):
        self.case, self.folder, self.random = case, folder, random.Random(f"{seed} {case.name}")
        self.number = 0
        loaded_once()
        self.whole = self.fresh()  # the undisturbed run stays here
        self.seconds = self._undisturbed(self.whole)
        seen = json.loads((self.whole / "events").read_text())
        self.events, self.outside = seen["operations"], seen["outside"]
        self.expected = contents(self.whole / case.out)

    def moments(self, count: int) -> Iterator[Moment]:
        """Kill so many times. Every run that was killed, once or twice, is brought to its end and compared."""
        done = 0
        while done < count:
            place, struck = self.fresh(), []
            for again in range(1 + (self.random.random() < 0.3)):
                kind = self.random.choice(["time", "file"])
                at = self.random.uniform(0, self.seconds) if kind == "time" else self.random.randint(1, self.events)
                struck += self.struck(place, kind, at, again)
            if not struck:
                shutil.rmtree(place)  # it was faster than the kill
                continue
            struck[-1].problems += self._bring_to_its_end(place)
            if not any(moment.problems for moment in struck):
                shutil.rmtree(place)
            done += len(struck)
            yield from struck

    def fresh(self) -> Path:
        """A folder for a try."""
        self.number += 1
        place = self.folder / f"{self.case.name}-{self.number}"
        place.mkdir(parents=True)
        self.case.prepare(place)
        return place

    def _undisturbed(self, place: Path) -> float:
        """Seconds of a run to the end."""
        started = time.monotonic()
        child = self._begin(place, None)
        assert ended(child, PATIENCE) == 0, log(place)
        return time.monotonic() - started

    def struck(self, place: Path, kind: str, at: float, again: int = 0) -> list[Moment]:
        """Begin, kill, and look; nothing where the command was done before."""
        child = self._begin(place, int(at) if kind == "file" else None)
        if kind == "time":
            time.sleep(at)
            os.kill(child, signal.SIGKILL)
        killed = ended(child, PATIENCE) == -signal.SIGKILL
        return [self._look(Moment(self.case.name, kind, at, again, 0), place)] if killed else []

    def _look(self, moment: Moment, place: Path) -> Moment:
        """What stands there under its own name is whole."""
        for name, content in contents(place / self.case.out).items():
            if Path(name).name in GROWING or ASIDE in name:
                continue
            if content not in (self.expected.get(name), self.case.before.get(name)):
                moment.problems.append(f"after the kill {name} is not whole")
            moment.whole += 1
        return moment

    def _bring_to_its_end(self, place: Path) -> list[str]:
        status = ended(self._begin(place, None), PATIENCE)
        if status != 0:
            return [f"begun again, it ended with {status}: {log(place)}"]
        found = contents(place / self.case.out)
        return [f"in the end {name} differs" for name in sorted({*found, *self.expected}) if found.get(name) != self.expected.get(name)]

    def _begin(self, place: Path, die_at: int | None) -> int:
        operations = Operations(die_at)
        return forked(self.case.arguments, place, lambda: (self.case.within(), operations.watch()),
                      lambda: Path("events").write_text(json.dumps({"operations": operations.count, "outside": operations.outside})))


def forked(arguments: list[str], place: Path, before: Callable[[], Any] = lambda: None, after: Callable[[], Any] = lambda: None) -> int:
    """Run a command line in a fork of this process.

    Args:
        arguments: of the command line.
        place: the working folder; what is printed goes to the file `log` there.
        before: is called in the child, in the working folder, before the command.
        after: is called there once the command has ended.

    Returns:
        The child's process id.
    """
    sys.stdout.flush(), sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        os.chdir(place)
        sys.stdout = sys.stderr = open("log", "w", errors="backslashreplace", buffering=1)
        sys.argv = ["speechadv", *arguments]
        threads_again()
        before()
        from speechadv import cli

        try:
            status = cli.run(arguments)
        except SystemExit as leaving:
            status = leaving.code or 0
        after()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def threads_again() -> None:
    """Lets torch make its pool of threads anew, which did not come along into a fork: two threads of the command that do so at once find it missing ("Invalid thread pool!")."""
    import torch

    torch.set_num_threads(torch.get_num_threads())


class Operations:
    """Counts a process's writing file operations, and sends it a signal before the one with the number `at`; notes whom it calls and what it starts."""

    def __init__(self, at: int | None = None, sent: int = signal.SIGKILL):
        self.count, self.at, self.sent = 0, at, sent
        self.outside: list[str] = []

    def watch(self) -> None:
        """From here on, in the process that calls."""
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if event in OUTSIDE:
            self.outside.append(f"{event} {arguments[-1] if event.startswith('socket') else arguments[0]}")
        if event in WRITES and (event != "open" or isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            self.count += 1
            if self.count == self.at:
                signal.raise_signal(self.sent)


def loaded_once() -> None:
    """Import what the commands import, so that no fork has to, and have autograd begin: a fork keeps no threads."""
    import matplotlib.backends.backend_agg  # noqa: F401
    import matplotlib.backends.backend_svg  # noqa: F401
    import torch

    for name in ("cli.evaluate", "cli.train", "cli.attack", "cli.data", "cli.report", "cli.defend", "cli.certify", "evaluation.run", "evaluation.certification",
                 "report.page", "report.figures", "training.run", "data.download"):
        importlib.import_module(f"speechadv.{name}")
    torch.ones(2, requires_grad=True).sum().backward()


def warmed(case: Case, place: Path) -> None:
    """Run a command to its end in this process, so that forks find loaded, drawn and remembered what takes time once."""
    from speechadv import cli

    place.mkdir(parents=True)
    case.prepare(place)
    with contextlib.chdir(place), open(place / "log", "w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        status = cli.run(case.arguments)
    assert status == 0, log(place)


def ended(child: int, seconds: float) -> int:
    """Wait for a process: its exit status, or minus the signal that ended it."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"process {child} did not end in {seconds} s")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that has to repeat, with its bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in VOLATILE}


def log(place: Path) -> str:
    """The last lines that a command printed."""
    return " / ".join((place / "log").read_text(errors="replace").splitlines()[-3:])
