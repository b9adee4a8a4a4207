"""Decoupled direction and norm: the quietest perturbation by energy (Rony et al. 2019)."""
import math

import torch
from torch import Tensor

from ..budgets.base import Bound
from ..errors import ConfigError
from ..goals import check_loss
from ..registry import register
from .base import Problem
from .gradient import Best, unit
from .minimum import TINY, MinimumNorm, Shrinking, cross, shrink, whole_step


@register("attack", "ddn")
class DDN(MinimumNorm):
    """The perturbation of the highest SNR that works (Rony et al. 2019, arXiv:1811.09600, algorithm 1), inside whatever budget is given.

    The gradient says where to go, and the norm is a number of its own: 5 % less after each success, 5 % more after each failure.

    Args:
        steps: gradient steps.
        rate: by which the norm shrinks or grows.
        loss: "margin", or "cross_entropy" as in the paper: it pulls towards all wrong labels at once, which is a longer way where there are several.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(self, steps: int = 100, rate: float = 0.05, loss: str = "margin"):
        if steps < 1:
            raise ConfigError(f"attack 'ddn': steps: expected 1 or more, got {steps}")
        if not 0 < rate < 1:
            raise ConfigError(f"attack 'ddn': rate: expected between 0 and 1, got {rate}")
        self.steps, self.rate, self.loss = steps, rate, check_loss(loss)

    def once(self, problem: Problem, restart: int, best: Best) -> None:
        start = cross(problem)
        rule = Sphere(self.steps, self.rate, start.radius)
        shrink(problem, start.perturbation, steps=self.steps, rule=rule, loss=self.loss, quietest=True, best=best)


class Sphere(Shrinking):
    """Keeps each iterate at the L2 norm `radius` (batch, 1)."""

    state = ("radius",)

    def __init__(self, steps: int, rate: float, radius: Tensor):
        self.steps, self.rate, self.count, self.radius = steps, rate, 0, radius

    def cost(self, candidate: Tensor) -> Tensor:
        return candidate.norm(dim=1)

    def advance(self, bound: Bound, iterate: Tensor, gradient: Tensor, margin: Tensor, reached: Tensor) -> Tensor:
        widest = whole_step(bound, gradient).norm(dim=1, keepdim=True).clamp(min=TINY)
        self.radius = torch.minimum(self.radius * torch.where(reached[:, None], 1 - self.rate, 1 + self.rate), widest)
        step_size = 0.01 + 0.99 * (1 + math.cos(math.pi * self.count / self.steps)) / 2  # the paper's, of the norm
        self.count += 1
        moved = iterate + step_size * self.radius * unit(gradient)
        return bound.project(self.radius * unit(moved))
