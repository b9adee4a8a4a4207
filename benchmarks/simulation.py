"""A cluster as discrete events: tasks of a run, nodes that fail and come back, slow ones, and one driver that issues tasks and writes what comes back.

It is the engine of speechadv/evaluation/tasks.py in outline: a bounded number of tasks in flight, tasks of a lost node issued again, late ones issued once
more when the queue is empty. Needs simpy (extra `bench`).
"""
import itertools
import random
import statistics
from collections import deque
from dataclasses import dataclass, field

LOOK = 1.0  # seconds between two looks at what is late


@dataclass(frozen=True)
class Machine:
    """What the simulated cluster is like; times in seconds.

    Attributes:
        workers: processes that make rows, `a_node` of them on a node.
        start: until a worker does its first task.
        issue: of the driver, for each task; `row`: of the driver, for each row that comes back. `benchmarks.scale` measures both.
        failures_a_day: of a node, exponentially distributed; `down`: until it is back; `noticed`: until the driver knows.
        slow_share: of the nodes that take `slow` times as long; all others differ by a standard deviation of `spread`, their mean speed is 1.
        ahead: tasks in flight for each worker; `late`: times as long as the median, then a task is issued once more when nothing waits.
    """

    workers: int
    a_node: int = 16
    start: float = 10.0
    issue: float = 0.0
    row: float = 0.0
    failures_a_day: float = 1.0
    down: float = 300.0
    noticed: float = 10.0
    slow_share: float = 0.02
    slow: float = 3.0
    spread: float = 0.05
    ahead: int = 2
    late: float = 3.0


@dataclass
class Task:
    """Work of `seconds` on a usual worker that gives `rows` rows."""

    seconds: float
    rows: int
    copies: int = 0
    since: float = 0.0
    done: bool = False


@dataclass
class Outcome:
    """What came of a simulated run."""

    seconds: float = 0.0
    failures: int = 0
    again: int = 0  # tasks of nodes that were lost
    twice: int = 0  # late tasks issued once more
    driver_busy: float = 0.0  # seconds
    took: list[float] = field(default_factory=list)


def simulate(tasks: list[tuple[float, int]], machine: Machine, seed: int = 0) -> Outcome:
    """The run of these tasks, (seconds, rows) each, in this order. The same seed gives the same run."""
    import simpy

    return _Run(simpy, [Task(*task) for task in tasks], machine, random.Random(seed)).all()


class _Run:
    def __init__(self, simpy, tasks: list[Task], machine: Machine, draw: random.Random):
        self.simpy, self.env, self.machine, self.draw = simpy, simpy.Environment(), machine, draw
        self.waiting, self.left, self.in_flight = deque(tasks), len(tasks), 0
        self.ready, self.back, self.found = simpy.Store(self.env), simpy.Store(self.env), Outcome()
        self.running: dict[int, Task] = {}
        self.looked = 0.0

    def all(self) -> Outcome:
        machine = self.machine
        sizes = [min(machine.a_node, machine.workers - first) for first in range(0, machine.workers, machine.a_node)]
        for workers, pace in zip(sizes, self.paces(len(sizes))):
            self.env.process(self.node(workers, pace))
        self.env.run(until=self.env.process(self.driver()))
        self.found.seconds = self.env.now
        return self.found

    def driver(self):
        """Issues tasks while there is room, takes what comes back, and looks after late ones."""
        while self.left:
            while self.waiting and self.in_flight < self.machine.ahead * self.machine.workers:
                yield from self.busy(self.machine.issue)
                self.send(self.waiting.popleft())
            answer = self.back.get()
            if self.waiting:
                yield answer
            else:
                self.send_late()
                yield answer | self.env.timeout(LOOK)
            if not answer.triggered:
                answer.cancel()
                continue
            task, whole = answer.value
            self.in_flight -= 1
            task.copies -= 1
            if whole and not task.done:
                yield from self.busy(task.rows * self.machine.row)
                task.done, self.left = True, self.left - 1
                self.running.pop(id(task), None)
            elif not whole and not task.done and not task.copies:
                self.found.again += 1
                self.waiting.appendleft(task)

    def busy(self, seconds: float):
        self.found.driver_busy += seconds
        yield self.env.timeout(seconds)

    def send(self, task: Task) -> None:
        task.copies, task.since = task.copies + 1, task.since or self.env.now
        self.in_flight += 1
        self.running[id(task)] = task
        self.ready.put(task)

    def send_late(self) -> None:
        """Issue once more what takes much longer than the others, while a worker is idle."""
        idle = len(self.ready.get_queue)
        if not idle or not self.found.took or self.env.now < self.looked + LOOK:
            return
        self.looked, usual = self.env.now, statistics.median(self.found.took)
        late = (task for task in self.running.values() if task.copies == 1 and self.env.now - task.since > self.machine.late * usual)
        for task in list(itertools.islice(late, idle)):
            self.found.twice += 1
            self.send(task)

    def paces(self, nodes: int) -> list[float]:
        """How long each node takes for a second's work."""
        usual = [max(0.5, self.draw.gauss(1.0, self.machine.spread)) for _ in range(nodes)]
        speed = statistics.mean(1 / pace for pace in usual)
        return [self.machine.slow if self.draw.random() < self.machine.slow_share else pace * speed for pace in usual]

    def node(self, workers: int, pace: float):
        """A machine: its workers, until it fails; then, after a while, new ones."""
        while True:
            running = [self.env.process(self.worker(pace)) for _ in range(workers)]
            rate = self.machine.failures_a_day / 86400
            yield self.env.timeout(self.draw.expovariate(rate) if rate else float("inf"))
            self.found.failures += 1
            for process in running:
                process.interrupt()
            yield self.env.timeout(self.machine.down)

    def worker(self, pace: float):
        """Does one task after another; what it was doing when its node failed comes back undone."""
        task = wanted = None
        try:
            yield self.env.timeout(self.machine.start)
            while True:
                wanted = self.ready.get()
                task = yield wanted
                began = self.env.now
                yield self.env.timeout(task.seconds * pace)
                self.found.took.append(self.env.now - began)
                self.back.put((task, True))
                task = None
        except self.simpy.Interrupt:
            if wanted is not None and not wanted.triggered:
                wanted.cancel()
            lost = task if task is not None else wanted.value if wanted is not None and wanted.triggered and not wanted.processed else None
            yield self.env.timeout(self.machine.noticed)
            if lost is not None:
                self.back.put((lost, False))
