"""MART: clips that are heard wrong already are pulled harder."""
from typing import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..inner import divergence
from .base import Batch, Objective


class MART(Objective):
    """min BCE(f(x'), t) + beta KL(f(x) || f(x')) (1 - f_y(x)), x' from PGD on cross-entropy (Wang et al. 2020, ICLR, "Improving adversarial robustness requires
    revisiting misclassified examples"). Boosted cross-entropy: BCE(p, t) = CE(p, t) - log(1 - max over k other than y of p_k). y is the likeliest label of t.
    Clips that stay clean count with BCE alone.
    """

    name, weighted = "mart", True

    def losses(self, batch: Batch) -> Iterator[Tensor]:
        clean, adversarial = batch.both(self.perturbation(batch))
        own = batch.targets.argmax(1)
        attacked = slice(batch.clean, None)
        first = torch.cat([clean[: batch.clean], adversarial])
        doubt = 1 - clean[attacked].softmax(1).gather(1, own[attacked, None]).squeeze(1)
        apart = (divergence(clean[attacked], adversarial) * doubt).sum() / len(clean)
        yield cross_entropy(first, batch.targets) + runner_up(first, own) + self.settings.beta * apart


def runner_up(logits: Tensor, own: Tensor) -> Tensor:
    """-log(1 - the largest probability beside the right one), its mean. From logits (batch, labels), so that a sure mistake is a large loss and no infinite one.

    1 - p_j is the sum of the other probabilities: its logarithm is logsumexp over them.
    """
    others = logits.scatter(1, own[:, None], -torch.inf)
    left = logits.scatter(1, others.argmax(1, keepdim=True), -torch.inf)
    return (logits.logsumexp(1) - left.logsumexp(1)).mean()
