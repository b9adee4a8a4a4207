"""Spectral gate: bins that barely rise above the clip's own noise are turned down."""
import torch
from torch import Tensor

from ..registry import register
from .spectral import Weighted, decibels, in_range, named, power_of, quiet_power

USUAL = 6.0  # dB
CLOSED = 0.1  # what a closed gate still lets through: 20 dB down
SMOOTH = (5, 3)  # frames and bins: a gate opens and closes gradually


@register("defense", "gate")
class Gate(Weighted):
    """Spectral gating (in the manner of Sainburg et al. 2020, PLoS Comput. Biol. 16): bins less than `above` dB over the noise are turned down by 20 dB.

    The noise of each frequency is its mean power in the quietest tenth of the clip's frames. The gates are averaged over 5 frames and 3 bins. Not delayed.
    The gradient takes the gates as they stand for this clip: a threshold has none.

    Args:
        above: dB over the noise below which a bin is turned down, 0 to 40.
        sample_rate: Hz.

    Raises:
        ConfigError: another threshold.
        InputError: waveforms that are no floating (batch, time).
    """

    def __init__(self, above: float = USUAL, sample_rate: int = 16000):
        above = in_range(above, "gate", "a threshold", 0, 40)
        super().__init__(named("gate", above, USUAL), sample_rate)
        self.above = above

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Gate":
        """From "6", dB; "" for the default. Raises ConfigError."""
        return cls(decibels(text, "gate", USUAL), sample_rate)

    @torch.no_grad()
    def weights(self, waveforms: Tensor, spectra: Tensor) -> Tensor:
        powers = power_of(spectra)
        opened = (powers > quiet_power(powers, self.spectrum) * 10 ** (self.above / 10)).to(powers)
        around = tuple(size // 2 for size in SMOOTH)
        return CLOSED + (1 - CLOSED) * torch.nn.functional.avg_pool2d(opened, SMOOTH, 1, around, count_include_pad=False)
