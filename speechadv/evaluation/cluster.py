"""Items in, done items out, on Ray: one machine, a Slurm allocation, Kubernetes. Ray moves bytes and starts processes; nothing of that is ours.

Models and the set's sound go once to each node's object store. A worker needs neither the data set nor a shared file system: what it would have written into
the run's folder comes back as bytes, and this process alone writes.
"""
import statistics
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, Iterator

from ..audio import silent, write_bytes
from ..errors import ConfigError, SpeechAdvError
from .remote import Sent, carried, installed_version, work_on
from .work import TRIES, Done, Item, Worker

SECONDS = 20.0  # that a task should take, from the measured speed of its craft
MOST_SECONDS = 60.0
AHEAD = 2  # tasks a slot in flight: what waits on a node takes memory there, and results take memory here
LATE = 3.0  # times as long as the others: then a task is issued once more when nothing else is left to do
LATE_FROM = 5.0  # seconds, at the least
LOOK = 0.5  # seconds between two looks at the cluster


@dataclass
class Task:
    """Items of one craft that a process does in one go.

    Attributes:
        items: what is to be done.
        crashes: processes that died over it.
        copies: references of it that are under way.
        since: when the first of them was issued.
        why: what the last process died of.
    """

    items: list[Item]
    crashes: int = 0
    copies: list[Any] = field(default_factory=list)
    since: float = 0.0
    why: str = ""

    @property
    def clips(self) -> int:
        return sum(len(item.names) for item in self.items)

    def halves(self) -> list["Task"]:
        """Two tasks of half the clips."""
        if len(self.items) > 1:
            middle = len(self.items) // 2
            return [Task(self.items[:middle]), Task(self.items[middle:])]
        (item,) = self.items
        middle = len(item.names) // 2
        return [Task([item.part(slice(0, middle))]), Task([item.part(slice(middle, None))])]


class OnRay:
    """The engine.

    Args:
        address: "auto" for the cluster that this machine belongs to, HOST:PORT, or None for one of this machine's cores alone.
        cores: of each task.
        gpus: of each task; fractions share a GPU.
        notice: is told one line about what the user should know.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers at the address.
    """

    def __init__(self, address: str | None = None, cores: float = 1, gpus: float = 0, notice: Callable[[str], None] = silent):
        self.address, self.cores, self.gpus, self.notice = address, cores, gpus, notice
        self.clips_of: Counter[str] = Counter()  # done, by node
        self._started: float | None = None

    def run(self, items: Iterable[Item], worker: Worker) -> Iterator[Done]:
        """Do the items, in any order. Raises SpeechAdvError: a node has another version, or an item is an error by itself."""
        ray = imported()
        mine = self._connect(ray)
        try:
            self._check_versions(ray)
            yield from _Running(ray, self, worker).all(items)
        finally:
            if mine:
                ray.shutdown()

    def status(self) -> str:
        """Clips a second by node, for the progress bar."""
        if self._started is None or not self.clips_of:
            return ""
        elapsed = max(1e-9, time.monotonic() - self._started)
        return ", ".join(f"{node} {count / elapsed:.1f}/s" for node, count in sorted(self.clips_of.items()))

    def _connect(self, ray) -> bool:
        """Join or start a cluster; whether this call did."""
        if ray.is_initialized():
            return False
        options = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False} if self.address is None else {"log_to_driver": False,
                                                                                                                            "logging_level": "ERROR"}
        try:
            ray.init(address=self.address, **options)
        except (ConnectionError, ValueError, RuntimeError) as problem:
            raise ConfigError(f"--address {self.address}: expected a Ray cluster there ({type(problem).__name__}): begin one with `ray start --head`") from None
        return True

    def _check_versions(self, ray) -> None:
        """Raise SpeechAdvError where a node that can work has another speechadv."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ask = ray.remote(max_retries=0)(installed_version)
        asked = {}
        for node in ray.nodes():
            if node["Alive"] and node["Resources"].get("CPU", 0) > 0:
                here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                asked[ask.options(num_cpus=0, scheduling_strategy=here).remote()] = node["NodeManagerHostname"]
        for reference, host in asked.items():
            try:
                check_version(ray.get(reference), host)
            except ray.exceptions.RayTaskError as problem:
                raise SpeechAdvError(f"--engine ray: node {host} has no speechadv that works ({type(problem.cause).__name__}); this process has {installed_version()}") from None
            except ray.exceptions.RayError:  # it left; whoever takes its place is checked with its first task
                continue


def imported():
    """Ray, or ConfigError naming the extra."""
    try:
        import ray
    except ImportError:
        raise ConfigError("--engine ray: needs Ray: pip install 'speechadv[ray]'") from None
    return ray


def check_version(found: str, host: str) -> None:
    """Raise SpeechAdvError where a node's version is not this process's."""
    if found != installed_version():
        raise SpeechAdvError(f"--engine ray: node {host} has speechadv {found}, this process has {installed_version()}: install the same version everywhere")


class _Running:
    """One run's tasks: those that wait, those under way, and how fast each craft goes."""

    def __init__(self, ray, engine: OnRay, worker: Worker):
        self.ray, self.engine, self.worker = ray, engine, worker
        self.again: deque[Task] = deque()  # of a node that left, or cut in half
        self.under_way: dict[Any, Task] = {}
        self.speed: dict[Any, float] = {}  # seconds a clip, by craft
        self.took: list[float] = []
        self.submit = ray.remote(max_retries=0)(work_on).options(num_cpus=engine.cores, num_gpus=engine.gpus)
        self.shared = self.sound = None

    def all(self, items: Iterable[Item]) -> Iterator[Done]:
        """Each item's outcome, once."""
        waiting = _Grouped(items, self.speed)
        self.engine._started = time.monotonic()
        try:
            while True:
                self._fill(waiting)
                if not self.under_way:
                    if waiting.empty and not self.again:
                        return
                    self.engine.notice("no node of the cluster has free cores: waiting for one")
                    time.sleep(10 * LOOK)
                    continue
                ready, _ = self.ray.wait(list(self.under_way), num_returns=1, timeout=LOOK)
                for reference in ready:
                    yield from self._finished(reference)
        finally:
            for reference in self.under_way:
                self.ray.cancel(reference, force=True)

    def _fill(self, waiting: "_Grouped") -> None:
        """Issue tasks until the cluster has enough; then those that are late a second time."""
        room = AHEAD * self._slots() - len(self.under_way)
        while room > 0 and (self.again or not waiting.empty):
            self._issue(self.again.popleft() if self.again else Task(waiting.next()))
            room -= 1
        if not self.again and waiting.empty and room > 0:
            for task in {id(task): task for task in self.under_way.values()}.values():
                if len(task.copies) == 1 and self._is_late(task):
                    self._issue(task)

    def _slots(self) -> int:
        have = self.ray.cluster_resources()
        slots = have.get("CPU", 0) / self.engine.cores if self.engine.cores else float("inf")
        return int(min(slots, have.get("GPU", 0) / self.engine.gpus) if self.engine.gpus else slots)

    def _is_late(self, task: Task) -> bool:
        usual = statistics.median(self.took) if self.took else 0.0
        return time.monotonic() - task.since > max(LATE_FROM, LATE * usual)

    def _issue(self, task: Task) -> None:
        if self.shared is None:
            sound = task.items[0].sound
            self.sound, self.shared = self.ray.put(sound), self.ray.put(Sent.of(self.worker, self.engine.cores))
        without = [item.without_sound() for item in task.items]
        reference = self.submit.remote(self.shared, self.sound, without, carried(self.worker.run, task.items))
        if not task.copies:
            task.since = time.monotonic()
        task.copies.append(reference)
        self.under_way[reference] = task

    def _finished(self, reference) -> Iterator[Done]:
        """What came of a task; the others of its copies are dropped."""
        task = self.under_way.pop(reference)
        task.copies.remove(reference)
        errors = self.ray.exceptions
        try:
            back = self.ray.get(reference)
        except errors.RayTaskError as problem:
            if isinstance(problem.cause, SpeechAdvError):
                raise problem.cause from None
            self._crashed(task, f"{type(problem.cause).__name__}: {problem.cause}")
        except (errors.WorkerCrashedError, errors.OutOfMemoryError) as problem:
            self._crashed(task, type(problem).__name__)
        except errors.RayError:  # its node left, and what it had made with it: no fault of the task's
            if not task.copies:
                self.again.append(task)
        else:
            check_version(back.version, back.node)
            self._drop(task)
            self.took.append(back.seconds)
            self.speed[task.items[0].craft] = back.seconds / max(1, task.clips)
            self.engine.clips_of[back.node] += task.clips
            for item, (done, files) in zip(task.items, back.results):
                for path, content in files.items():
                    target = self.worker.run / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    write_bytes(target, content)
                done.item = item
                yield done
            return
        yield from self._given_up(task)

    def _drop(self, task: Task) -> None:
        for other in task.copies:
            del self.under_way[other]
            self.ray.cancel(other, force=True)
        task.copies.clear()

    def _crashed(self, task: Task, why: str) -> None:
        """A process died over a task: which of its clips did it? Halves are tried, at last a single clip three times."""
        self._drop(task)
        task.crashes += 1
        if task.clips > 1:
            self.again.extend(task.halves())
        elif task.crashes < TRIES:
            self.again.append(task)
        else:
            task.why = why

    def _given_up(self, task: Task) -> Iterator[Done]:
        if task.clips == 1 and task.crashes >= TRIES:
            (item,) = (item for item in task.items if item.names)
            yield Done(item, failed={item.names[0]: f"{TRIES} processes died over it ({task.why})"})


class _Grouped:
    """Items in groups of one craft that should take SECONDS, from the speed that was measured; one at a time until it was."""

    def __init__(self, items: Iterable[Item], speed: dict[Any, float]):
        self._items, self._speed = iter(items), speed
        self._next = next(self._items, None)

    @property
    def empty(self) -> bool:
        return self._next is None

    def next(self) -> list[Item]:
        """The next group."""
        group, clips = [self._take()], 0
        pace = self._speed.get(group[0].craft)
        clips = len(group[0].names)
        while pace and self._next is not None and self._next.craft == group[0].craft and (clips + len(self._next.names)) * pace <= SECONDS:
            group.append(self._take())
            clips += len(group[-1].names)
        return group

    def _take(self) -> Item:
        """The next item, or as much of it as one task should do."""
        item, pace = self._next, self._speed.get(self._next.craft)
        if pace and len(item.names) * pace > MOST_SECONDS:
            some = max(1, int(SECONDS / pace))
            self._next = item.part(slice(some, None))
            return item.part(slice(0, some))
        self._next = next(self._items, None)
        return item
