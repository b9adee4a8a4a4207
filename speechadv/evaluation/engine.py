"""Items in, done items out: in this process, or in several on this machine."""
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Iterable, Iterator, Protocol

from ..errors import SpeechAdvError
from .work import TRIES, Done, Item, Worker, persistently

IN_FLIGHT = 2  # items a process: what is waiting takes memory

_worker: Worker | None = None  # of a child process


class Engine(Protocol):
    """Where the work of a run is done."""

    def run(self, items: Iterable[Item], worker: Worker) -> Iterator[Done]:
        """Do the items, in any order, and give what came of each; this process alone writes what is outside sound files. Raises SpeechAdvError."""

    def status(self) -> str:
        """How fast which part of it is, for a progress bar; may be empty."""


@dataclass
class Local:
    """This process, or several on this machine.

    Args:
        workers: processes.
        threads: of torch, in each of several; None shares the cores among them.
    """

    workers: int = 1
    threads: int | None = None

    def run(self, items: Iterable[Item], worker: Worker) -> Iterator[Done]:
        """Do the items. Raises SpeechAdvError: the processes died several times in a row."""
        if self.workers == 1:
            return (persistently(worker, item) for item in items)
        return _in_processes(list(items), worker, self.workers, self.threads)

    def status(self) -> str:
        """Nothing beside the bar itself."""
        return ""


def _in_processes(items: list[Item], worker: Worker, workers: int, threads: int | None) -> Iterator[Done]:
    failures = 0
    waiting = dict(enumerate(items))
    while waiting:
        try:
            for number, done in _one_pool(waiting, worker, workers, threads):
                del waiting[number]
                failures = 0
                yield done
        except BrokenProcessPool:
            failures += 1
            if failures == TRIES:
                raise SpeechAdvError(f"a process of the evaluation died {TRIES} times in a row (out of memory?): try fewer --workers "
                                     "or --set batch_size=8; what is finished is kept") from None


def _one_pool(waiting: dict[int, Item], worker: Worker, workers: int, threads: int | None) -> Iterator[tuple[int, Done]]:
    setup = (worker.sendable(), threads or max(1, (os.cpu_count() or 1) // workers))
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, setup)
    try:
        numbers = iter(list(waiting))
        running = {pool.submit(_do, waiting[n].packed()): n for n in itertools.islice(numbers, IN_FLIGHT * workers)}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number = running.pop(future)
                done = future.result()
                for n in itertools.islice(numbers, 1):
                    running[pool.submit(_do, waiting[n].packed())] = n
                yield number, done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(worker: Worker, threads: int) -> None:
    """Of a child process: the parent alone listens to Ctrl-C, and its end is the child's."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    _worker = worker


def _end_with_the_parent() -> None:
    """A parent that is killed tells nobody: its children would wait for work for ever."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _do(item: Item) -> Done:
    done = persistently(_worker, item)
    done.item = item.without_sound()  # the parent has it
    return done
