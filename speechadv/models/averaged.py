"""Several classifiers as one, whose logits are the mean of theirs: the source of a transfer attack."""
from typing import Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError, shown


class Averaged(nn.Module):
    """The mean of the logits of several classifiers (Liu et al. 2017, arXiv:1611.02770, as fused by Dong et al. 2018, arXiv:1710.06081, section 3.3).

    Args:
        models: classifiers of the same words, in whatever order; the first one's order is kept.

    Raises:
        ConfigError: other words or another sample rate than the first one's.
    """

    def __init__(self, models: Sequence[nn.Module]):
        super().__init__()
        self.models, self.labels, self.sample_rate = nn.ModuleList(models), tuple(models[0].labels), models[0].sample_rate
        for model in models:
            if sorted(model.labels) != sorted(self.labels) or model.sample_rate != self.sample_rate:
                raise ConfigError(f"source: expected networks of the same words and rate, got {shown(', '.join(model.labels))} at {model.sample_rate} Hz "
                                  f"beside {shown(', '.join(self.labels))} at {self.sample_rate} Hz")
        self.places = [[list(model.labels).index(label) for label in self.labels] for model in models]
        self.training = models[0].training

    def forward(self, waveforms: Tensor) -> Tensor:
        """(batch, time) -> mean logits (batch, classes)."""
        return torch.stack([model(waveforms)[:, place] for model, place in zip(self.models, self.places)]).mean(0)
