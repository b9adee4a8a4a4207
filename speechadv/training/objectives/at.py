"""Learning from the strongest example that the adversary finds (Madry et al. 2018, arXiv:1706.06083), or from the clip as it is."""
from typing import Iterator

from torch import Tensor
from torch.nn.functional import cross_entropy

from .base import Batch, Objective


class AT(Objective):
    """min CE(f(x'), t), x' from PGD (Madry et al. 2018, equation 2.1). With a teacher's soft targets in both this is RSLAD's inner loss without its clean part."""

    name = "at"

    def losses(self, batch: Batch) -> Iterator[Tensor]:
        yield cross_entropy(batch.logits(self.perturbation(batch)), batch.targets)


class Standard(Objective):
    """min CE(f(x), t): no adversary, or epochs in which it rests."""

    name = "standard"

    def losses(self, batch: Batch) -> Iterator[Tensor]:
        yield cross_entropy(batch.logits(None), batch.targets)
