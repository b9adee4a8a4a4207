"""The contract of an objective, and the batch that it is given."""
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Callable, Iterator

import torch
from torch import Tensor

from ..inner import Inner
from ..settings import Adversary


@dataclass
class Batch:
    """One process's share of a batch, and the adversary that it is learned under.

    Attributes:
        sound: (share, time) the clips before anything moves them, under noise where the config has any.
        targets: (share, labels) what should be heard: soft where there is a teacher, else the labels.
        hard: (share, labels) the labels alone; where a clip has none, its targets.
        hear: (n, time) and the n clips of the share that these are -> logits (n, labels) in training mode; gradients reach weights and sound.
        steps: that the adversary may spend.
        inner: the adversary of the last clips; None where all of the share stay clean.
    """

    sound: Tensor
    targets: Tensor
    hard: Tensor
    hear: Callable[[Tensor, Tensor], Tensor]
    steps: int = 0
    inner: Inner | None = None

    @property
    def clean(self) -> int:
        """How many of the first clips the adversary leaves alone."""
        return len(self.sound) - (0 if self.inner is None else len(self.inner))

    def logits(self, perturbation: Tensor | None) -> Tensor:
        """Logits (share, labels) of the clips, the attacked ones moved."""
        sound = self.sound if perturbation is None else torch.cat([self.sound[: self.clean], self.inner.sound + perturbation])
        return self.hear(sound, torch.arange(len(sound)))

    def both(self, perturbation: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits (share, labels) of all clips as they are and (attacked, labels) of the attacked ones, heard in one call: normalisation sees both kinds at once."""
        moved = self.sound[:0] if perturbation is None else self.inner.sound + perturbation
        logits = self.hear(torch.cat([self.sound, moved]), torch.cat([torch.arange(len(self.sound)), torch.arange(self.clean, len(self.sound))]))
        return logits[: len(self.sound)], logits[len(self.sound) :]


class Objective(ABC):
    """What the weights go down on. `losses` yields a mean over the share for each step of the optimiser; gradients are there when it is asked for the next.

    Attributes:
        name: in configs.
        inner: the loss that the adversary climbs, unless the config has another one.
        weighted: whether `beta` is part of it.
        guarded: whether it may end in catastrophic overfitting, so that the guard looks after it.
    """

    name: str
    inner = "soft"
    weighted = False
    guarded = False

    def __init__(self, settings: Adversary):
        self.settings = settings
        self.kind = settings.inner or ("margin" if settings.loss == "margin" else self.inner)

    def steps(self, epoch: int, strength: int = 0) -> int:
        """Inner steps in an epoch; `strength` is what the guard has come to, 0 for what the config says."""
        return self.settings.steps_at(epoch)

    def step_size(self, steps: int) -> float:
        """Of an inner step, in budgets."""
        return self.settings.step_size or min(1.0, 1.25 / steps)

    def perturbation(self, batch: Batch) -> Tensor | None:
        """What the adversary does to the attacked clips."""
        return None if batch.inner is None else batch.inner.perturbation(self.kind, batch.steps, self.step_size(batch.steps))

    @abstractmethod
    def losses(self, batch: Batch) -> Iterator[Tensor]:
        """A loss a step of the optimiser; each is a mean over the share."""
