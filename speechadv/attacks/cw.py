"""Carlini & Wagner's attack: energy and margin in one objective, the weight between them found by bisection (2017)."""
import math

import torch
from torch import Tensor

from ..budgets.base import Bound
from ..errors import ConfigError
from ..registry import register
from .base import Problem
from .gradient import Best
from .minimum import Crossing, MinimumNorm, Shrinking, cross, shrink

FIRST_WEIGHT, FASTER = 4.0, 4.0  # the weight that is tried first; by how much it grows until it succeeds


@register("attack", "cw")
class CW(MinimumNorm):
    """The perturbation of the highest SNR that works (Carlini & Wagner 2017, arXiv:1608.04644, section V and VI), inside whatever budget is given.

    Minimises ||perturbation||^2 + weight * max(-margin, -confidence) with Adam. Both terms are in units of a first walk over
    the boundary, so that the weight and the step size mean the same for every clip and network.

    Args:
        steps: Adam's steps for each weight.
        searches: weights that are tried, each clip by bisection.
        step_size: of Adam, relative to the first crossing spread evenly over the clip; falls to a hundredth along a cosine.
        confidence: margin to reach, as a share of the margin by which the clean clip misses the goal.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(self, steps: int = 60, searches: int = 5, step_size: float = 0.1, confidence: float = 0.0):
        for name, value, least in (("steps", steps, 1), ("searches", searches, 1), ("step_size", step_size, 1e-6), ("confidence", confidence, 0)):
            if not value >= least:
                raise ConfigError(f"attack 'cw': {name}: expected {least:g} or more, got {value}")
        self.steps, self.searches, self.step_size, self.confidence = steps, searches, step_size, confidence

    def once(self, problem: Problem, restart: int, best: Best) -> None:
        start = cross(problem)
        scale = start.radius
        low, weight = torch.zeros_like(scale), torch.full_like(scale, FIRST_WEIGHT)
        high = torch.full_like(scale, torch.inf)
        rows = torch.arange(len(problem), device=scale.device)
        for _ in range(self.searches):
            mine = Best(problem)
            rule = Objective(self.steps, self.step_size, self.confidence, start, weight)
            shrink(problem, torch.zeros_like(problem.clean), steps=self.steps, rule=rule, loss="margin", quietest=True, best=mine)
            best.offer(rows, mine.perturbation, mine.loss, mine.reached)
            found = mine.reached[:, None]
            low, high = torch.where(found, low, weight), torch.where(found, weight, high)
            weight = torch.where(high.isinf(), FASTER * weight, (low + high.nan_to_num(posinf=0.0)) / 2)


class Objective(Shrinking):
    """Adam on ||u||^2 + weight * max(-margin / missing, -confidence): u is the perturbation in units of the length of the first crossing, and `missing`
    the margin that the clean clip lacks."""

    state = ("scale", "weight", "mean", "square", "missing")

    def __init__(self, steps: int, step_size: float, confidence: float, start: Crossing, weight: Tensor):
        self.steps, self.step_size, self.confidence, self.count = steps, step_size, confidence, 0
        self.scale, self.missing, self.weight = start.radius, start.missing, weight
        self.mean, self.square = torch.zeros_like(start.radius), torch.zeros_like(start.radius)

    def cost(self, candidate: Tensor) -> Tensor:
        return candidate.norm(dim=1)

    def advance(self, bound: Bound, iterate: Tensor, gradient: Tensor, margin: Tensor, reached: Tensor) -> Tensor:
        pulls = margin[:, None] < self.confidence * self.missing
        slope = 2 * iterate / self.scale - self.weight * pulls * gradient * self.scale / self.missing
        decay = 0.01 + 0.99 * (1 + math.cos(math.pi * self.count / self.steps)) / 2
        self.count += 1
        self.mean, self.square = 0.9 * self.mean + 0.1 * slope, 0.999 * self.square + 0.001 * slope.square()
        direction = (self.mean / (1 - 0.9**self.count)) / ((self.square / (1 - 0.999**self.count)).sqrt() + 1e-8)
        each = self.step_size * decay * self.scale / math.sqrt(iterate.shape[1])
        return bound.project(iterate - each * direction)
