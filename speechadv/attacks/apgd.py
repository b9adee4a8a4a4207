"""Auto-PGD: gradient ascent that finds its own step size (Croce & Hein 2020)."""
import torch
from torch import Tensor

from ..errors import ConfigError
from ..goals import LOSSES, Misclassify, Towards
from ..registry import register
from .base import Attack, Problem
from .gradient import Best, ascend
from .steps import Adaptive


@register("attack", "apgd")
class APGD(Attack):
    """APGD (Croce & Hein 2020, arXiv:2003.01690): the step size is halved where the loss stops rising, and the search goes on from its best point.

    Args:
        steps: gradient steps a start.
        loss: "cross_entropy", "margin", or "targeted": for an untargeted goal, the margin towards each of the likeliest wrong labels in turn
            (for a targeted goal it is the margin towards the target).
        targets: how many wrong labels "targeted" tries.
        restarts: independent starts; the later ones only for clips that are not there yet, unless `full`.
        full: every step for every clip; the highest loss is kept.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(self, steps: int = 100, loss: str = "cross_entropy", targets: int = 3, restarts: int = 1, full: bool = False):
        for name, value in (("steps", steps), ("targets", targets), ("restarts", restarts)):
            if value < 1:
                raise ConfigError(f"attack 'apgd': {name}: expected 1 or more, got {value}")
        if loss not in (*LOSSES, "targeted"):
            raise ConfigError(f"attack 'apgd': loss: expected {', '.join(LOSSES)} or targeted, got '{loss}'")
        self.steps, self.loss, self.targets, self.restarts, self.full = steps, loss, targets, restarts, full

    def run(self, problem: Problem) -> Tensor:
        best = Best(problem)
        ways = self._ways(problem)
        for _ in range(self.restarts):
            for goal in ways:
                rows = (torch.ones_like(best.reached) if self.full else ~best.reached).nonzero().squeeze(1)
                if not len(rows):
                    return best.perturbation
                self._once(problem.select(rows), goal.select(rows) if goal else None, best, rows)
        return best.perturbation

    def _ways(self, problem: Problem) -> list:
        """The goals to follow, None for the problem's own."""
        if self.loss != "targeted" or not isinstance(problem.goal, Misclassify):
            return [None]
        others = problem.expected(torch.zeros_like(problem.clean)).scatter(1, problem.goal.labels[:, None], -torch.inf)
        likeliest = others.topk(min(self.targets, others.shape[1] - 1), dim=1).indices
        return [Towards(problem.goal.labels, towards) for towards in likeliest.unbind(1)]

    def _once(self, problem: Problem, goal, best: Best, rows: Tensor) -> None:
        problem.goal = goal or problem.goal
        mine = Best(problem)
        loss = "cross_entropy" if self.loss == "cross_entropy" else "margin"
        start = problem.bound.random_start(problem.generators)
        ascend(problem, start, steps=self.steps, rule=Adaptive(self.steps), loss=loss, full=self.full, best=mine)
        best.offer(rows, mine.perturbation, mine.loss, mine.reached)
