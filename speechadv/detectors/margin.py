"""Margin statistics: how sure the network is of what it hears, and how well that stands up to a little noise."""
import torch
from torch import Tensor, nn

from ..errors import ConfigError, shown
from ..randomness import normal
from ..registry import register
from .base import Detector, gap, heard_again, number, options, whole

STATISTICS = ("gap", "sure", "softmax", "noise")
EXAMPLE = "margin, margin:sure, margin:softmax or margin:noise=0.002,copies=4"


@register("detector", "margin")
class Margin(Detector):
    """One of four statistics of the network's answer:

    - "gap": minus the difference between the largest logit and the second. Clips that an attack
      left at the edge of the decision have a small one.
    - "sure": that difference itself. An attack that spends its whole budget may leave the network surer of the wrong word than it ever is of a right one.
    - "softmax": minus the logarithm of the largest probability (the maximum softmax of Hendrycks & Gimpel 2017, arXiv:1610.02136, in a form that does not
      saturate).
    - "noise": by how much the difference between the heard label's logit and the largest other one falls under white Gaussian noise, mean over some noisy
      copies (after Roth et al. 2019, arXiv:1902.04818). What an attack has built is often less stable than speech.

    Args:
        statistic: "gap", "sure", "softmax" or "noise".
        noise: of "noise", standard deviation as a fraction of full scale.
        copies: of "noise", noisy copies of each clip.
        sample_rate: Hz.

    Raises:
        ConfigError: an unknown statistic or a value out of range.
        InputError: waveforms that are no floating (batch, time), or a model with a single label.
    """

    def __init__(self, statistic: str = "gap", noise: float = 0.002, copies: int = 4, sample_rate: int = 16000):
        super().__init__()
        if statistic not in STATISTICS:
            raise ConfigError(f"detector margin: statistic: expected one of {', '.join(STATISTICS)}, got '{shown(statistic)}'")
        self.statistic, self.sample_rate = statistic, sample_rate
        self.noise, self.copies = number(noise, "margin", "noise", 1e-6, 1), whole(copies, "margin", "copies", 1, 256)
        self.name = f"margin:noise={self.noise:.9f}".rstrip("0").rstrip(".") + f",copies={self.copies}" if self.stochastic else f"margin:{statistic}"

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Margin":
        """From "", "gap", "sure", "softmax" or "noise=0.002,copies=4". Raises ConfigError."""
        if text in ("", *STATISTICS[:-1]):
            return cls(text or "gap", sample_rate=sample_rate)
        found = options(text, "margin", {"noise": 0.0, "copies": 4.0}, EXAMPLE)
        if not found["noise"]:
            raise ConfigError(f"detector margin: expected {EXAMPLE}, got 'margin:{shown(text)}'")
        return cls("noise", **found, sample_rate=sample_rate)

    @property
    def stochastic(self) -> bool:
        """Whether it draws noise."""
        return self.statistic == "noise"

    def score(self, model: nn.Module, waveforms: Tensor, logits: Tensor) -> Tensor:
        heard = logits.argmax(1)
        if self.statistic in ("gap", "sure"):
            return gap(logits, heard) * (1 if self.statistic == "sure" else -1)
        if self.statistic == "softmax":
            others = logits.scatter(1, heard[:, None], -torch.inf) - logits.gather(1, heard[:, None])
            return others.exp().sum(1).log1p()
        noise = normal(self.generators_for(waveforms), (self.copies, waveforms.shape[1]), waveforms.device)
        with heard_again(model, self.copies, by_clip=True):
            noisy = model((waveforms[:, None] + self.noise * noise).flatten(0, 1)).unflatten(0, (len(waveforms), self.copies))
        return gap(logits, heard) - torch.stack([gap(noisy[:, copy], heard) for copy in range(self.copies)]).mean(0)
