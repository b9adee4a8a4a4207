"""What should be heard in a batch: the labels, or what teachers hear in the very same view."""
from typing import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from .examples import Examples
from .settings import TrainingConfig
from .teaching import soft_targets
from .views import Views


class Targets:
    """Targets of batches.

    Args:
        config: of the run.
        train: the training clips.
        views: their views.
        answer: waveforms (batch, time) -> the teachers' log-probabilities (batch, labels) on the CPU; None without teachers.
        table: their answers (views, clips, labels) where the views are fixed.
    """

    def __init__(self, config: TrainingConfig, train: Examples, views: Views, answer: Callable[[Tensor], Tensor] | None = None, table: np.ndarray | None = None):
        self.settings, self.smoothing, self.views, self.answer, self.table = config.teaching, config.label_smoothing, views, answer, table
        self.count = len(train.labels)
        self.classes, self.silence, self.unlabelled = map(torch.from_numpy, (train.classes, train.silence, train.unlabelled))

    def __call__(self, indices: np.ndarray, view: int, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """(targets, hard labels), both (batch, labels); a clip that has no label of its own has its targets for both."""
        hard = hard_targets(self.classes[indices], self.count, self.smoothing)
        if self.answer is None:
            return hard, hard
        heard = self.answer(waveforms) if self.table is None else torch.from_numpy(self.table[view, indices]).float()
        alone = self.unlabelled[indices] | torch.from_numpy(self.views.mixed(indices, view))
        targets = soft_targets(heard, hard, self.silence[indices], self.settings, alone)
        return targets, torch.where(alone[:, None], targets, hard)


def hard_targets(classes: Tensor, count: int, smoothing: float = 0.0) -> Tensor:
    """One-hot targets (batch, count), smoothed."""
    return one_hot(classes, count).float() * (1 - smoothing) + smoothing / count
