"""Questions to the models that rows cannot answer, asked on a few clips at the end of a run and kept in probes.json."""
import contextlib
from typing import Any, Callable, ContextManager, Iterator, Sequence

import torch
from torch import Tensor

from ..attacks.base import Attack, Problem, frozen, padded_call
from ..attacks.pgd import PGD
from ..budgets import parse_budget
from ..defenses import Defended
from ..goals import LOSSES, Goal, Misclassify
from ..models.access import enough
from ..randomness import clip_generators
from .cells import Cell
from .clips import ClipSet
from .sounds import waveforms
from .work import Worker

CLIPS = 16  # of a probe
UNBOUNDED = "linf:0.5"
STEPS = 40  # of the attack without a budget worth the name, at most


def probe_all(worker: Worker, grid: Sequence[Cell], clips: ClipSet, bar: Callable[[int, str], ContextManager]) -> list[dict[str, Any]]:
    """One entry a model and defense of the grid: what `sanity` judges.

    Returns:
        Dictionaries of `model, defense, clips`, then `largest_difference` (of the logits of two passes over the same clips), `zero_gradients`
        (clips of which a loss has no gradient, or the same one in all samples), `sums` (lowest and highest sum of what should be logits), `lowest_output`, and
        `unbounded_tried, unbounded_reached`: clips heard right, and how many of them PGD changes with half of full scale allowed.
    """
    pairs = list(dict.fromkeys((cell.model, cell.defense) for cell in grid))
    rows = list(range(0, len(clips), max(1, len(clips) // CLIPS)))[:CLIPS]
    heard, words = waveforms(clips.pcm[rows]), [clips.labels[row] for row in rows]
    names, entries = [clips.names[row] for row in rows], []
    with bar(len(pairs), "checking") as advance, one_thread():
        for model, defense in pairs:
            defended = worker.defended(model, defense)
            labels = torch.tensor([list(defended.labels).index(word) for word in words], device=worker.device)
            entries.append({"model": model, "defense": defense, "clips": len(rows), **probe(defended, heard.to(worker.device), Misclassify(labels), names)})
            advance(1)
    return entries


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Sums are added in one order, whatever the number of threads of the run: what they come to is written with all digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def probe(defended: Defended, heard: Tensor, goal: Goal, names: Sequence[str]) -> dict[str, Any]:
    """The answers of one classifier; heard (batch, time)."""
    with frozen(defended), torch.no_grad():
        first, second = padded_call(defended, heard).double(), padded_call(defended, heard).double()
    sums = first.sum(1)
    answers = {"largest_difference": float((first - second).abs().max()), "sums": [float(sums.min()), float(sums.max())], "lowest_output": float(first.min())}
    if not enough("gradient", defended):  # a black box cannot be asked the rest
        return answers | {"zero_gradients": 0, "unbounded_tried": 0, "unbounded_reached": 0}
    return answers | {"zero_gradients": zero_gradients(defended, heard, goal),
                      **unbounded(PGD(steps=STEPS, loss="margin"), defended, heard, goal, names)}


def zero_gradients(defended: Defended, heard: Tensor, goal: Goal) -> int:
    """How many clips have a gradient, of the margin or of cross-entropy, that is zero or otherwise the same in all samples; digital silence is left out."""
    with frozen(defended):
        problem = Problem(defended, heard, goal, parse_budget("linf:0.002").bind(heard), [torch.Generator()] * len(heard))
        slopes = [problem.gradient(torch.zeros_like(heard), loss)[2] for loss in LOSSES]
    flat = torch.stack([slope.amax(1) == slope.amin(1) for slope in slopes]).any(0)
    return int((flat & heard.any(1)).sum())


def unbounded(attack: Attack, defended: Defended, heard: Tensor, goal: Goal, names: Sequence[str]) -> dict[str, int]:
    """How often a strong attack succeeds when nearly everything is allowed: it should always, whatever the defense."""
    generators = clip_generators(0, "unbounded", names)
    result = attack(defended, heard, goal, parse_budget(UNBOUNDED), generators=generators)
    tried = ~result.already
    return {"unbounded_tried": int(tried.sum()), "unbounded_reached": int((result.reached & tried).sum())}
