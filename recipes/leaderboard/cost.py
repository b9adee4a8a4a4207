"""What an entry costs: at most so many passes and queries, and how long they take here; and how many clips a second it hears."""
import time
from dataclasses import dataclass
from statistics import median
from typing import Any, Callable, Sequence

CLIPS = 8  # that costs are measured on
STEPS, QUERIES = 3, 20
BATCH = 32  # clips in a call whose speed is printed


@dataclass
class Cost:
    """Of one run of an entry, at most: clips that hold out spend all of it, the others leave early.

    Attributes:
        cells: budgets.
        clips: that are not done yet.
        passes, queries: of all of them.
        seconds: of one thread here.
    """

    cells: int
    clips: int
    passes: int
    queries: int
    seconds: float


def of_attack(attack: Any) -> tuple[int, int]:
    """(passes, queries) of a clip that holds out. Those of checking what was found, one or two an attack, are not counted."""
    if hasattr(attack, "stages"):
        parts = [of_attack(stage) for stage in attack.stages]
        return sum(passes for passes, _ in parts), sum(queries for _, queries in parts)
    if not attack.white_box:
        return 0, getattr(attack, "queries", 0) or getattr(attack, "draws", 0)
    ways = attack.targets if getattr(attack, "loss", "") == "targeted" else 1
    return attack.steps * attack.restarts * ways, 0


def of_run(config, model, clips: int) -> Cost:
    """The cost of a run whose network and defense are `model`, a `Defended`, for so many clips."""
    from speechadv.evaluation.cells import cells

    grid = cells(config)
    each = [of_attack(cell.craft.attack.make()) for cell in grid]
    seconds = sum(sum(count * cost for count, cost in zip(spent, seconds_of(model, cell.budget))) for spent, cell in zip(each, grid))
    return Cost(len(grid), clips, clips * sum(passes for passes, _ in each), clips * sum(queries for _, queries in each), clips * seconds)


def seconds_of(model, budget: str) -> tuple[float, float]:
    """Processor seconds of a pass and of a query of one clip under a budget, from a short attack that spends all of itself."""
    import torch

    from speechadv.attacks.base import frozen
    from speechadv.budgets import parse_budget
    from speechadv.goals import Misclassify
    from speechadv.randomness import clip_generators
    from speechadv.registry import create

    clips = clips_to_time(CLIPS)
    with frozen(model), torch.no_grad():
        heard = model(clips).argmax(1)  # what it hears is right for this purpose
    spent = []
    for name, options in (("pgd", {"steps": STEPS, "full": True}), ("square", {"queries": QUERIES})):
        attack = create("attack", name, **options)
        before = time.process_time()
        result = attack(model, clips, Misclassify(heard), parse_budget(budget), generators=clip_generators(0, "cost", [str(i) for i in range(CLIPS)]))
        spent.append((time.process_time() - before) / max(1, int((result.passes if name == "pgd" else result.queries).sum())))
    return spent[0], spent[1]


def clips_a_second(model, calls: int = 5) -> float:
    """How many clips a defended network hears in a second of one processor: the median of calls with BATCH clips each."""
    import torch

    threads, clips, spent = torch.get_num_threads(), clips_to_time(BATCH), []
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            for _ in range(calls + 1):  # the first one warms up
                spent.append(timed(lambda: model(clips)))
    finally:
        torch.set_num_threads(threads)
    return BATCH / median(spent[1:])


def timed(call: Callable[[], Any]) -> float:
    """Processor seconds: other work on the machine counts less than with a clock."""
    before = time.process_time()
    call()
    return time.process_time() - before


def clips_to_time(number: int):
    """(number, 16000) bundled clips."""
    import torch

    from speechadv.data.samples import load_bundled

    return torch.from_numpy(load_bundled()[0][:number].copy())


def told(costs: Sequence[tuple[str, str, Cost]]) -> str:
    """A table of (entry, run, cost), and the sum."""
    from speechadv.report.tables import markdown_table

    lines = [[entry, run, str(c.cells), str(c.clips), f"{c.passes:,}", f"{c.queries:,}", f"{c.seconds / 60:,.1f}"] for entry, run, c in costs]
    total = sum(c.seconds for *_, c in costs) / 60
    lines.append(["all", "", "", "", f"{sum(c.passes for *_, c in costs):,}", f"{sum(c.queries for *_, c in costs):,}", f"{total:,.1f}"])
    return markdown_table(["entry", "run", "cells", "clips to do", "passes at most", "queries at most", "minutes at most"], lines)
