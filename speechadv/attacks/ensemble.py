"""The audio AutoAttack: four attacks of different kinds in sequence, each on the clips that survived so far (after Croce & Hein 2020)."""
import torch
from torch import Tensor

from ..registry import register
from .apgd import APGD
from .base import Attack, Problem
from .fmn import FMN
from .gradient import Best
from .square import Square


@register("attack", "ensemble")
class Ensemble(Attack):
    """The worst case over APGD with cross-entropy, APGD towards the likeliest labels, a minimum-norm attack and Square (Croce & Hein 2020, arXiv:2003.01690).

    Args:
        steps: of APGD with cross-entropy and of FMN; APGD towards each of the likeliest labels takes half as many.
        targets: how many of the likeliest wrong labels.
        queries: of Square.
        restarts: of APGD with cross-entropy and of FMN.
        full_recipe: the standard recipe, whatever the numbers above: 100 steps everywhere, 9 targets, 5,000 queries, 5 restarts.
        full: every gradient attack spends all its steps on every clip, and the highest margin is kept; for examples that are sent through something else.
            FMN and Square still see only the clips that survived.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(self, steps: int = 100, targets: int = 3, queries: int = 1000, restarts: int = 1, full_recipe: bool = False, full: bool = False):
        halved = (steps + 1) // 2
        if full_recipe:
            steps, halved, targets, queries, restarts = 100, 100, 9, 5000, 5
        self.full = full
        self.stages: list[Attack] = [
            APGD(steps=steps, loss="cross_entropy", restarts=restarts, full=full),
            APGD(steps=halved, loss="targeted", targets=targets, full=full),
            FMN(steps=steps, restarts=restarts, quietest=False),
            Square(queries=queries),
        ]

    def run(self, problem: Problem) -> Tensor:
        best = Best(problem)
        for stage in self.stages:
            everyone = getattr(stage, "full", False)
            rows = (torch.ones_like(best.reached) if everyone else ~best.reached).nonzero().squeeze(1)
            if not len(rows):
                continue
            part = problem.select(rows)
            found = part.bound.quantise(stage.run(part))
            logits = part.expected(found)
            best.offer(rows, found, part.goal.loss(logits, "margin"), part.goal.reached(logits))
        return best.perturbation
