"""One run on a Ray cluster: tasks that wait, those under way, and what is done when a process or a node does not answer."""
import statistics
import time
from collections import deque
from typing import Any, Hashable, Iterable, Iterator

from ..audio import write_bytes
from ..errors import SpeechAdvError, shown
from .remote import Setup, carried, installed_version, work_on
from .tasks import Grouped, Task
from .blocks import TRIES, Block, Doing, Done

AHEAD = 2  # tasks a process in flight: what waits on a node takes memory there, and results take memory here
LATE = 3.0  # times as long as the others: then a task is issued once more when nothing else is left to do
LATE_FROM = 5.0  # seconds, at the least
LOOK = 0.5  # seconds between two looks at the cluster
REMEMBERED = 101  # tasks whose times say what is usual


class Running:
    """The driver's side of a run.

    Args:
        ray: the module.
        engine: told what is done where; says what a task may use.
        worker: of the run.
    """

    def __init__(self, ray, engine, worker: Doing):
        self.ray, self.engine, self.worker = ray, engine, worker
        self.again: deque[Task] = deque()  # of a node that left, of a process that died
        self.under_way: dict[Any, Task] = {}
        self.speed: dict[Hashable, float] = {}  # seconds a clip, by kind
        self.took: deque[float] = deque(maxlen=REMEMBERED)
        self.submit = ray.remote(max_retries=0)(work_on).options(num_cpus=engine.cores, num_gpus=engine.gpus)
        self.setup: Setup | None = None
        self.sound: Any = None
        self._processes = 0
        self._looked = float("-inf")
        self._told = False

    def all(self, items: Iterable[Block]) -> Iterator[Done]:
        """What came of each block, once."""
        waiting = Grouped(items, self.speed)
        try:
            while True:
                self._fill(waiting)
                if not self.under_way:
                    return
                ready, _ = self.ray.wait(list(self.under_way), num_returns=1, timeout=LOOK)
                for reference in ready:
                    yield from self._finished(reference)
                self._tell_of_no_room(bool(ready))
        finally:
            for reference in self.under_way:
                self.ray.cancel(reference, force=True)

    def _fill(self, waiting: Grouped) -> None:
        """Issue tasks until the cluster has enough; then those that are late a second time.

        Some are issued to a cluster without room too: they wait there, and one that can grow sees that it should.
        """
        processes = max(1, self.processes)
        room = AHEAD * processes - len(self.under_way)
        while room > 0 and (self.again or not waiting.empty):
            self._issue(self.again.popleft() if self.again else Task(waiting.next(processes)))
            room -= 1
        if room > 0 and self.took:
            for task in {id(task): task for task in self.under_way.values()}.values():
                if len(task.copies) == 1 and self._is_late(task):
                    self._issue(task)

    @property
    def processes(self) -> int:
        """How many tasks the cluster does at a time, as of half a second ago."""
        if time.monotonic() - self._looked > LOOK:
            have = self.ray.cluster_resources()
            fits = [have.get(key, 0) / each for key, each in (("CPU", self.engine.cores), ("GPU", self.engine.gpus)) if each]
            self._processes, self._looked = int(min(fits)), time.monotonic()
        return self._processes

    def _is_late(self, task: Task) -> bool:
        return time.monotonic() - task.since > max(LATE_FROM, LATE * statistics.median(self.took))

    def _issue(self, task: Task) -> None:
        if self.setup is None:
            shared = self.ray.put(self.worker.sendable())
            self.setup = Setup(installed_version(), f"{id(self)}-{time.time_ns()}", [shared], self.engine.cores, "cuda" if self.engine.gpus else None)
            self.sound = self.ray.put(task.items[0].sound)
        without = [item.without_sound() for item in task.items]
        reference = self.submit.remote(self.setup, self.sound, without, carried(self.worker.run, task.items))
        if not task.copies:
            task.since = time.monotonic()
        task.copies.append(reference)
        self.under_way[reference] = task

    def _finished(self, reference) -> Iterator[Done]:
        """What came of a task; the others of its copies are dropped."""
        task, errors = self.under_way.pop(reference), self.ray.exceptions
        task.copies.remove(reference)
        try:
            back = self.ray.get(reference)
        except errors.RayTaskError as problem:
            if isinstance(problem.cause, SpeechAdvError):
                raise problem.cause from None
            yield from self._crashed(task, f"{type(problem.cause).__name__}: {problem.cause}")
        except (errors.WorkerCrashedError, errors.OutOfMemoryError) as problem:
            yield from self._crashed(task, type(problem).__name__)
        except errors.RayError:  # its node left, and what it had made with it: no fault of the task's
            if not task.copies:
                self.engine.notice(f"a node left the cluster: {task.clips} clips are done elsewhere")
                self.again.append(task)
        else:
            self._drop(task)
            self.took.append(back.seconds)
            self.speed[task.items[0].kind] = back.seconds / max(1, task.clips)
            self.engine.count(back.node, task.clips, back.seconds)
            for item, (done, files) in zip(task.items, back.results):
                for path, content in files.items():
                    (self.worker.run / path).parent.mkdir(parents=True, exist_ok=True)
                    write_bytes(self.worker.run / path, content, synced=False)
                done.item = item
                yield done

    def _drop(self, task: Task) -> None:
        for other in task.copies:
            del self.under_way[other]
            self.ray.cancel(other, force=True)
        task.copies.clear()

    def _crashed(self, task: Task, why: str) -> Iterator[Done]:
        """A process died over a task: once more; then which of its clips is it? Halves are tried, at last a single clip three times."""
        self._drop(task)
        task.crashes += 1
        if task.clips == 1 and task.crashes >= TRIES:
            yield Done(task.items[0], failed={task.items[0].names[0]: shown(f"{TRIES} processes died over it ({why})")})
            return
        self.engine.notice(f"a process died over {task.clips} clips ({shown(why)}): they are tried again")
        self.again.extend(task.halves() if task.clips > 1 and task.crashes > 1 else [task])

    def _tell_of_no_room(self, working: bool) -> None:
        if not working and not self.processes and not self._told:
            gpus = f" and {self.engine.gpus:g} GPUs" if self.engine.gpus else ""
            self.engine.notice(f"the cluster has no node with {self.engine.cores:g} cores{gpus}: waiting for one")
        self._told = not working and not self.processes
