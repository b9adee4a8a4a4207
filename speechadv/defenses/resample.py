"""Resampling down and up again: what lies above half of the lower rate is gone."""
import math

import torch
from torch import Tensor

from ..audio import to_grid
from ..errors import ConfigError, shown
from ..registry import register
from .base import Defense, check_waveforms, straight_through, whole_number
from .filters import WIDEST, centred, design

STEP = 500  # Hz: with rates in such steps the ratio of the two is one of small numbers


@register("defense", "resample")
class Resample(Defense):
    """To a lower sample rate and back (Yang et al. 2019, arXiv:1809.10875: down-sampling; Hussain et al. 2021, arXiv:2103.03344: down-up sampling).

    Between the samples zeros, a filter, and every so many samples kept, both ways; the filter is the design of `bandpass`, at least 60 dB down from half of the lower
    rate on and within 0.01 dB of 1 up to 100 Hz below, centred: no delay. Linear, and the gradient is its own, passed straight through the rounding to 16 bit.
    Samples beyond the clip's ends count as zero.

    Args:
        rate: Hz of the lower rate, a multiple of 500, from 1000 to below `sample_rate`.
        sample_rate: Hz.

    Raises:
        ConfigError: another rate.
        InputError: waveforms that are no floating (batch, time).
    """

    def __init__(self, rate: int = 8000, sample_rate: int = 16000):
        super().__init__()
        if isinstance(rate, bool) or not isinstance(rate, int) or rate % STEP or not 2 * STEP <= rate < sample_rate:
            raise ConfigError(f"defense resample: expected a multiple of {STEP} Hz from {2 * STEP} to below {sample_rate}, got '{shown(rate)}'")
        self.rate, self.sample_rate, self.name = rate, sample_rate, f"resample:{rate}"
        common = math.gcd(rate, sample_rate)
        self.up, self.down = rate // common, sample_rate // common  # the rate at which both meet is `up` times the clip's, `down` times the lower one
        edge = (rate - WIDEST) / 2
        self.register_buffer("kernel", design(-edge, edge, WIDEST, sample_rate * self.up), persistent=False)

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Resample":
        """From "8000", Hz. Raises ConfigError."""
        return cls(whole_number(text, "resample", "resample:HZ, such as resample:8000"), sample_rate)

    def resampled(self, waveforms: Tensor) -> Tensor:
        """Down and up, before rounding: (batch, time) -> (batch, time), linear in the input."""
        low = centred(spread(waveforms.double(), self.up), self.kernel)[:, :: self.down]
        return centred(spread(low, self.down), self.kernel)[:, : waveforms.shape[1] * self.up : self.up].to(waveforms.dtype)

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        heard = self.resampled(waveforms)
        return straight_through(to_grid(heard.detach()), heard)


def spread(waveforms: Tensor, times: int) -> Tensor:
    """(batch, time) -> (batch, time * times): each sample, so many times as loud, and zeros up to the next one."""
    return torch.nn.functional.pad(waveforms[..., None] * times, (0, times - 1)).flatten(1)
