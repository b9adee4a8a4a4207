"""The one gradient loop. Step rules, losses, budgets and the way it ends are parts of it."""
import torch
from torch import Tensor

from .base import Problem
from .steps import Plain


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
    still[reached] = part.goal.reached(part.expected(exact))
    return candidate, still


def ascend(problem: Problem, start: Tensor, *, steps: int, rule: Plain, loss: str, full: bool, best: Best) -> None:
    """Follow the gradient from `start` and put what is found into `best`.

    The iterate is a float; what the network hears at each step is that iterate on the 16-bit grid, inside the budget, so a success that is seen here
    is a success of the saved file. Clips that reach the goal leave the batch at once unless `full`.

    Args:
        problem: clips, goal and budget.
        start: (batch, time) allowed perturbation.
        steps: gradient steps; the last iterate is looked at as well.
        rule: how to get from one iterate to the next.
        loss: the goal's loss.
        full: spend all steps on every clip and keep the iterate with the highest loss.
        best: updated in place; its rows are the problem's clips.
    """
    rows, iterate = torch.arange(len(problem), device=start.device), start
    for _ in range(steps):
        candidate = problem.bound.rough(iterate)
        logits, value, gradient = problem.gradient(candidate, loss)
        candidate, reached = confirmed(problem, candidate, problem.goal.reached(logits))
        best.offer(rows, candidate, value, reached)
        if not full and reached.any():
            stay = ~reached
            problem.report(int(reached.sum()))
            rows, iterate, gradient, value, problem = rows[stay], iterate[stay], gradient[stay], value[stay], problem.select(stay)
            rule.select(stay)
            if not len(problem):
                return
        iterate = rule.advance(problem.bound, iterate, gradient, value)
    candidate = problem.bound.rough(iterate)
    logits = problem.expected(candidate)
    candidate, reached = confirmed(problem, candidate, problem.goal.reached(logits))
    best.offer(rows, candidate, problem.goal.loss(logits, loss), reached)


def last_iterate(problem: Problem, start: Tensor, *, steps: int, rule: Plain, loss) -> Tensor:
    """All steps for every clip and nothing looked at on the way. Returns a perturbation.

    The inner loop of adversarial training, and of attacks through random changes, where the best iterate would be the luckiest one.
    """
    iterate = start
    for _ in range(steps):
        _, value, gradient = problem.gradient(problem.bound.rough(iterate), loss)
        iterate = rule.advance(problem.bound, iterate, gradient, value)
    return problem.bound.rough(iterate)


def unit(waveforms: Tensor) -> Tensor:
    """Each of (batch, time) scaled to the L2 norm 1; silence stays silent."""
    return waveforms / waveforms.norm(dim=1, keepdim=True).clamp(min=1e-30)
