"""Free adversarial training: one gradient for the weights and for the perturbation."""
from typing import Iterator

from torch import Tensor
from torch.nn.functional import cross_entropy

from .base import Batch, Objective


class Free(Objective):
    """AT that hears each batch `replays` times, each time a step of the weights and, from the same backward pass, a step of the perturbation across the whole budget
    (Shafahi et al. 2019, arXiv:1904.12843, algorithm 1). In training mode, unlike the other adversaries. Each batch begins at a random start rather than where
    the one before ended, as Wong et al. 2020 found to be as good; an epoch then depends on nothing but its seed.

    The adversary climbs the loss that the weights go down on: there is no `inner` and no `steps`, which says in which epochs it attacks.
    """

    name, guarded = "free", True

    def steps(self, epoch: int, strength: int = 0) -> int:
        return (strength or self.settings.replays) if self.settings.steps_at(epoch) else 0

    def step_size(self, steps: int) -> float:
        return self.settings.step_size or 1.0

    def losses(self, batch: Batch) -> Iterator[Tensor]:
        inner = batch.inner
        perturbation = None if inner is None else inner.start
        for _ in range(batch.steps):
            heard = None if inner is None else inner.bound.rough(perturbation).detach().requires_grad_()
            yield cross_entropy(batch.logits(heard), batch.targets)
            perturbation = None if inner is None else inner.stepped(perturbation, heard.grad, self.step_size(batch.steps))
