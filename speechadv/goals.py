"""What an attack wants: any other label than the right one, or one label in particular."""
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .errors import ConfigError

LOSSES = ("cross_entropy", "margin")


class Goal(ABC):
    """A goal for a batch of clips. `labels` (batch,) int64 are the classes that it is about."""

    def __init__(self, labels: Tensor):
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor) -> "Goal":
        """The goal of the clips in `index` (int64 or bool)."""
        return type(self)(self.labels[index])

    @abstractmethod
    def loss(self, logits: Tensor, kind: str = "cross_entropy") -> Tensor:
        """(batch, classes) -> (batch,), rises towards the goal. With kind "margin" it is positive exactly where the goal is reached."""

    @abstractmethod
    def reached(self, logits: Tensor) -> Tensor:
        """(batch, classes) -> (batch,) bool."""

    def _margin(self, logits: Tensor) -> Tensor:
        """Logit of the class minus the largest other one, (batch,)."""
        own = logits.gather(1, self.labels[:, None]).squeeze(1)
        others = logits.scatter(1, self.labels[:, None], -torch.inf)
        return own - others.amax(1)


def check_loss(kind: str) -> str:
    """The loss's name. Raises ConfigError for an unknown one."""
    if kind not in LOSSES:
        raise ConfigError(f"loss: expected one of {', '.join(LOSSES)}, got '{kind}'")
    return kind


class Misclassify(Goal):
    """Untargeted: the network hears anything but the right label."""

    def loss(self, logits: Tensor, kind: str = "cross_entropy") -> Tensor:
        return cross_entropy(logits, self.labels, reduction="none") if kind == "cross_entropy" else -self._margin(logits)

    def reached(self, logits: Tensor) -> Tensor:
        return logits.argmax(1) != self.labels


class Target(Goal):
    """Targeted: the network hears the target label."""

    def loss(self, logits: Tensor, kind: str = "cross_entropy") -> Tensor:
        return -cross_entropy(logits, self.labels, reduction="none") if kind == "cross_entropy" else self._margin(logits)

    def reached(self, logits: Tensor) -> Tensor:
        return logits.argmax(1) == self.labels


class Towards(Misclassify):
    """Untargeted, but along one way: away from the right label to the class `towards` (batch,). Reached by any wrong label.

    The search of a targeted APGD (Croce & Hein 2020): different ways out of the right class are tried one after the other.
    """

    def __init__(self, labels: Tensor, towards: Tensor):
        super().__init__(labels)
        self.towards = towards

    def select(self, index: Tensor) -> "Towards":
        return Towards(self.labels[index], self.towards[index])

    def loss(self, logits: Tensor, kind: str = "margin") -> Tensor:
        """Logit of the class to go to minus that of the right one, whatever the kind."""
        both = logits.gather(1, torch.stack([self.towards, self.labels], 1))
        return both[:, 0] - both[:, 1]
