"""Fewer bits a sample, with dither or without."""
import re

from torch import Tensor

from ..errors import ConfigError, shown
from ..randomness import uniform
from ..registry import register
from .base import Defense, check_waveforms


@register("defense", "bits")
class Bits(Defense):
    """Samples rounded to fewer bits (Yang et al. 2019, arXiv:1809.10875), with dither or without (Lipshitz, Wannamaker & Vanderkooy 1992).

    Dither is the sum of two uniform numbers, triangular within one step to each side, added before rounding and not taken away again: the error's mean and
    variance then do not depend on the clip. It is drawn anew for every sample and pass.

    The surrogate is the identity. Without dither this is the straight-through estimate; with dither it is the gradient of the mean over draws, exactly so
    as long as nothing reaches full scale.

    Args:
        bits: 2 to 15; a step is 2**(16 - bits) LSB of 16 bit.
        dither: add it.
        sample_rate: Hz.

    Raises:
        ConfigError: another number of bits.
        InputError: waveforms that are no floating (batch, time), or with dither as many generators as there are clips are missing.
    """

    def __init__(self, bits: int = 8, dither: bool = False, sample_rate: int = 16000):
        super().__init__()
        if bits not in range(2, 16):
            raise ConfigError(f"defense bits: expected 2 to 15 bits, got '{shown(bits)}'")
        self.bits, self.stochastic, self.sample_rate = int(bits), bool(dither), sample_rate
        self.name = f"bits:{self.bits}" + ":dither" * self.stochastic

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Bits":
        """From "8" or "8:dither". Raises ConfigError."""
        parts = re.fullmatch("([0-9]{1,2})(:dither)?", text)
        if parts is None:
            raise ConfigError(f"defense bits: expected bits:N or bits:N:dither, N from 2 to 15, got 'bits:{shown(text)}'")
        return cls(int(parts[1]), parts[2] is not None, sample_rate)

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        levels = 2 ** (self.bits - 1)  # to each side of zero
        scaled = waveforms * levels
        if self.stochastic:
            one, other = uniform(self.generators_for(waveforms), (2, waveforms.shape[1]), waveforms.device).to(scaled).unbind(1)
            scaled = scaled + (one - other)
        return scaled.round().clamp(-levels, levels - 1) / levels

    def surrogate(self, waveforms: Tensor) -> Tensor:
        return waveforms
