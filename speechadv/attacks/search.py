"""The one loop of random search: each clip asks one query at a time, keeps what raises the margin, and leaves when it is there."""
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ..errors import ConfigError
from .base import Problem
from .gradient import Best


class Proposals(ABC):
    """Where a random search looks next. Holds the state of its clips and forgets those that leave."""

    state: tuple[str, ...] = ()  # names of the tensors that hold a row a clip

    @abstractmethod
    def propose(self, problem: Problem, iterate: Tensor, query: int, accepted: Tensor) -> Tensor:
        """A perturbation (batch, time) to ask about; `accepted` (batch,) says whose last proposal became the iterate."""

    def select(self, index: Tensor) -> None:
        """Keep the state of these clips."""
        for name in self.state:
            setattr(self, name, getattr(self, name)[index])


def random_search(problem: Problem, queries: int, proposals: Proposals) -> Tensor:
    """The best perturbation found with at most `queries` queries a clip, (batch, time).

    What the network hears is on the 16-bit grid. Where the budget rounds roughly while searching, a clip that is there asks once more about the exact
    rounding, and where the network is random `draws` times more, out of the same queries: it leaves only if that works too, in the mean of the logits.
    """
    best, rows = Best(problem), torch.arange(len(problem), device=problem.clean.device)
    iterate, exact = torch.zeros_like(problem.clean), torch.zeros_like(problem.clean)
    value, accepted, doubted = best.loss.clone(), best.reached.clone(), best.reached.clone()
    trusted = problem.bound.rough_is_exact and problem.draws == 1  # the first success is one
    heard, asked = 0.0, torch.zeros_like(value)  # of the doubted: the sum of what was heard, and how often
    for query in range(queries):
        proposal = problem.bound.rough(proposals.propose(problem, iterate, query, accepted))
        candidate = torch.where(doubted[:, None], exact, proposal)
        logits = problem.logits(candidate)
        loss, reached = problem.goal.loss(logits, "margin"), problem.goal.reached(logits)
        accepted = (loss > value) & ~doubted
        iterate, value = torch.where(accepted[:, None], candidate, iterate), torch.where(accepted, loss, value)
        heard, asked = torch.where(doubted[:, None], heard + logits, 0.0), (asked + 1) * doubted
        sure = reached if trusted else (asked == problem.draws) & problem.goal.reached(heard)
        best.offer(rows, candidate, loss, sure)
        begun = reached & ~doubted & ~sure
        if begun.any():
            exact[begun] = problem.bound.select(begun).quantise(candidate[begun])
        doubted = begun | doubted & (asked < problem.draws)
        if sure.any():
            stay = ~sure
            problem.report(int(sure.sum()))
            rows, problem = rows[stay], problem.select(stay)
            iterate, exact, value, accepted, doubted, heard, asked = (state[stay] for state in (iterate, exact, value, accepted, doubted, heard, asked))
            proposals.select(stay)
            if not len(rows):
                break
    return best.perturbation


def many_losses(problem: Problem, perturbations: Tensor, loss: str) -> Tensor:
    """(batch, count): the goal's loss for several perturbations a clip, (batch, count, time), all asked at once."""
    logits = problem.logits(perturbations)
    goals = problem.goal.select(torch.arange(len(problem), device=logits.device).repeat_interleave(logits.shape[1]))
    return goals.loss(logits.flatten(0, 1), loss).unflatten(0, logits.shape[:2])


def check_queries(attack: str, queries: int, least: int = 1) -> int:
    """The number of queries. Raises ConfigError where it is less than one round of the attack needs."""
    if queries < least:
        raise ConfigError(f"attack '{attack}': queries: expected {least} or more, got {queries}")
    return queries
