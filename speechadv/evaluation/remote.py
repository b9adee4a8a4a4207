"""What runs on a node of a cluster: the work of a process, in a folder of its own, with everything that it wrote sent back as bytes."""
import contextlib
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from ..errors import SpeechAdvError, shown
from ..memory import keep_freed
from .blocks import Block, Doing, Done, persistently

SHARED_MEMORY, ROOM = "/dev/shm", 1 << 30  # bytes: a task makes 70 MB at the most


@dataclass
class Setup:
    """What a task is told about its run.

    Attributes:
        version: of speechadv where the run is written; a node that has another one refuses.
        key: of the run; a process that has worked for it has the worker already.
        worker: a list of one reference, so that it is fetched only by a process that has not.
        cores: that torch may use.
        device: to work on, where it is not the writer's.
    """

    version: str
    key: str
    worker: list[Any]
    cores: float
    device: str | None = None


@dataclass
class Back:
    """What a task sends back: for each block what came of it and the files that it made (their paths relative to the run)."""

    node: str
    seconds: float
    results: list[tuple[Done, dict[str, bytes]]]


_workers: dict[str, Doing] = {}  # of this process: that of the run it works for


def installed_version() -> str:
    """Of the speechadv that runs here, whatever an installer has noted beside it."""
    return sys.modules[__name__.partition(".")[0]].__version__


def check_version(wanted: str) -> None:
    """Raise SpeechAdvError where this node has another speechadv than the process that writes the run."""
    if installed_version() != wanted:
        raise SpeechAdvError(f"--engine ray: {node()} has speechadv {installed_version()}, this process has {wanted}: install the same version everywhere")


def work_on(setup: Setup, sound: np.ndarray, items: Sequence[Block], files: dict[str, bytes]) -> Back:
    """Do blocks on this node.

    Args:
        setup: of the run.
        sound: (all clips, time), shared by all tasks of a node.
        items: without sound.
        files: what they need of the run's folder.

    Raises:
        SpeechAdvError: this node cannot work for the run at all.
    """
    check_version(setup.version)
    worker = _worker_of(setup)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="speechadv-", dir=_in_memory()) as folder:
        worker.run = Path(folder)
        put(worker.run, files)
        results = []
        for item in items:
            done = persistently(worker, replace(item, sound=sound))
            done.item = None  # who sent it has it
            results.append((done, taken(worker.run, files)))
        return Back(node(), time.perf_counter() - started, results)


def _in_memory() -> str | None:
    """A folder in memory, where there is one with room: what is written goes to the driver at once, and a disk would be made to flush each file."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(SHARED_MEMORY).free >= ROOM and os.access(SHARED_MEMORY, os.W_OK):
            return SHARED_MEMORY
    return None


def _worker_of(setup: Setup) -> Doing:
    """The run's worker, fetched once a process."""
    if setup.key not in _workers:
        import ray

        _workers.clear()
        try:
            worker = ray.get(setup.worker[0])
            keep_freed()
            worker.begin(max(1, int(setup.cores)), setup.device)
        except SpeechAdvError:
            raise
        except Exception as problem:  # a class of the model's that is not installed here, a GPU that is not there
            raise SpeechAdvError(f"--engine ray: {node()} cannot load what the run needs: {shown(_reason(problem))}") from None
        _workers[setup.key] = worker
    return _workers[setup.key]


def _reason(problem: Exception) -> str:
    """The last line of an error; Ray puts a whole traceback into its own."""
    return (str(problem).strip().splitlines() or [type(problem).__name__])[-1]


def put(folder: Path, files: dict[str, bytes]) -> None:
    """Files into a folder, by their relative paths."""
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def taken(folder: Path, but: Sequence[str] | dict = ()) -> dict[str, bytes]:
    """The files of a folder, by their relative paths; they are removed, but for those that are to stay and are not given."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in but:
            found[name] = path.read_bytes()
            path.unlink()
    return found


def carried(run: Path, items: Sequence[Block]) -> dict[str, bytes]:
    """What blocks need of the run's folder."""
    return {path: (run / path).read_bytes() for path in sorted({path for item in items for path in item.needs})}


def node() -> str:
    """A name for this node that says nothing about the machine: the beginning of its number in the cluster."""
    import ray

    return f"node {ray.get_runtime_context().get_node_id()[:6]}"
