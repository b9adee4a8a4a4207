"""What runs on a node of a cluster: the work of a process, in a folder of its own, with everything that it wrote sent back as bytes."""
import tempfile
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Sequence

import numpy as np

from .work import Done, Item, Worker, persistently


@dataclass
class Sent:
    """What each node gets once: a worker with its models, and how many cores its tasks may use."""

    worker: Worker
    cores: float
    key: str

    @classmethod
    def of(cls, worker: Worker, cores: float) -> "Sent":
        """From the worker of the process that writes. A model that cannot be sent (a runtime's) is loaded by its word on each node."""
        return cls(worker.sendable(), cores, f"{id(worker)}-{time.time_ns()}")


@dataclass
class Back:
    """What a task sends back: for each item what came of it and the files that it made (their paths relative to the run)."""

    version: str
    node: str
    seconds: float
    results: list[tuple[Done, dict[str, bytes]]]


_workers: dict[str, Worker] = {}  # of this process, by what they were sent as


def installed_version() -> str:
    """Of speechadv, on the machine that this runs on."""
    return version("speechadv")


def work_on(sent: Sent, sound: np.ndarray, items: Sequence[Item], files: dict[str, bytes]) -> Back:
    """Do items on this node.

    Args:
        sent: worker and models.
        sound: int16 (all clips, time), shared by all tasks of a node.
        items: without sound.
        files: what they need of the run's folder.
    """
    import torch

    torch.set_num_threads(max(1, int(sent.cores)))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="speechadv-") as folder:
        worker = _workers.setdefault(sent.key, sent.worker)
        worker.run = Path(folder)
        for path, content in files.items():
            target = worker.run / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        results = []
        for item in items:
            done = persistently(worker, replace(item, sound=sound))
            done.item = None  # who sent it has it
            results.append((done, {path: content for path, content in taken(worker.run).items() if path not in files}))
        return Back(installed_version(), _node(), time.perf_counter() - started, results)


def taken(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by their relative paths; they are removed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
            path.unlink()
    return found


def carried(run: Path, items: Sequence[Item]) -> dict[str, bytes]:
    """What items need of the run's folder: the waveforms that their attack has learned."""
    return {path: (run / path).read_bytes() for path in sorted({path for item in items for path in item.fits.values()})}


def _node() -> str:
    """A name for this node that says nothing about the machine: the beginning of its number in the cluster."""
    import ray

    return f"node {ray.get_runtime_context().get_node_id()[:6]}"
