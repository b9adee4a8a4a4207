"""HopSkipJump: along the boundary towards the clean clip, asking for the label alone (Chen, Jordan & Wainwright 2020)."""
import torch
from torch import Tensor

from ..budgets.base import HIGHEST, to_grid
from ..errors import ConfigError
from ..randomness import normal
from ..registry import register
from .base import Attack, Problem
from .gradient import Best
from .minimum import ball, whole_step
from .search import check_queries

BISECTIONS, HALVINGS = 10, 8  # queries to find the boundary; at most so many to find a step that stays beyond it
LOUDEST = 10  # the loudest start is 2**9 times the budget


@register("attack", "hopskipjump")
class HopSkipJump(Attack):
    """HopSkipJumpAttack (Chen et al. 2020, arXiv:1904.02144, algorithms 1 and 2), in the budget's own geometry: only the label is looked at.

    Noise is made louder until the goal is reached; then each round finds the boundary by bisection, estimates its normal from labels around it, and steps
    along. A clip is done as soon as what works lies inside the budget. A target that no noise reaches is given up.

    Args:
        queries: forward passes a clip, at most.
        samples: points for the first estimate; the t-th takes sqrt(t) times as many.
        spread: distance of the points from the boundary, as a share of the distance to the clean clip.

    Raises:
        ConfigError: a value out of range.
    """

    white_box, label_suffices = False, True

    def __init__(self, queries: int = 2500, samples: int = 50, spread: float = 0.5):
        if samples < 2:
            raise ConfigError(f"attack 'hopskipjump': samples: expected 2 or more, got {samples}")
        if not spread > 0:
            raise ConfigError(f"attack 'hopskipjump': spread: expected above 0, got {spread}")
        self.samples, self.spread = samples, spread
        self.queries = check_queries("hopskipjump", queries, 2)

    def run(self, problem: Problem) -> Tensor:
        best, tries = Best(problem), min(LOUDEST, self.queries - 1)
        point, share, found = self._start(problem, tries)
        rows, left, t = found.nonzero().squeeze(1), self.queries - tries, 1
        while len(rows):
            bisections = min(BISECTIONS, left - 1)
            part = problem.select(rows)
            point[rows], share[rows] = self._bisect(part, point[rows], share[rows], bisections)
            rows = rows[~self._offer(part, point[rows], share[rows], best, rows)]
            asked = int(self.samples * t**0.5)
            left, t = left - bisections - 1 - asked - HALVINGS, t + 1
            if not len(rows) or left <= BISECTIONS:
                break
            point[rows], share[rows] = self._step(problem.select(rows), point[rows], share[rows], asked, t - 1)
        return best.perturbation

    def _start(self, problem: Problem, tries: int) -> tuple[Tensor, Tensor, Tensor]:
        """(perturbation, its share of the budget (batch, 1), whether it reaches the goal): the first that does of ever louder noises, each drawn afresh."""
        point, share = torch.zeros_like(problem.clean), torch.ones_like(problem.clean[:, :1])
        found = torch.zeros(len(problem), dtype=torch.bool, device=share.device)
        for loudness in (2.0**power for power in range(tries)):
            rows = (~found).nonzero().squeeze(1)
            if not len(rows):
                break
            part = problem.select(rows)
            noise = whole_step(part.bound, normal(part.generators, part.clean.shape[1:], part.clean.device))
            louder = part.bound.inside(loudness * noise)
            reached = self._reached(part, louder)
            point[rows[reached]], share[rows[reached]], found[rows[reached]] = louder[reached], loudness, True
        return point, share, found

    def _bisect(self, problem: Problem, point: Tensor, share: Tensor, bisections: int) -> tuple[Tensor, Tensor]:
        """The point where the goal is just reached between the clean clip and `point`, and its share of the budget."""
        low, high = torch.zeros_like(share), share
        for _ in range(bisections):
            middle = (low + high) / 2
            reached = self._reached(problem, ball(problem.bound, point, middle))[:, None]
            low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
        return ball(problem.bound, point, high), high

    def _offer(self, problem: Problem, point: Tensor, share: Tensor, best: Best, rows: Tensor) -> Tensor:
        """Which points work inside the budget, (batch,); all of them are put into `best`, the quieter the better."""
        done = share.squeeze(1) <= 1
        if done.any():
            point, inside, part = point.clone(), done.clone(), problem.select(done)
            point[inside] = part.bound.quantise(point[inside])
            done[inside] = part.goal.reached(part.logits(point[inside]))
            if done.any():
                problem.report(int(done.sum()))
        best.offer(rows, point, -share.squeeze(1), done)
        return done

    def _step(self, problem: Problem, point: Tensor, share: Tensor, asked: int, t: int) -> tuple[Tensor, Tensor]:
        """A step along the estimated normal, as long as it may be without losing the goal; where none works, the point itself."""
        direction = whole_step(problem.bound, self._normal(problem, point, share, asked))
        moved, larger, open_rows = point.clone(), share.clone(), torch.ones_like(share, dtype=torch.bool).squeeze(1)
        for halving in range(HALVINGS):
            rows = open_rows.nonzero().squeeze(1)
            if not len(rows):
                break
            part, size = problem.select(rows), share[rows] / t**0.5 / 2**halving
            tried = part.bound.inside(point[rows] + size * direction[rows])
            reached = self._reached(part, tried)
            works = rows[reached]
            moved[works], larger[works], open_rows[works] = tried[reached], share[works] + size[reached], False
        return moved, larger

    def _normal(self, problem: Problem, point: Tensor, share: Tensor, asked: int) -> Tensor:
        """(batch, time): the boundary's normal from the labels of `asked` points around it, less their mean (equation 16 of the paper)."""
        noise = normal(problem.generators, (asked, point.shape[1]), point.device)
        across = whole_step(problem.bound, noise[:, 0]).norm(dim=1)[:, None, None] / point.shape[1] ** 0.5
        heard = ((problem.clean + point)[:, None] + self.spread * share[:, :, None] * across * noise).clamp(-1, HIGHEST)
        logits = problem.logits(heard - problem.clean[:, None])
        reached = torch.stack([problem.goal.reached(each) for each in logits.unbind(1)], 1)
        signs = 2.0 * reached - 1
        one_sided = (reached.all(1) | ~reached.any(1))[:, None]
        weights = torch.where(one_sided, signs, signs - signs.mean(1, keepdim=True))
        return (weights[:, :, None] * noise).mean(1)

    def _reached(self, problem: Problem, perturbation: Tensor) -> Tensor:
        """Whether the goal is reached on the 16-bit grid, (batch,); one query."""
        return problem.goal.reached(problem.logits(problem.bound.inside(to_grid(perturbation))))
