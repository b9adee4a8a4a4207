"""The one loop of the minimum-norm attacks: not the strongest perturbation that is allowed but the smallest that works. Rules are parts of it."""
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from ..budgets.base import Bound
from .base import Attack, Problem
from .gradient import Best, confirmed, unit

TINY = 1e-30
CROSSING, OVERSHOOT = 6, 1.1  # passes of the first walk; how far beyond the boundary each step aims


class Shrinking(ABC):
    """How a search for the smallest perturbation moves. Holds the state of its clips and forgets those that leave."""

    state: tuple[str, ...] = ()  # names of the tensors that hold a row a clip

    @abstractmethod
    def cost(self, candidate: Tensor) -> Tensor:
        """(batch,): what is to be small."""

    @abstractmethod
    def advance(self, bound: Bound, iterate: Tensor, gradient: Tensor, margin: Tensor, reached: Tensor) -> Tensor:
        """The next iterate (batch, time), from the gradient of the loss, the goal's margin (batch,) and whether the goal is reached here."""

    def select(self, index: Tensor) -> None:
        """Keep the state of these clips."""
        for name in self.state:
            setattr(self, name, getattr(self, name)[index])


def shrink(problem: Problem, start: Tensor, *, steps: int, rule: Shrinking, loss: str, quietest: bool, best: Best) -> None:
    """Search from `start` and put the cheapest success into `best`, or the highest margin where there is none.

    As in `ascend`, the network hears each iterate on the 16-bit grid inside the budget, and only what succeeds there counts.

    Args:
        problem: clips, goal and budget.
        start: (batch, time) perturbation.
        steps: gradient steps; the last iterate is looked at as well.
        rule: how to get from one iterate to the next, and what is to be small.
        loss: whose gradient the rule follows.
        quietest: search to the end; False lets a clip leave once any allowed perturbation works.
        best: updated in place; its rows are the problem's clips.
    """
    rows, iterate = torch.arange(len(problem), device=start.device), start
    for step in range(steps + 1):
        candidate = problem.bound.rough(iterate)
        logits, _, gradient = problem.gradient(candidate, loss) if step < steps else (problem.expected(candidate), None, None)
        margin = problem.goal.loss(logits, "margin")
        candidate, reached = confirmed(problem, candidate, problem.goal.reached(logits))
        best.offer(rows, candidate, torch.where(reached, -rule.cost(candidate), margin), reached)
        if not quietest and reached.any():
            stay = ~reached
            problem.report(int(reached.sum()))
            rows, iterate, margin, problem = rows[stay], iterate[stay], margin[stay], problem.select(stay)
            gradient, reached = None if gradient is None else gradient[stay], reached[stay]
            rule.select(stay)
            if not len(problem):
                return
        if gradient is not None:
            iterate = rule.advance(problem.bound, iterate, gradient, margin, reached)


class MinimumNorm(Attack):
    """An attack that looks for the smallest perturbation that works. What it returns lies inside the budget, as far inside as it could find."""

    at_edge = True
    steps: int
    restarts = 1
    quietest = True

    @abstractmethod
    def once(self, problem: Problem, restart: int, best: Best) -> None:
        """One search, into `best`, whose rows are the problem's clips."""

    def run(self, problem: Problem) -> Tensor:
        best = Best(problem)
        for restart in range(self.restarts):
            rows = (torch.ones_like(best.reached) if self.quietest else ~best.reached).nonzero().squeeze(1)
            if not len(rows):
                break
            part = problem.select(rows)
            mine = Best(part)
            self.once(part, restart, mine)
            best.offer(rows, mine.perturbation, mine.loss, mine.reached)
        return best.perturbation


def whole_step(bound: Bound, gradient: Tensor) -> Tensor:
    """(batch, time): the step across the whole budget along the gradient."""
    return bound.size() * bound.steepest(gradient)


def ball(bound: Bound, perturbation: Tensor, share: Tensor) -> Tensor:
    """The nearest perturbation (batch, time) in the budget scaled by `share` (batch, 1), which may be above 1."""
    return bound.inside(share * bound.project(perturbation / share))


class Crossing(NamedTuple):
    """Where a first walk over the boundary ended, with what gives the search its units."""

    perturbation: Tensor  # (batch, time)
    radius: Tensor  # (batch, 1), its L2 norm, at least a thousandth of the budget's
    missing: Tensor  # (batch, 1), the margin by which the clean clip misses the goal


def cross(problem: Problem) -> Crossing:
    """To the boundary as if the margin were linear, a little beyond, and again until it is crossed (Moosavi-Dezfooli et al. 2016, arXiv:1511.04599,
    algorithm 1, for the margin). Costs CROSSING passes."""
    iterate, missing = torch.zeros_like(problem.clean), None
    for _ in range(CROSSING):
        _, margin, gradient = problem.gradient(problem.bound.rough(iterate), "margin")
        missing = -margin if missing is None else missing
        widest = whole_step(problem.bound, gradient).norm(dim=1)
        way = torch.minimum(OVERSHOOT * (-margin).clamp(min=0) / gradient.norm(dim=1).clamp(min=TINY), widest)
        iterate = problem.bound.project(iterate + way[:, None] * unit(gradient))
    radius = torch.maximum(iterate.norm(dim=1), 1e-3 * widest).clamp(min=TINY)
    return Crossing(iterate, radius[:, None], missing[:, None].clamp(min=TINY))
