"""The one gradient loop. Step rules, losses, budgets and the way it ends are parts of it."""
from typing import Callable, Sequence

import torch
from torch import Tensor

from .base import Problem


class Plain:
    """A step along the steepest direction."""

    def direction(self, bound, gradient: Tensor) -> Tensor:
        return bound.steepest(gradient)

    def select(self, index: Tensor) -> None:
        """Forget the clips that left."""


class Momentum(Plain):
    """The steepest direction of a running sum of gradients, each normalised by its mean size (Dong et al. 2018, eq. 6).

    Args:
        decay: of the sum, a step.
    """

    def __init__(self, decay: float = 0.75):
        self.decay, self.sum = decay, None

    def direction(self, bound, gradient: Tensor) -> Tensor:
        scaled = gradient / gradient.abs().mean(1, keepdim=True).clamp(min=1e-30)
        self.sum = scaled if self.sum is None else self.decay * self.sum + scaled
        return bound.steepest(self.sum)

    def select(self, index: Tensor) -> None:
        self.sum = None if self.sum is None else self.sum[index]


STEP_RULES: dict[str, Callable[[], Plain]] = {"plain": Plain, "momentum": Momentum}


class Best:
    """The best perturbation of each clip so far: one that reaches the goal before one that does not, then the higher loss."""

    def __init__(self, problem: Problem):
        self.perturbation = torch.zeros_like(problem.clean)
        self.loss = torch.full((len(problem),), -torch.inf, device=problem.clean.device)
        self.reached = torch.zeros(len(problem), dtype=torch.bool, device=problem.clean.device)

    def offer(self, rows: Tensor, perturbation: Tensor, loss: Tensor, reached: Tensor) -> None:
        """Take what is better; `rows` (n,) int64 says which clips these are."""
        better = (reached & ~self.reached[rows]) | ((reached == self.reached[rows]) & (loss > self.loss[rows]))
        taken = rows[better]
        self.perturbation[taken], self.loss[taken], self.reached[taken] = perturbation[better], loss[better], reached[better]


def confirmed(problem: Problem, candidate: Tensor, reached: Tensor) -> tuple[Tensor, Tensor]:
    """(candidate, reached) with each success rounded inside its budget and heard again, where the loop looked at a rough rounding only."""
    if problem.bound.rough_is_exact or not reached.any():
        return candidate, reached
    part = problem.select(reached)
    exact = part.bound.quantise(candidate[reached])
    candidate, still = candidate.clone(), reached.clone()
    candidate[reached] = exact
    still[reached] = part.goal.reached(part.logits(exact))
    return candidate, still


def ascend(problem: Problem, start: Tensor, *, steps: int, step_size: float | Sequence[float], rule: Plain, loss: str, full: bool, best: Best) -> None:
    """Follow the gradient from `start` and put what is found into `best`.

    The iterate is a float; what the network hears at each step is that iterate on the 16-bit grid, inside the budget, so a success that is seen here
    is a success of the saved file. Clips that reach the goal leave the batch at once unless `full`.

    Args:
        problem: clips, goal and budget.
        start: (batch, time) allowed perturbation.
        steps: gradient steps; the last iterate is looked at as well.
        step_size: as a fraction of the budget, one for all steps or one a step.
        rule: direction of a step.
        loss: the goal's loss.
        full: spend all steps on every clip and keep the iterate with the highest loss.
        best: updated in place; its rows are the problem's clips.
    """
    rows, iterate = torch.arange(len(problem), device=start.device), start
    sizes = [step_size] * steps if isinstance(step_size, (int, float)) else list(step_size)
    for size in sizes:
        candidate = problem.bound.rough(iterate)
        logits, value, gradient = problem.gradient(candidate, loss)
        candidate, reached = confirmed(problem, candidate, problem.goal.reached(logits))
        best.offer(rows, candidate, value, reached)
        if not full and reached.any():
            stay = ~reached
            problem.report(int(reached.sum()))
            rows, iterate, gradient, problem = rows[stay], iterate[stay], gradient[stay], problem.select(stay)
            rule.select(stay)
            if not len(problem):
                return
        iterate = stepped(problem, iterate, gradient, size, rule)
    candidate = problem.bound.rough(iterate)
    logits = problem.logits(candidate)
    candidate, reached = confirmed(problem, candidate, problem.goal.reached(logits))
    best.offer(rows, candidate, problem.goal.loss(logits, loss), reached)


def stepped(problem: Problem, iterate: Tensor, gradient: Tensor, size: float, rule: Plain) -> Tensor:
    """The next iterate: `size` budgets along the rule's direction, projected."""
    return problem.bound.project(iterate + size * problem.bound.size() * rule.direction(problem.bound, gradient))


def last_iterate(problem: Problem, start: Tensor, *, steps: int, step_size: float, loss) -> Tensor:
    """Plain steps for every clip and nothing looked at on the way: the inner loop of adversarial training. Returns a perturbation."""
    iterate, rule = start, Plain()
    for _ in range(steps):
        _, _, gradient = problem.gradient(problem.bound.rough(iterate), loss)
        iterate = stepped(problem, iterate, gradient, step_size, rule)
    return problem.bound.rough(iterate)
