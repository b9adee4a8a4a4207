"""Random filter: an equaliser whose sliders are drawn."""
import torch
from torch import Tensor

from ..audio import to_grid
from ..randomness import uniform
from ..registry import register
from .base import Defense, check_waveforms, straight_through
from .filters import centred
from .spectral import decibels, in_range, named

USUAL = 10.0  # dB
SLIDERS = 12  # equally spaced on the mel scale from 0 Hz to half the sample rate
SIZE = 512  # points of the response


@register("defense", "randfilter")
class RandFilter(Defense):
    """A linear-phase FIR filter drawn anew for every clip and pass (Raff et al. 2019, CVPR: a barrage of random transforms, of which it is one for sound).

    Twelve gains, equally spaced on the mel scale, uniform in dB; between them straight lines; 511 taps under a Hann window, centred: no delay. Samples beyond the
    clip's ends count as zero. The gradient is that of the filter that was drawn; attacks average over draws.

    Args:
        range_db: the largest gain, up and down, 1 to 40 dB.
        sample_rate: Hz.

    Raises:
        ConfigError: another range.
        InputError: waveforms that are no floating (batch, time), or as many generators as there are clips are missing.
    """

    stochastic = True

    def __init__(self, range_db: float = USUAL, sample_rate: int = 16000):
        super().__init__()
        self.range_db, self.sample_rate = in_range(range_db, "randfilter", "a range", 1, 40), sample_rate
        self.name = named("randfilter", self.range_db, USUAL)
        hertz = torch.arange(SIZE // 2 + 1, dtype=torch.float64) * sample_rate / SIZE
        place = (1 + hertz / 700).log10() / (1 + hertz[-1] / 700).log10() * (SLIDERS - 1)  # on the mel scale (HTK), in sliders
        # Straight lines: a bin's gain in dB is a mean of its two neighbouring sliders'.
        share = (1 - (place[None] - torch.arange(SLIDERS, dtype=torch.float64)[:, None]).abs()).clamp(min=0)
        self.register_buffer("share", share, persistent=False)  # (sliders, bins)

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "RandFilter":
        """From "10", dB; "" for the default. Raises ConfigError."""
        return cls(decibels(text, "randfilter", USUAL), sample_rate)

    def kernels(self, drawn: Tensor) -> Tensor:
        """(batch, sliders) in [0, 1) -> (batch, 511) float64."""
        response = 10 ** ((drawn.double() * 2 - 1) * self.range_db @ self.share / 20)
        kernel = torch.fft.irfft(response, SIZE).roll(SIZE // 2 - 1, 1)[:, : SIZE - 1]
        return kernel * torch.hann_window(SIZE + 1, periodic=False, dtype=torch.float64, device=kernel.device)[1:-1]

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        heard = centred(waveforms, self.kernels(uniform(self.generators_for(waveforms), (SLIDERS,), waveforms.device)))
        return straight_through(to_grid(heard.detach()), heard)
