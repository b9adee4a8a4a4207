"""Disagreement between transforms: what a network hears before and after a change that leaves speech as it is."""
from typing import Sequence

import torch
from torch import Tensor, nn

from ..defenses import Defended, defense_name, parse_defense
from ..errors import ConfigError, shown
from ..registry import register
from .base import Detector, divergence

DEFAULT = ("bandpass:300-3400", "mp3:16")


@register("detector", "disagreement")
class Disagreement(Detector):
    """The largest distance between the network's answer to a clip and its answers to the clip as it sounds behind each of some transforms.

    WaveGuard (Hussain et al. 2021, arXiv:2103.03344, section 4) compares transcripts before and after one transform by their character error rate. A
    spotter says one word, so its whole answer is compared here, by the divergence of the two distributions; of several transforms the largest distance counts,
    as in feature squeezing (Xu et al. 2018, arXiv:1704.01155, section 5.2). The gradient goes through the surrogate of each transform.

    Args:
        transforms: specifications of defenses, each by itself, or several joined by "+".
        sample_rate: Hz.

    Raises:
        ConfigError: no transform, "none", or a specification that is none.
        InputError: waveforms that are no floating (batch, time).
    """

    def __init__(self, transforms: Sequence[str] = DEFAULT, sample_rate: int = 16000):
        super().__init__()
        chains = [parse_defense(spec, sample_rate) for spec in transforms]
        for spec, chain in zip(transforms, chains):
            if not chain:
                raise ConfigError(f"detector disagreement: expected transforms that change something, got '{shown(spec)}'")
        if not chains:
            raise ConfigError("detector disagreement: expected disagreement:SPEC[,SPEC...] with specifications of defenses, such as disagreement:mp3:16, got none")
        self.chains, self.sample_rate = nn.ModuleList(nn.ModuleList(chain) for chain in chains), sample_rate
        self.name = "disagreement:" + ",".join(map(defense_name, chains))

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Disagreement":
        """From "bandpass:300-3400,mp3:16"; without anything the two of `DEFAULT`. Raises ConfigError."""
        return cls([part.strip() for part in text.split(",")] if text else DEFAULT, sample_rate)

    @property
    def stochastic(self) -> bool:
        """Whether one of the transforms draws: two calls may differ then."""
        return any(defense.stochastic for chain in self.chains for defense in chain)

    def score(self, model: nn.Module, waveforms: Tensor, logits: Tensor) -> Tensor:
        behind = (Defended(model, *chain)(waveforms) for chain in self.chains)
        return torch.stack([divergence(logits, other) for other in behind]).amax(0)
