"""Mel inversion: each frame's power known in mel bands alone, with the phase of the clip."""
import torchaudio.functional
from torch import Tensor

from ..errors import ConfigError, shown
from ..registry import register
from .base import whole_number
from .spectral import Weighted, power_of

FEWEST, MOST = 10, 100  # with more, low bands would hold no bin of 31.25 Hz
NOISE = 1e-12  # power of a bin that rounding to 16 bit makes by itself


@register("defense", "mel")
class Mel(Weighted):
    """To mel bands and back (Hussain et al. 2021, arXiv:2103.03344: mel extraction and inversion; Mehlman et al. 2022, arXiv:2203.15283).

    The power of each frame (512 samples, every 128) is averaged in triangular bands (HTK scale, 0 Hz to half the sample rate); each bin then gets the mean of its
    bands, weighted by their triangles, and keeps its own phase. So the fine structure within a band is lost, pitch above all. The logarithm of the bands would
    be undone by the way back and is not taken. Vocoders invent a phase instead; this one does not, and is not delayed. The gradient is exact.

    Args:
        bands: 10 to 100.
        sample_rate: Hz.

    Raises:
        ConfigError: another number of bands.
        InputError: waveforms that are no floating (batch, time).
    """

    def __init__(self, bands: int = 40, sample_rate: int = 16000):
        if bands not in range(FEWEST, MOST + 1):
            raise ConfigError(f"defense mel: expected {FEWEST} to {MOST} bands, got '{shown(bands)}'")
        super().__init__(f"mel:{int(bands)}", sample_rate)
        self.bands = int(bands)
        bank = torchaudio.functional.melscale_fbanks(self.spectrum.bins, 0.0, sample_rate / 2, self.bands, sample_rate, norm=None, mel_scale="htk").double()
        into = bank / bank.sum(0)  # a band is a mean of its bins,
        back = bank / bank.sum(1, keepdim=True).clamp(min=1e-9)  # and a bin one of its bands; the two outermost bins have none
        self.register_buffer("smoothing", into @ back.T, persistent=False)

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Mel":
        """From "40". Raises ConfigError."""
        return cls(whole_number(text, "mel", f"mel:BANDS, {FEWEST} to {MOST}"), sample_rate)

    def weights(self, waveforms: Tensor, spectra: Tensor) -> Tensor:
        powers = power_of(spectra)
        return ((powers @ self.smoothing + NOISE) / (powers + NOISE)).sqrt()
