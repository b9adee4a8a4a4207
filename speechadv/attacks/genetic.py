"""A genetic algorithm on the perturbation, with the budget enforced (after Alzantot et al. 2018)."""
import torch
from torch import Tensor

from ..errors import ConfigError
from ..registry import register
from .base import Attack, Problem
from .gradient import Best, confirmed
from .search import check_queries, many_losses


@register("attack", "genetic")
class Genetic(Attack):
    """Selection, crossover and mutation of perturbations by their margins (Alzantot et al. 2018, arXiv:1801.00554): logits alone.

    Every member of every generation lies inside the budget, which the original promises and does not enforce.

    Args:
        queries: forward passes a clip, at most.
        population: perturbations a generation, all asked about in one call; fewer where there are not so many queries.
        mutation: chance of each sample of a child to change.
        size: of a change, relative to the root mean square of the step across the whole budget.
        temperature: of the choice of parents, in standard deviations of the generation's margins; low means that only the best have children.

    Raises:
        ConfigError: a value out of range.
    """

    white_box, fewest = False, 3

    def __init__(self, queries: int = 2000, population: int = 20, mutation: float = 0.1, size: float = 2.0, temperature: float = 0.2):
        if population < 3:
            raise ConfigError(f"attack 'genetic': population: expected 3 or more, got {population}")
        for name, value in (("mutation", mutation), ("size", size), ("temperature", temperature)):
            if not value > 0:
                raise ConfigError(f"attack 'genetic': {name}: expected above 0, got {value}")
        if mutation > 1:
            raise ConfigError(f"attack 'genetic': mutation: expected a chance, at most 1, got {mutation}")
        self.queries = check_queries("genetic", queries, 4)
        self.population = min(population, queries - 1)
        self.mutation, self.size, self.temperature = mutation, size, temperature

    def run(self, problem: Problem) -> Tensor:
        best, rows = Best(problem), torch.arange(len(problem), device=problem.clean.device)
        population = min(self.population, self.queries - problem.draws)
        members = self._mutated(problem, torch.zeros(len(problem), population, problem.clean.shape[1], device=rows.device), chance=1.0)
        for _ in range(self.queries // (population + self._again(problem))):
            margins = many_losses(problem, members, "margin")
            elite, each = margins.argmax(1), torch.arange(len(rows), device=rows.device)
            candidate, reached = confirmed(problem, members[each, elite], margins[each, elite] > 0, heard_once=True)
            best.offer(rows, candidate, margins[each, elite], reached)
            if reached.any():
                stay = ~reached
                problem.report(int(reached.sum()))
                rows, problem, members, margins = rows[stay], problem.select(stay), members[stay], margins[stay]
                if not len(rows):
                    break
            members = self._next(problem, members, margins)
        return best.perturbation

    def _again(self, problem: Problem) -> int:
        """Queries a generation beside those about its members: about the best one again, where the budget rounds roughly or the network is random."""
        return 0 if problem.bound.rough_is_exact and problem.draws == 1 else problem.draws

    def _next(self, problem: Problem, members: Tensor, margins: Tensor) -> Tensor:
        """The best member as it is, and children of pairs drawn by their margins."""
        count, length = members.shape[1] - 1, members.shape[2]
        chances = torch.softmax(margins / (self.temperature * margins.std(1, keepdim=True)).clamp(min=1e-12), 1).cpu()
        parents = torch.stack([torch.multinomial(c, 2 * count, replacement=True, generator=g) for c, g in zip(chances, problem.generators)])
        first, second = (torch.take_along_dim(members, half[:, :, None].to(members.device), 1) for half in parents.split(count, 1))
        coin = torch.stack([torch.rand(count, length, generator=g) for g in problem.generators]).to(members.device) < 0.5
        elite = torch.take_along_dim(members, margins.argmax(1)[:, None, None], 1)
        return torch.cat([elite, self._mutated(problem, torch.where(coin, first, second), self.mutation)], 1)

    def _mutated(self, problem: Problem, children: Tensor, chance: float) -> Tensor:
        """(batch, count, time): some samples of each child changed, the whole brought back into the budget and onto the 16-bit grid."""
        count, length = children.shape[1:]
        drawn = torch.stack([torch.rand(2, count, length, generator=g) for g in problem.generators]).to(children.device)
        across = (problem.bound.size() * problem.bound.steepest(2 * drawn[:, 0, 0] - 1)).norm(dim=1)[:, None, None] / length**0.5
        changed = children + (drawn[:, 1] < chance) * self.size * across * (2 * drawn[:, 0] - 1)
        bound = problem.bound.select(torch.arange(len(problem), device=children.device).repeat_interleave(count))
        return bound.rough(bound.project(changed.flatten(0, 1))).unflatten(0, (-1, count))
