"""One comparison: ours and theirs in turn, in one process, medians and the ratio with its spread."""
import statistics
import time
from dataclasses import dataclass, field
from typing import Callable


@dataclass
class Comparison:
    """Two ways to do the same.

    Attributes:
        name: as in the table of results/benchmarks.md.
        ours, theirs: functions without arguments that do the work once; theirs is None where the aim is a time and not a peer.
        unit: "s", "ms a clip", "clips a second", ...: a time, or a rate where it ends in "a second".
        against: what theirs is.
        aim: the ratio to reach; with `theirs` None the longest time in `unit` that is still good.
        work: how many of the unit's things one call of ours does; `their_work` the same of theirs, where it differs.
        notes: sentences that belong to the figures, such as how many clips fell.
        after: gives further notes once all rounds are done.
        warm: one call of each before the rounds; long work does without.
    """

    name: str
    ours: Callable[[], object]
    theirs: Callable[[], object] | None
    unit: str
    against: str
    aim: float
    work: float = 1.0
    their_work: float | None = None
    notes: list[str] = field(default_factory=list)
    after: Callable[[], list[str]] = list
    warm: bool = True

    @property
    def is_rate(self) -> bool:
        return self.unit.endswith("a second")

    def figure(self, seconds: float, work: float) -> float:
        """Seconds of one call in the unit."""
        each = seconds / work
        return 1 / each if self.is_rate else 1000 * each if self.unit.startswith("ms") else each


_device = "cpu"


def use(name: str) -> None:
    """Choose the device of the comparisons that run a network."""
    global _device
    _device = name


def device() -> str:
    """The device that was chosen."""
    return _device


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, with everything that it began on a GPU."""
    started = time.perf_counter()
    work()
    if _device != "cpu":
        import torch

        torch.cuda.synchronize(_device)
    return time.perf_counter() - started


def measure(comparison: Comparison, rounds: int, warm: bool = True) -> dict:
    """Rounds of ours, then theirs. Returns a row of results/benchmarks.json: medians in the unit, the median ratio, its lowest and highest round.

    The ratio of a round is what theirs took for a piece of work over what ours took: the larger the better. Without a peer it is the aim over ours.
    """
    c = comparison
    if warm and c.warm:
        c.ours()
        if c.theirs:
            c.theirs()
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds(c.ours) / c.work)
        if c.theirs:
            theirs.append(seconds(c.theirs) / (c.their_work or c.work))
    aims = 1.0 if c.theirs is None else c.aim
    limit = c.aim / 1000 if c.unit.startswith("ms") else c.aim
    ratios = [t / o for t, o in zip(theirs, ours)] if c.theirs else [limit / o for o in ours]
    return {"name": c.name, "ours": c.figure(statistics.median(ours), 1), "theirs": c.figure(statistics.median(theirs), 1) if theirs else c.aim,
            "ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios), "unit": c.unit, "command": f"python -m benchmarks --only '{c.name}'" + ("" if _device == "cpu" else f" --device {_device}"), "device": _device,
            "against": c.against, "aim": aims, "reached": statistics.median(ratios) >= aims, "rounds": rounds, "notes": c.notes + c.after()}
