"""The contract of a budget: which perturbations of a clip are allowed, and how an attack moves among them."""
from abc import ABC, abstractmethod
from typing import Sequence

import torch
from torch import Tensor

LSB = 2.0**-15  # one step of the 16-bit grid, as a fraction of full scale
ROUNDER = 1.5 * 2**8  # floats of 32 bit between 2**8 and 2**9 are whole LSBs: adding it rounds, in half the passes that dividing and rounding take
HIGHEST = 1 - LSB  # the largest sample that 16 bit can hold


class Budget(ABC):
    """A limit on perturbations, in a unit of its own. `name` is the word that makes it again, such as "linf:0.002"."""

    name: str
    unit: str

    @abstractmethod
    def bind(self, clean: Tensor) -> "Bound":
        """The budget for these clips, (batch, time) float32 on the 16-bit grid, with what depends on them alone computed once."""

    def distance(self, clean: Tensor, adversarial: Tensor) -> Tensor:
        """(batch,) in the budget's unit."""
        return self.bind(clean).distance(adversarial - clean)

    def satisfied(self, clean: Tensor, adversarial: Tensor) -> Tensor:
        """(batch,) bool: the judge of saved audio."""
        return self.bind(clean).satisfied(adversarial - clean)

    def project(self, clean: Tensor, perturbation: Tensor) -> Tensor:
        """The nearest allowed perturbation; clean + perturbation stays inside [-1, 1 - 2**-15]."""
        return self.bind(clean).project(perturbation)

    def quantise(self, clean: Tensor, perturbation: Tensor) -> Tensor:
        """An allowed perturbation on the 16-bit grid, near the given one."""
        return self.bind(clean).quantise(perturbation)

    def random_start(self, clean: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """An allowed random perturbation, row i drawn from generator i."""
        return self.bind(clean).random_start(generators)

    def steepest(self, clean: Tensor, gradient: Tensor) -> Tensor:
        """The unit step along the gradient in the budget's geometry."""
        return self.bind(clean).steepest(gradient)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Bound(ABC):
    """A budget for the clips of one batch. All tensors are (batch, time) float32, perturbations as fractions of full scale."""

    def __init__(self, budget: Budget, clean: Tensor):
        self.budget, self.clean = budget, clean

    @abstractmethod
    def distance(self, perturbation: Tensor) -> Tensor: ...

    @abstractmethod
    def satisfied(self, perturbation: Tensor) -> Tensor: ...

    @abstractmethod
    def project(self, perturbation: Tensor) -> Tensor: ...

    def project_(self, perturbation: Tensor) -> Tensor:
        """The same of a tensor that nobody else needs: it may be written to."""
        return self.project(perturbation)

    @abstractmethod
    def quantise(self, perturbation: Tensor) -> Tensor: ...

    @abstractmethod
    def random_start(self, generators: Sequence[torch.Generator]) -> Tensor: ...

    @abstractmethod
    def steepest(self, gradient: Tensor) -> Tensor:
        """The unit step along the gradient, a new tensor; `size() * steepest(gradient)` crosses the whole budget."""

    @abstractmethod
    def size(self) -> Tensor:
        """(batch, 1): how long a step across the whole budget is."""

    @abstractmethod
    def select(self, index: Tensor) -> "Bound":
        """The same budget for some of the clips (int64 or bool index)."""

    def rough(self, perturbation: Tensor) -> Tensor:
        """A perturbation on the 16-bit grid to look at while searching. The same as `quantise` unless that is too dear for every step."""
        return self.quantise(perturbation)

    def rough_of_allowed(self, perturbation: Tensor) -> Tensor:
        """The same of a perturbation that has been projected, where that is cheaper."""
        return self.rough(perturbation)

    @property
    def rough_is_exact(self) -> bool:
        """Whether what `rough` returns always satisfies the budget."""
        return type(self).rough is Bound.rough

    def inside(self, perturbation: Tensor) -> Tensor:
        """Cut so that clean + perturbation can be stored in 16 bit."""
        return torch.maximum(torch.minimum(perturbation, HIGHEST - self.clean), -1 - self.clean)

    def nothing_if_broken(self, perturbation: Tensor) -> Tensor:
        """Zero where a quantised perturbation does not satisfy the budget after all: no perturbation always does."""
        return torch.where(self.satisfied(perturbation)[:, None], perturbation, 0.0)  # no product: NaN times zero is NaN


def to_grid(perturbation: Tensor) -> Tensor:
    """Rounded to whole LSBs, halves to even."""
    if perturbation.dtype != torch.float32:
        return (perturbation / LSB).round() * LSB
    return perturbation.add(ROUNDER).sub_(ROUNDER)
