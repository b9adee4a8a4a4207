"""Fast minimum-norm attack: ascent inside a ball that shrinks where it succeeds and grows where it does not (Pintor et al. 2021)."""
import math

import torch
from torch import Tensor

from ..budgets.base import Bound
from ..errors import ConfigError
from ..registry import register
from .base import Problem
from .gradient import Best
from .minimum import TINY, MinimumNorm, Shrinking, ball, shrink, whole_step

LEAST = 1e-4  # of the budget: the smallest ball that is tried


@register("attack", "fmn")
class FMN(MinimumNorm):
    """The smallest perturbation in the budget's own measure: peak for linf, energy for snr, excess over the threshold for masking.

    Pintor et al. 2021 (arXiv:2102.12827, algorithm 1). The ball is the budget scaled down; it never grows beyond the budget itself, so that where nothing
    smaller works this is gradient ascent on the margin with shrinking steps.

    Args:
        steps: gradient steps a start.
        rate: by which the ball shrinks or grows at first; falls to zero along a cosine.
        restarts: the first begins at the clean clip, the others at random points of the budget.
        quietest: search to the end; False ends a clip's search once any allowed perturbation works.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(self, steps: int = 100, rate: float = 0.05, restarts: int = 1, quietest: bool = True):
        for name, value in (("steps", steps), ("restarts", restarts)):
            if value < 1:
                raise ConfigError(f"attack 'fmn': {name}: expected 1 or more, got {value}")
        if not 0 < rate < 1:
            raise ConfigError(f"attack 'fmn': rate: expected between 0 and 1, got {rate}")
        self.steps, self.rate, self.restarts, self.quietest = steps, rate, restarts, quietest

    def once(self, problem: Problem, restart: int, best: Best) -> None:
        start = problem.bound.random_start(problem.generators) if restart else torch.zeros_like(problem.clean)
        share = torch.full_like(problem.clean[:, :1], 1.0 if restart else 0.0)
        shrink(problem, start, steps=self.steps, rule=Ball(self.steps, self.rate, share), loss="margin", quietest=self.quietest, best=best)


class Ball(Shrinking):
    """The budget scaled by `share` (batch, 1), one share a clip."""

    state = ("share", "smallest")

    def __init__(self, steps: int, rate: float, share: Tensor):
        self.steps, self.rate, self.count, self.share = steps, rate, 0, share
        self.smallest = torch.full_like(share, torch.inf)  # at which the goal was reached

    def cost(self, candidate: Tensor) -> Tensor:
        return self.share.squeeze(1)  # of the ball that the candidate lies in

    def advance(self, bound: Bound, iterate: Tensor, gradient: Tensor, margin: Tensor, reached: Tensor) -> Tensor:
        whole = whole_step(bound, gradient)
        decay = (1 + math.cos(math.pi * self.count / self.steps)) / 2
        self.count += 1
        self._resize(margin[:, None], (gradient * whole).sum(1, keepdim=True), reached[:, None], self.rate * decay)
        return ball(bound, iterate + max(decay, 0.01) * self.share * whole, self.share)

    def _resize(self, margin: Tensor, rise: Tensor, reached: Tensor, rate: float) -> None:
        """New shares; `rise` is by how much the margin would rise across the whole budget if it were linear."""
        self.smallest = torch.where(reached, torch.minimum(self.share, self.smallest), self.smallest)
        towards = 1.01 * (self.share - margin / rise.clamp(min=TINY))  # a little beyond where the boundary is expected
        grown = torch.where(self.smallest.isinf(), torch.maximum(towards, self.share), self.share * (1 + rate))
        shrunk = torch.minimum(self.share * (1 - rate), self.smallest)
        self.share = torch.where(reached, shrunk, grown).clamp(LEAST, 1.0)
