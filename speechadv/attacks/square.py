"""Square attack in one dimension: random stretches of the clip are pushed to the edge of the budget (Andriushchenko et al. 2020)."""
import math

import torch
from torch import Tensor

from ..errors import ConfigError
from ..registry import register
from .base import Attack, Problem
from .gradient import Best


@register("attack", "square")
class Square(Attack):
    """Random search that asks for logits alone (Andriushchenko et al. 2020, arXiv:1912.00049, algorithms 1 and 2, along time).

    Each query changes one stretch of the perturbation, the same amount with a random sign in short pieces, and keeps the change where the margin rises.
    The stretch shrinks on the paper's schedule. Under an SNR or masking budget the changed perturbation is projected before it is heard.

    Args:
        queries: forward passes a clip, at most.
        share: of the clip that the first stretches cover.
        pieces: a stretch is cut into this many pieces, each with a sign of its own (1 is the paper's; a constant push is nearly inaudible to a
            log-mel front end, since it lies below the lowest band).

    Raises:
        ConfigError: a value out of range.
    """

    white_box = False
    STAGES = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries, at which the stretch is halved

    def __init__(self, queries: int = 1000, share: float = 0.3, pieces: int = 0):
        if queries < 1:
            raise ConfigError(f"attack 'square': queries: expected 1 or more, got {queries}")
        if not 0 < share <= 1:
            raise ConfigError(f"attack 'square': share: expected above 0, at most 1, got {share}")
        if pieces < 0:
            raise ConfigError(f"attack 'square': pieces: expected 0 (chosen at random) or more, got {pieces}")
        self.queries, self.share, self.pieces = queries, share, pieces

    def run(self, problem: Problem) -> Tensor:
        best, rows = Best(problem), torch.arange(len(problem), device=problem.clean.device)
        iterate = self._stripes(problem)
        for query in range(self.queries):
            candidate = problem.bound.quantise(iterate if not query else self._changed(problem, iterate, query))
            logits = problem.logits(candidate)
            loss, reached = problem.goal.loss(logits, "margin"), problem.goal.reached(logits)
            better = loss > best.loss[rows]
            iterate = torch.where(better[:, None], candidate, iterate)
            best.offer(rows, candidate, loss, reached)
            if reached.any():
                stay = ~reached
                problem.report(int(reached.sum()))
                rows, iterate, problem = rows[stay], iterate[stay], problem.select(stay)
                if not len(rows):
                    break
        return best.perturbation

    def _stripes(self, problem: Problem) -> Tensor:
        """The paper's start, in time: short stripes of random sign at the budget's edge."""
        length = problem.clean.shape[1]
        signs = torch.stack([torch.randint(0, 2, (-(-length // 4),), generator=g) for g in problem.generators]).to(problem.clean) * 2 - 1
        return problem.bound.project(problem.bound.size() * problem.bound.steepest(signs.repeat_interleave(4, 1)[:, :length]))

    def _changed(self, problem: Problem, iterate: Tensor, query: int) -> Tensor:
        """The iterate with one stretch of each clip replaced."""
        length = iterate.shape[1]
        halvings = sum(query > stage * self.queries / 10000 for stage in self.STAGES)
        width = max(8, round(self.share * length / 2**halvings))
        push, stretch = torch.zeros_like(iterate), torch.zeros_like(iterate, dtype=torch.bool)
        for row, generator in enumerate(problem.generators):
            start = int(torch.randint(0, length - width + 1, (), generator=generator))
            push[row, start : start + width] = self._push(width, generator).to(push)
            stretch[row, start : start + width] = True
        full = problem.bound.size() * problem.bound.steepest(torch.ones_like(iterate))
        return problem.bound.project(torch.where(stretch, push * full.abs().amax(1, keepdim=True), iterate))

    def _push(self, width: int, generator: torch.Generator) -> Tensor:
        """(width,) of +1 and -1 in pieces of equal length."""
        pieces = self.pieces or 2 ** int(torch.randint(0, int(math.log2(width)) + 1, (), generator=generator))
        signs = torch.randint(0, 2, (pieces,), generator=generator) * 2.0 - 1
        return signs.repeat_interleave(-(-width // pieces))[:width]
