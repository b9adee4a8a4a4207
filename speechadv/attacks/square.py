"""Square attack in one dimension: random stretches of the clip are pushed to the edge of the budget (Andriushchenko et al. 2020)."""
import math

import torch
from torch import Tensor

from ..budgets.snr import BoundSnr
from ..errors import ConfigError
from ..registry import register
from .base import Attack, Problem
from .gradient import unit
from .search import Proposals, check_queries, random_search

SHORTEST = 8  # samples of a stretch


@register("attack", "square")
class Square(Attack):
    """Random search that asks for logits alone (Andriushchenko et al. 2020, arXiv:1912.00049, algorithms 1 to 3, along time).

    Each query changes one stretch of the perturbation and keeps the change where the margin rises. Under linf the stretch goes to the edge of the budget
    with random signs; under snr it also takes the energy of another stretch, which falls silent. The stretch shrinks on the paper's schedule. Under
    masking and intersections the changed perturbation is projected before it is heard.

    Args:
        queries: forward passes a clip, at most.
        share: of the clip that the first stretches cover.
        pieces: a stretch is cut into this many pieces, each with a sign of its own; 0 draws a power of two for each stretch, 1 is the paper's. (A
            constant push lies below the lowest band of a log-mel front end.)

    Raises:
        ConfigError: a value out of range.
    """

    white_box, one_by_one, fewest = False, True, 1

    def __init__(self, queries: int = 1000, share: float = 0.3, pieces: int = 0):
        if not 0 < share <= 1:
            raise ConfigError(f"attack 'square': share: expected above 0, at most 1, got {share}")
        if pieces < 0:
            raise ConfigError(f"attack 'square': pieces: expected 0 (drawn at random) or more, got {pieces}")
        self.queries, self.share, self.pieces = check_queries("square", queries), share, pieces

    def run(self, problem: Problem) -> Tensor:
        return random_search(problem, self.queries, Stretches(self.queries, self.share, self.pieces))


class Stretches(Proposals):
    """Random stretches, shorter as the queries are spent."""

    STAGES = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries, at which the stretch is halved

    def __init__(self, queries: int, share: float, pieces: int):
        self.queries, self.share, self.pieces = queries, share, pieces

    def propose(self, problem: Problem, iterate: Tensor, query: int, accepted: Tensor) -> Tensor:
        if not query:
            return self._stripes(problem)
        width = self.width(query, iterate.shape[1])
        inside = [self._drawn(width, iterate.shape[1], generator) for generator in problem.generators]
        signs, stretch, other = (torch.stack(column).to(iterate.device) for column in zip(*inside))
        if isinstance(problem.bound, BoundSnr):
            return problem.bound.project(moved_energy(iterate, signs, stretch, other, problem.bound.radius))
        edge = (problem.bound.size() * problem.bound.steepest(torch.ones_like(iterate))).abs().amax(1, keepdim=True)
        return problem.bound.project(torch.where(stretch, signs * edge, iterate))

    def width(self, query: int, length: int) -> int:
        """Samples of a stretch at this query."""
        halvings = sum(query > stage * self.queries / 10000 for stage in self.STAGES)
        return min(length, max(SHORTEST, round(self.share * length / 2**halvings)))

    def _stripes(self, problem: Problem) -> Tensor:
        """The paper's start, in time: short stripes of random sign at the budget's edge."""
        length = problem.clean.shape[1]
        signs = torch.stack([torch.randint(0, 2, (-(-length // 4),), generator=g) for g in problem.generators]).to(problem.clean) * 2 - 1
        return problem.bound.project(problem.bound.size() * problem.bound.steepest(signs.repeat_interleave(4, 1)[:, :length]))

    def _drawn(self, width: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(signs, zero outside the stretch; where the stretch is; where another one of the same length is), (length,) each."""
        starts = torch.randint(0, length - width + 1, (2,), generator=generator).tolist()
        signs, places = torch.zeros(length), torch.zeros(2, length, dtype=torch.bool)
        for place, start in zip(places, starts):
            place[start : start + width] = True
        signs[starts[0] : starts[0] + width] = self._push(width, generator)
        return signs, places[0], places[1]

    def _push(self, width: int, generator: torch.Generator) -> Tensor:
        """(width,) of +1 and -1 in pieces of equal length."""
        pieces = self.pieces or 2 ** int(torch.randint(0, int(math.log2(width)) + 1, (), generator=generator))
        signs = torch.randint(0, 2, (pieces,), generator=generator) * 2.0 - 1
        return signs.repeat_interleave(-(-width // pieces))[:width]


def moved_energy(iterate: Tensor, signs: Tensor, stretch: Tensor, other: Tensor, radius: Tensor) -> Tensor:
    """Algorithm 3 of the paper: the stretch keeps its shape in part, gets a push on top, and all the energy that is free; `other` falls silent.

    Args:
        iterate, signs: (batch, time).
        stretch, other: (batch, time) bool.
        radius: (batch,) L2 norm that the whole may have.
    """
    rest = iterate.masked_fill(stretch | other, 0.0)
    free = (radius.square() - rest.square().sum(1)).clamp(min=0).sqrt()[:, None]
    kept = unit(iterate.masked_fill(~stretch, 0.0))
    return rest + free * unit(kept + unit(signs))
