"""Robust students: under attack they are to hear what the teacher hears in the clean clip."""
from typing import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .base import Batch, Objective


class ARD(Objective):
    """min (CE(f(x), y) + beta CE(f(x'), T(x))) / (1 + beta), x' from PGD against the hard label (Goldblum et al. 2020, arXiv:1905.09747, with
    alpha = beta / (1 + beta) and the divergence up to the teacher's own entropy).
    """

    name, inner, weighted = "ard", "hard", True

    def losses(self, batch: Batch) -> Iterator[Tensor]:
        clean, adversarial = batch.both(self.perturbation(batch))
        heard = torch.cat([clean[: batch.clean], adversarial])
        yield (cross_entropy(clean, self.of_clean(batch)) + self.settings.beta * cross_entropy(heard, batch.targets)) / (1 + self.settings.beta)

    def of_clean(self, batch: Batch) -> Tensor:
        """What should be heard in the clip as it is."""
        return batch.hard


class RSLAD(ARD):
    """The teacher's labels everywhere: min (CE(f(x), T(x)) + beta CE(f(x'), T(x))) / (1 + beta), x' from PGD against T(x) too (Zi et al. 2021, arXiv:2108.07969;
    their alpha of 5/6 is beta = 5)."""

    name, inner = "rslad", "soft"

    def of_clean(self, batch: Batch) -> Tensor:
        return batch.targets
