"""The one gradient loop. Step rules, losses, budgets and the way it ends are parts of it."""
import copy

import torch
from torch import Tensor

from .base import Problem
from .steps import Plain

LANE = 64  # clips that a processor hears in one call: more of them do not stay in its caches


class Best:
    """The best perturbation of each clip so far: one that reaches the goal before one that does not, then the higher loss."""

    def __init__(self, problem: Problem):
        self.perturbation = torch.zeros_like(problem.clean)
        self.loss = torch.full((len(problem),), -torch.inf, device=problem.clean.device)
        self.reached = torch.zeros(len(problem), dtype=torch.bool, device=problem.clean.device)
        self.borrowed = False  # whether the perturbation is a tensor that somebody else may be looking at

    def offer(self, rows: Tensor, perturbation: Tensor, loss: Tensor, reached: Tensor, fresh: bool = False) -> None:
        """Take what is better; `rows` (n,) int64 says which clips these are. `fresh`: nobody will write to `perturbation`, so that one of all clips need not be copied."""
        better = (reached & ~self.reached[rows]) | ((reached == self.reached[rows]) & (loss > self.loss[rows]))
        every = bool(better.all())
        if not every:
            rows, perturbation, loss, reached = rows[better], perturbation[better], loss[better], reached[better]
        self.loss[rows], self.reached[rows] = loss, reached
        if every and fresh and torch.equal(rows, torch.arange(len(self.perturbation), device=rows.device)):
            self.perturbation, self.borrowed = perturbation, True
            return
        if self.borrowed:
            self.perturbation, self.borrowed = self.perturbation.clone(), False
        self.perturbation[rows] = perturbation


def confirmed(problem: Problem, candidate: Tensor, reached: Tensor, heard_once: bool = False) -> tuple[Tensor, Tensor]:
    """(candidate, reached) with each success rounded inside its budget and heard again, where the search looked at a rough rounding only or, `heard_once`, at a
    single draw of a random network."""
    if problem.bound.rough_is_exact and not (heard_once and problem.draws > 1) or not reached.any():
        return candidate, reached
    part = problem.select(reached)
    exact = part.bound.quantise(candidate[reached])
    candidate, still = candidate.clone(), reached.clone()
    candidate[reached] = exact
    still[reached] = part.goal.reached(part.expected(exact))
    return candidate, still


class Lane:
    """Clips that the network hears in one call at each step.

    Args:
        whole: the problem that they are a part of.
        rows: (n,) int64, which of its clips.
        iterate: (n, time), where they stand.
        rule: theirs alone.
    """

    def __init__(self, whole: Problem, rows: Tensor, iterate: Tensor, rule: Plain):
        self.whole, self.rows, self.iterate, self.rule = whole, rows, iterate, rule
        self.problem = whole if len(rows) == len(whole) else whole.select(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def advance(self, loss: str, full: bool, best: Best) -> None:
        """One step, and what was heard before it into `best`; clips that have reached the goal leave, unless `full`."""
        problem, iterate = self.problem, self.iterate
        candidate = problem.bound.rough_of_allowed(iterate)
        logits, value, gradient = problem.gradient(candidate, loss)
        candidate, reached = confirmed(problem, candidate, problem.goal.reached(logits))
        best.offer(self.rows, candidate, value, reached, fresh=True)
        if not full and reached.any():
            stay = ~reached
            problem.report(int(reached.sum()))
            self.problem = problem = problem.select(stay)
            self.rows, iterate, gradient, value = self.rows[stay], iterate[stay], gradient[stay], value[stay]
            self.rule.select(stay)
        if len(self):
            self.iterate = self.rule.advance(problem.bound, iterate, gradient, value)

    def look(self, loss: str, best: Best) -> None:
        """What is heard at the end, into `best`."""
        candidate = self.problem.bound.rough_of_allowed(self.iterate)
        logits = self.problem.expected(candidate)
        candidate, reached = confirmed(self.problem, candidate, self.problem.goal.reached(logits))
        best.offer(self.rows, candidate, self.problem.goal.loss(logits, loss), reached)

    def joined(self, other: "Lane") -> "Lane":
        """Both as one."""
        self.rule.join(other.rule)
        return Lane(self.whole, torch.cat([self.rows, other.rows]), torch.cat([self.iterate, other.iterate]), self.rule)


def together(lanes: list[Lane], width: int) -> list[Lane]:
    """The lanes that have clips left, the shortest of them joined as long as two have room in one: calls of a few clips cost almost as much as full ones."""
    lanes = sorted(filter(len, lanes), key=len)
    while len(lanes) > 1 and len(lanes[0]) + len(lanes[1]) <= width:
        lanes = sorted([lanes[0].joined(lanes[1]), *lanes[2:]], key=len)
    return lanes


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
    width = LANE if start.device.type == "cpu" else max(1, len(problem))
    lanes = [Lane(problem, rows, start[rows], copy.copy(rule)) for rows in torch.arange(len(problem), device=start.device).split(width)]
    for _ in range(steps):
        for lane in lanes:
            lane.advance(loss, full, best)
        lanes = together(lanes, width)
    for lane in lanes:
        lane.look(loss, best)


def last_iterate(problem: Problem, start: Tensor, *, steps: int, rule: Plain, loss) -> Tensor:
    """All steps for every clip and nothing looked at on the way. Returns a perturbation.

    The inner loop of adversarial training, and of attacks through random changes, where the best iterate would be the luckiest one.
    """
    iterate = start
    for _ in range(steps):
        _, value, gradient = problem.gradient(problem.bound.rough_of_allowed(iterate), loss)
        iterate = rule.advance(problem.bound, iterate, gradient, value)
    return problem.bound.rough_of_allowed(iterate)


def unit(waveforms: Tensor) -> Tensor:
    """Each of (batch, time) scaled to the L2 norm 1; silence stays silent."""
    return waveforms / waveforms.norm(dim=1, keepdim=True).clamp(min=1e-30)
