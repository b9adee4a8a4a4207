"""TRADES: right on the clip, and the same on what is near it."""
from typing import Iterator

from torch import Tensor
from torch.nn.functional import cross_entropy

from ..inner import divergence
from .base import Batch, Objective


class TRADES(Objective):
    """min CE(f(x), t) + beta KL(f(x) || f(x')), where x' maximises that very divergence (Zhang et al. 2019, arXiv:1901.08573, algorithm 1).

    The search begins near the clip, not on it: there the divergence is flat. A clip that stays clean has a divergence of zero.
    """

    name, inner, weighted = "trades", "kl", True

    def losses(self, batch: Batch) -> Iterator[Tensor]:
        clean, adversarial = batch.both(self.perturbation(batch))
        apart = divergence(clean[batch.clean :], adversarial).sum() / len(clean)
        yield cross_entropy(clean, batch.targets) + self.settings.beta * apart
