"""The inner maximisation: what the adversary of a batch does to its clips. It is the library's own gradient loop."""
import functools
from dataclasses import dataclass
from typing import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..attacks.base import Problem, padded_call
from ..attacks.gradient import last_iterate
from ..attacks.steps import Plain
from ..budgets.base import Bound
from ..goals import Misclassify

NEAR = 0.1  # of a random start: where a search for the largest divergence begins


@dataclass
class Inner:
    """The adversary of the attacked clips of a batch.

    Attributes:
        copy: makes the network in evaluation mode with folded normalisation, behind its defense, as it will be deployed.
        sound: (batch, time) the clips, under noise where the config has any; the budget is that of the clips without it.
        targets, hard: (batch, labels) see `Batch`.
        bound: the budget.
        start: (batch, time) a random perturbation.
        generators: one a clip, for random defenses.
    """

    copy: Callable[[], nn.Module]
    sound: Tensor
    targets: Tensor
    hard: Tensor
    bound: Bound
    start: Tensor
    generators: Sequence[torch.Generator]

    def __len__(self) -> int:
        return len(self.sound)

    @functools.cached_property
    def network(self) -> nn.Module:
        """The copy; its passes are no business of other processes."""
        return self.copy()

    def perturbation(self, kind: str, steps: int, step_size: float) -> Tensor:
        """All steps for every clip, up the loss that `kind` names: "soft" (cross-entropy with the targets; a teacher's doubts are the adversary's too: RSLAD),
        "hard" (with the label), "margin", or "kl" (the divergence from what the network hears in the clean clip: TRADES)."""
        problem = Problem(self.network, self.sound, Misclassify((self.hard if kind == "hard" else self.targets).argmax(1)), self.bound, self.generators)
        start = self.near() if kind == "kl" else self.start
        return last_iterate(problem, start, steps=steps, rule=Plain(step_size), loss=self.loss(kind))

    def loss(self, kind: str) -> str | Callable[[Tensor], Tensor]:
        """Of the logits (batch, labels), (batch,); or the name of a goal's loss."""
        if kind == "soft":
            return lambda logits: cross_entropy(logits, self.targets, reduction="none")
        if kind == "kl":
            with torch.no_grad():
                clean = padded_call(self.network, self.sound, self.generators)
            return lambda logits: divergence(clean, logits)
        return "margin" if kind == "margin" else "cross_entropy"

    def near(self) -> Tensor:
        """A start close to the clips; a whole random start where 16 bit would round that to nothing, since on the clip itself the divergence has no gradient."""
        little = NEAR * self.start
        return torch.where(self.bound.rough(little).any(1, keepdim=True), little, self.start)

    def stepped(self, perturbation: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        """The perturbation a step up a gradient that is there already."""
        return Plain(step_size).advance(self.bound, perturbation, gradient, gradient.new_zeros(len(gradient)))


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """KL(softmax(logits) || softmax(others)) (batch,), of logits (batch, labels). Both carry gradients."""
    log = logits.log_softmax(1)
    return (log.exp() * (log - others.log_softmax(1))).sum(1)
