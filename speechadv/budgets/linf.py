"""Every sample moves by at most eps."""
import math
import re
from typing import Sequence

import torch
from torch import Tensor

from ..errors import ConfigError, shown
from ..randomness import uniform
from ..registry import register
from .base import HIGHEST, LSB, Bound, Budget, to_grid


@register("budget", "linf")
class Linf(Budget):
    """The L-infinity ball: no sample moves by more than `eps`, a fraction of full scale.

    Args:
        eps: 0 < eps < 1. On the 16-bit grid it allows floor(eps * 32768) LSB.
        spec: how the user wrote it; the budget's name.

    Raises:
        ConfigError: eps is not in (0, 1) or less than one LSB.
    """

    unit = "fraction of full scale"

    def __init__(self, eps: float, spec: str | None = None):
        if not (math.isfinite(eps) and 0 < eps < 1):
            raise ConfigError(f"budget 'linf:{shown(spec or eps)}': expected a positive eps below 1 (full scale)")
        self.lsb = math.floor(eps / LSB + 1e-9)
        if not self.lsb:
            raise ConfigError(f"budget 'linf:{shown(spec or eps)}': smaller than one step of 16 bit ({LSB:.3g}): nothing could be changed")
        self.eps = eps
        self.name = f"linf:{spec or format(eps, 'g')}"

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Linf":
        """From "0.002", "66lsb" or "-54dbfs", whatever the sample rate."""
        match = re.fullmatch(r"([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)(lsb|dbfs)?", text.strip().lower())
        try:
            number, unit = float(match[1]), match[2]
        except (TypeError, ValueError):
            raise ConfigError(f"budget 'linf:{shown(text)}': expected eps such as 0.002, 66lsb or -54dbfs") from None
        return cls({"lsb": number * LSB, "dbfs": 10 ** (min(number, 1e3) / 20), None: number}[unit], text.strip().lower())

    def bind(self, clean: Tensor) -> "BoundLinf":
        return BoundLinf(self, clean)


class BoundLinf(Bound):
    """See `Linf`. Limits are scalars where no clip comes near full scale, else tensors: each pass over a batch counts in a gradient loop."""

    def __init__(self, budget: Linf, clean: Tensor):
        super().__init__(budget, clean)
        self.limit = budget.lsb * LSB
        self.limits: tuple = (-self.limit, self.limit)
        if clean.numel() and (clean.amin() < self.limit - 1 or clean.amax() > HIGHEST - self.limit):
            self.limits = ((-1 - clean).clamp(min=-self.limit), (HIGHEST - clean).clamp(max=self.limit))

    def distance(self, perturbation: Tensor) -> Tensor:
        return perturbation.abs().amax(1)

    def satisfied(self, perturbation: Tensor) -> Tensor:
        return self.distance(perturbation) <= self.limit * (1 + 1e-6)

    def project(self, perturbation: Tensor) -> Tensor:
        return perturbation.clamp(*self.limits)

    def project_(self, perturbation: Tensor) -> Tensor:
        return perturbation.clamp_(*self.limits)

    def quantise(self, perturbation: Tensor) -> Tensor:
        # The limits lie on the grid: rounding cannot leave them.
        return to_grid(perturbation).clamp_(*self.limits)

    def rough_of_allowed(self, perturbation: Tensor) -> Tensor:
        return to_grid(perturbation)  # between limits on the grid

    def random_start(self, generators: Sequence[torch.Generator]) -> Tensor:
        draws = uniform(generators, self.clean.shape[1:], self.clean.device)
        return self.project((2 * draws - 1) * self.limit)

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def size(self) -> Tensor:
        return torch.full_like(self.clean[:, :1], self.limit)

    def select(self, index: Tensor) -> "BoundLinf":
        return BoundLinf(self.budget, self.clean[index])
