"""The perturbation's energy stays so many decibels below the clip's."""
import math
from typing import Sequence

import torch
from torch import Tensor

from ..errors import ConfigError, shown
from ..randomness import normal
from ..registry import register
from .base import LSB, Bound, Budget, to_grid

TRIES = 4  # of `quantise`
A_LITTLE_LESS = 0.9995  # 0.004 dB, so that rounding up again does not lead in circles


@register("budget", "snr")
class Snr(Budget):
    """An L2 ball of radius ||clip|| 10^(-snr_db / 20) around each clip. A silent clip has the radius 0: nothing may change.

    Args:
        snr_db: signal-to-noise ratio in dB, at least; 0 < snr_db <= 120.

    Raises:
        ConfigError: snr_db is out of range.
    """

    unit = "dB SNR"

    def __init__(self, snr_db: float):
        if not (math.isfinite(snr_db) and 0 < snr_db <= 120):
            raise ConfigError(f"budget 'snr:{shown(snr_db)}': expected decibels above 0, at most 120")
        self.snr_db = snr_db
        self.name = f"snr:{snr_db:g}"

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Snr":
        """From "30" or "30db", whatever the sample rate."""
        try:
            return cls(float(text.strip().lower().removesuffix("db")))
        except ValueError:
            raise ConfigError(f"budget 'snr:{shown(text)}': expected decibels, such as snr:30") from None

    def bind(self, clean: Tensor) -> "BoundSnr":
        return BoundSnr(self, clean)


class BoundSnr(Bound):
    """See `Snr`."""

    def __init__(self, budget: Snr, clean: Tensor):
        super().__init__(budget, clean)
        # In float64: the judge and the rounding below must agree on the last LSB.
        self.radius = (clean.double().norm(dim=1) * 10 ** (-budget.snr_db / 20)).float()

    def distance(self, perturbation: Tensor) -> Tensor:
        """SNR in dB; +inf for no perturbation, NaN for a silent clip."""
        return 20 * torch.log10(self.clean.double().norm(dim=1) / perturbation.double().norm(dim=1)).float()

    def satisfied(self, perturbation: Tensor) -> Tensor:
        return perturbation.double().norm(dim=1) <= self.radius * (1 + 1e-6)

    def project(self, perturbation: Tensor) -> Tensor:
        return self.inside(perturbation * self._shrink(perturbation))

    def _shrink(self, perturbation: Tensor) -> Tensor:
        """(batch, 1) factor of at most 1 that brings the perturbation into the ball."""
        norm = perturbation.norm(dim=1, keepdim=True)
        return (self.radius[:, None] / norm.clamp(min=1e-12)).clamp(max=1)

    def quantise(self, perturbation: Tensor) -> Tensor:
        """Rounded; where rounding leaves the ball, a slightly smaller one rounded, and at last rounded towards zero, which never leaves it."""
        allowed = self.project(perturbation)
        rounded, factor = self.inside(to_grid(allowed)), 1.0
        for _ in range(TRIES):
            outside = ~self._well_inside(rounded)[:, None]
            if not outside.any():
                return rounded
            factor = factor * self._shrink(rounded) * A_LITTLE_LESS
            rounded = torch.where(outside, to_grid(allowed * factor), rounded)
        return torch.where(self._well_inside(rounded)[:, None], rounded, (allowed * A_LITTLE_LESS / LSB).trunc() * LSB)

    def _well_inside(self, perturbation: Tensor) -> Tensor:
        """(batch,) bool: inside by more than any float's last bits, so that whoever measures the file finds the SNR that was promised."""
        return perturbation.double().norm(dim=1) <= self.radius * (1 - 1e-6)

    def random_start(self, generators: Sequence[torch.Generator]) -> Tensor:
        return self.project(self.steepest(normal(generators, self.clean.shape[1:], self.clean.device)) * self.size())

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-30)

    def size(self) -> Tensor:
        return self.radius[:, None]

    def select(self, index: Tensor) -> "BoundSnr":
        return BoundSnr(self.budget, self.clean[index])
