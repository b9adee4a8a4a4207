"""Resampling down and up again: what lies above half of the lower rate is gone."""
import re

import torch
from torch import Tensor
from torchaudio.transforms import Resample as Kernel

from ..audio import to_grid
from ..errors import ConfigError, shown
from ..registry import register
from .base import Defense, check_waveforms, straight_through

LEAST, STEP = 1000, 25  # Hz; rates in steps that keep the ratio of the two a small one
ZEROS, ROLLOFF, BETA = 64, 0.9475937167399596, 14.769656459379492  # of the windowed sinc: what torchaudio documents as resampy's "kaiser_best"


@register("defense", "resample")
class Resample(Defense):
    """To a lower sample rate and back (Yang et al. 2019, arXiv:1809.10875: down-sampling; Hussain et al. 2021, arXiv:2103.03344: down-up sampling).

    Both ways by a windowed sinc of 64 zero crossings, centred on the sample: no delay. Linear, and the gradient is its own, passed straight through the rounding
    to 16 bit. Samples beyond the clip's ends count as zero.

    Args:
        rate: Hz of the lower rate, a multiple of 25, from 1000 to below `sample_rate`.
        sample_rate: Hz.

    Raises:
        ConfigError: another rate.
        InputError: waveforms that are no floating (batch, time).
    """

    def __init__(self, rate: int = 8000, sample_rate: int = 16000):
        super().__init__()
        if isinstance(rate, bool) or not isinstance(rate, int) or not LEAST <= rate < sample_rate or rate % STEP:
            raise ConfigError(f"defense resample: expected a multiple of {STEP} Hz from {LEAST} to below {sample_rate}, got '{shown(rate)}'")
        self.rate, self.sample_rate, self.name = rate, sample_rate, f"resample:{rate}"
        # In float64: in float32 sums round differently in a batch than alone.
        options = {"resampling_method": "sinc_interp_kaiser", "lowpass_filter_width": ZEROS, "rolloff": ROLLOFF, "beta": BETA, "dtype": torch.float64}
        self.down, self.up = Kernel(sample_rate, rate, **options), Kernel(rate, sample_rate, **options)

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Resample":
        """From "8000", Hz. Raises ConfigError."""
        if not re.fullmatch("[0-9]{1,9}", text):
            raise ConfigError(f"defense resample: expected resample:HZ, such as resample:8000, got 'resample:{shown(text)}'")
        return cls(int(text), sample_rate)

    def resampled(self, waveforms: Tensor) -> Tensor:
        """Down and up, before rounding: (batch, time) -> (batch, time), linear in the input."""
        return self.up(self.down(waveforms.double()))[:, : waveforms.shape[1]].to(waveforms.dtype)

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        heard = self.resampled(waveforms)
        return straight_through(to_grid(heard.detach()), heard)
