"""Items in, done items out: in this process, or in several on this machine."""
import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Iterable, Iterator, Protocol

from ..errors import SpeechAdvError
from ..memory import keep_freed
from .blocks import TRIES, Block, Doing, Done, persistently

IN_FLIGHT = 2  # items a process: what is waiting takes memory

_worker: Doing | None = None  # of a child process


class Engine(Protocol):
    """Where the work of a run is done."""

    def ready(self) -> None:
        """Check that work can begin, before anything is written. Raises SpeechAdvError."""

    def run(self, items: Iterable[Block], worker: Doing) -> Iterator[Done]:
        """Do the items, in any order, and give what came of each; this process alone writes what is outside sound files.

        A generator: closed early it stops what runs. Raises SpeechAdvError.
        """

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

    def ready(self) -> None:
        """Nothing can be missing."""

    def run(self, items: Iterable[Block], worker: Doing) -> Iterator[Done]:
        """Do the items. Raises SpeechAdvError: the processes died several times in a row."""
        if self.workers == 1:
            return (persistently(worker, item) for item in items)
        return _in_processes(items, worker, self.workers, self.threads)

    def status(self) -> str:
        """Nothing beside the bar itself."""
        return ""


def _in_processes(items: Iterable[Block], worker: Doing, workers: int, threads: int | None) -> Iterator[Done]:
    left, failures = iter(items), 0
    while True:
        running: dict[int, Block] = {}  # items that a pool has not given back; those that it breaks over are done again
        try:
            for done in _one_pool(left, running, worker, workers, threads):
                failures = 0
                yield done
            return
        except BrokenProcessPool:
            failures += 1
            if failures == TRIES:
                raise SpeechAdvError(f"a process of the evaluation died {TRIES} times in a row (out of memory?): try fewer --workers "
                                     "or --set batch_size=8; what is finished is kept") from None
            left = itertools.chain(list(running.values()), left)


def _one_pool(left: Iterator[Block], running: dict[int, Block], worker: Doing, workers: int, threads: int | None) -> Iterator[Done]:
    numbers, futures = itertools.count(), {}
    setup = (worker.sendable(), threads or max(1, (os.cpu_count() or 1) // workers), dict(os.environ))
    pool = ProcessPoolExecutor(workers, nursery(), _begin, setup)

    def begin(item: Block) -> None:
        number = next(numbers)
        running[number] = item  # first: the pool may have broken
        futures[pool.submit(_do, item.packed())] = number

    try:
        for item in itertools.islice(left, IN_FLIGHT * workers):
            begin(item)
        while futures:
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                done = future.result()
                done.item = running.pop(futures.pop(future))
                yield done  # before the next one begins: where the pool is broken, that raises, and what is done would be lost
                for item in itertools.islice(left, 1):
                    begin(item)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def nursery() -> multiprocessing.context.BaseContext:
    """Where workers come from. On Linux they are forked from a process that has imported what they need and done nothing else, and begin at once; the first call starts it, and
    it imports while this process goes on. Elsewhere that is not safe, and without room for its socket it cannot be: then each is started anew."""
    if sys.platform == "linux":
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([f"{__package__}.nursery"])
        with contextlib.suppress(OSError), _deaf_children():  # no temporary folder, or one whose path is too long for a socket
            multiprocessing.forkserver.ensure_running()
            return context
    return multiprocessing.get_context("spawn")


@contextlib.contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that begin within hear no Ctrl-C, not even while they import."""
    multiprocessing.resource_tracker.ensure_running()  # it would end the blocking
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(worker: Doing, threads: int, environment: dict[str, str]) -> None:
    """Of a child process: the parent alone listens to Ctrl-C, and its end is the child's. Variables may have been set since the nursery began."""
    global _worker
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    keep_freed()
    worker.begin(threads)
    _worker = worker


def _end_with_the_parent() -> None:
    """A parent that is killed tells nobody: its children would wait for work for ever."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _do(item: Block) -> Done:
    done = persistently(_worker, item)
    done.item = None  # the parent has it
    return done
