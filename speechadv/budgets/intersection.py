"""Several budgets at once."""
from typing import Sequence

import torch
from torch import Tensor

from .base import Bound, Budget, to_grid

ROUNDS = 4  # of alternating projections
SHRINKING = (1.0, 0.95, 0.85, 0.7, 0.5, 0.3, 0.15)  # tried in order when rounding broke one of the budgets


class Intersection(Budget):
    """All of the budgets hold; `distance` is that of the first one. Its name joins theirs with "+"."""

    def __init__(self, budgets: Sequence[Budget]):
        self.budgets = list(budgets)
        self.name = "+".join(b.name for b in self.budgets)
        self.unit = self.budgets[0].unit

    def bind(self, clean: Tensor) -> "BoundIntersection":
        return BoundIntersection(self, clean, [b.bind(clean) for b in self.budgets])


class BoundIntersection(Bound):
    """See `Intersection`."""

    def __init__(self, budget: Intersection, clean: Tensor, parts: list[Bound]):
        super().__init__(budget, clean)
        self.parts = parts

    def distance(self, perturbation: Tensor) -> Tensor:
        return self.parts[0].distance(perturbation)

    def satisfied(self, perturbation: Tensor) -> Tensor:
        return torch.stack([part.satisfied(perturbation) for part in self.parts]).all(0)

    def project(self, perturbation: Tensor) -> Tensor:
        for _ in range(ROUNDS if len(self.parts) > 1 else 1):
            for part in self.parts:
                perturbation = part.project(perturbation)
        return perturbation

    def quantise(self, perturbation: Tensor) -> Tensor:
        """What is allowed stays. Else each part rounds in turn; where another one is then broken, again with a quieter perturbation, at last with none."""
        rounded = self.rough(perturbation)
        open_rows = ~self.satisfied(rounded)
        result = torch.where(open_rows[:, None], 0, rounded)
        projected = self.project(perturbation)
        for factor in SHRINKING:
            if not open_rows.any():
                break
            bound, candidate = self.select(open_rows), projected[open_rows] * factor
            for part in bound.parts:
                candidate = part.quantise(candidate)
            good = bound.satisfied(candidate)
            rows = open_rows.nonzero().squeeze(1)[good]
            result[rows] = candidate[good]
            open_rows[rows] = False
        return result

    @property
    def rough_is_exact(self) -> bool:
        return False

    def rough(self, perturbation: Tensor) -> Tensor:
        return self.inside(to_grid(perturbation))

    def random_start(self, generators: Sequence[torch.Generator]) -> Tensor:
        return self.project(self.parts[0].random_start(generators))

    def steepest(self, gradient: Tensor) -> Tensor:
        """The step of whichever budget allows the least energy, clip by clip, with its size in it."""
        steps = torch.stack([part.size() * part.steepest(gradient) for part in self.parts])
        tightest = steps.norm(dim=2).argmin(0)
        return steps[tightest, torch.arange(steps.shape[1], device=steps.device)]

    def size(self) -> Tensor:
        return torch.ones_like(self.clean[:, :1])

    def select(self, index: Tensor) -> "BoundIntersection":
        return BoundIntersection(self.budget, self.clean[index], [part.select(index) for part in self.parts])
