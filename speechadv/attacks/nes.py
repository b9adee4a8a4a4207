"""NES: the gradient estimated from logits at random points around the iterate (Ilyas et al. 2018)."""
import torch
from torch import Tensor

from ..budgets.base import HIGHEST
from ..errors import ConfigError
from ..goals import check_loss
from ..randomness import normal
from ..registry import register
from .base import Attack, Problem
from .gradient import Best
from .search import check_queries, many_losses
from .steps import Momentum


@register("attack", "nes")
class NES(Attack):
    """Projected ascent on an estimated gradient (Ilyas et al. 2018, arXiv:1804.08598, algorithm 1): logits alone.

    Each step asks about `samples` points, half of them mirrored through the iterate, all clips and points in one call, and then about the new iterate, of a
    random network as often as it is averaged over.

    Args:
        queries: forward passes a clip, at most.
        samples: points for one estimate, even; fewer where there are not so many queries.
        spread: root mean square distance of the points from the iterate, as a share of the step across the whole budget.
        step_size: as a fraction of the budget; 0 stands for 2.5 / steps, between 0.02 and 0.5.
        momentum: decay of the running sum of estimates.
        loss: "cross_entropy" or "margin".

    Raises:
        ConfigError: a value out of range.
    """

    white_box, fewest = False, 2

    def __init__(self, queries: int = 2000, samples: int = 50, spread: float = 0.3, step_size: float = 0.0, momentum: float = 0.5, loss: str = "margin"):
        if samples < 2 or samples % 2:
            raise ConfigError(f"attack 'nes': samples: expected an even number, 2 or more, got {samples}")
        for name, value, above in (("spread", spread, True), ("step_size", step_size, False), ("momentum", momentum, False)):
            if not (value > 0 or value == 0 and not above):
                raise ConfigError(f"attack 'nes': {name}: expected {'above 0' if above else '0 or more'}, got {value}")
        self.queries = check_queries("nes", queries, 3)
        self.samples, self.spread = min(samples, (queries - 1) // 2 * 2), spread
        self.steps = queries // (self.samples + 1)
        self.step_size = step_size or min(0.5, max(0.02, 2.5 / self.steps))
        self.momentum, self.loss = momentum, check_loss(loss)

    def run(self, problem: Problem) -> Tensor:
        best, rows = Best(problem), torch.arange(len(problem), device=problem.clean.device)
        iterate, rule = torch.zeros_like(problem.clean), Momentum(self.step_size, self.momentum)
        samples = min(self.samples, (self.queries - problem.draws) // 2 * 2)
        for _ in range(self.queries // (samples + problem.draws)):
            iterate = rule.advance(problem.bound, iterate, self.estimate(problem, iterate, samples), best.loss[rows])
            candidate = problem.bound.quantise(iterate)
            logits = problem.expected(candidate)
            reached = problem.goal.reached(logits)
            best.offer(rows, candidate, problem.goal.loss(logits, self.loss), reached)
            if reached.any():
                stay = ~reached
                problem.report(int(reached.sum()))
                rows, iterate, problem = rows[stay], iterate[stay], problem.select(stay)
                rule.select(stay)
                if not len(rows):
                    break
        return best.perturbation

    def estimate(self, problem: Problem, iterate: Tensor, samples: int) -> Tensor:
        """(batch, time): the loss's gradient up to its length; costs `samples` queries a clip."""
        half = normal(problem.generators, (samples // 2, iterate.shape[1]), iterate.device)
        across = (problem.bound.size() * problem.bound.steepest(half[:, 0])).norm(dim=1) / iterate.shape[1] ** 0.5
        points = torch.cat([half, -half], 1)
        heard = (problem.clean + iterate)[:, None] + self.spread * across[:, None, None] * points
        losses = many_losses(problem, heard.clamp(-1, HIGHEST) - problem.clean[:, None], self.loss)
        return (losses[:, :, None] * points).mean(1)
