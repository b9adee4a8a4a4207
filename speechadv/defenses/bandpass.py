"""Band-pass filter: linear phase, no delay, differentiable."""
import math
import re

import scipy.fft
import torch
from torch import Tensor

from ..audio import to_grid
from ..errors import ConfigError, shown
from ..registry import register
from .base import Defense, check_waveforms, straight_through

ATTENUATION = 66.0  # dB, of each edge by itself: where the ripples of both edges and of their mirror images add up, 60 dB are left
WIDEST, NARROWEST = 100.0, 20.0  # Hz, transition band


def kaiser_beta(attenuation: float) -> float:
    """Shape of the Kaiser window for a stop band of `attenuation` dB, above 50 (Kaiser 1974; Oppenheim & Schafer 2010, eq. 7.75)."""
    return 0.1102 * (attenuation - 8.7)


def kaiser_taps(attenuation: float, transition: float, sample_rate: int) -> int:
    """Odd number of taps for a transition band of `transition` Hz (Oppenheim & Schafer 2010, eq. 7.76)."""
    order = (attenuation - 7.95) / (2.285 * 2 * math.pi * transition / sample_rate)
    return 2 * math.ceil(order / 2) + 1


def design(low: float, high: float, taps: int, sample_rate: int) -> Tensor:
    """Windowed-sinc band-pass, (taps,) float64, symmetric, with gain 1 in the middle of the band; 6 dB down at `low` and `high` Hz."""
    time = torch.arange(taps, dtype=torch.float64) - taps // 2
    ideal = sum(sign * 2 * edge / sample_rate * torch.sinc(2 * edge / sample_rate * time) for sign, edge in ((1, high), (-1, low)))
    kernel = ideal * torch.kaiser_window(taps, periodic=False, beta=kaiser_beta(ATTENUATION), dtype=torch.float64)
    return kernel / (kernel * torch.cos(math.pi * (low + high) / sample_rate * time)).sum()


def fast_length(minimum: int) -> int:
    """A transform length of at least `minimum` with only small factors, enough of them 2: odd lengths take twice the time."""
    return 32 * scipy.fft.next_fast_len(-(-minimum // 32), real=True)


def edge(value: float) -> float:
    """A band edge to a millionth of a Hz. Raises ConfigError for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"defense bandpass: expected band edges in Hz, got '{shown(value)}'")
    return round(float(value), 6)


def plain(number: float) -> str:
    """Shortest decimal without exponent or trailing zero: 100, 62.5."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


@register("defense", "bandpass")
class BandPass(Defense):
    """Linear-phase FIR band-pass with its taps centred on the sample, so that nothing is delayed.

    The gain is within 0.01 dB of 1 from `low + transition / 2` to `high - transition / 2`, 6 dB down at `low` and `high`, and at least
    60 dB down below `low - transition / 2` and above `high + transition / 2`. `transition` is 100 Hz, or less where the band leaves less room
    (`low`, `high - low`, distance to Nyquist), but never under 20 Hz. Samples beyond the clip's ends count as zero. The output is rounded to
    16 bit; the gradient is that of the filter, passed straight through the rounding.

    Args:
        low, high: edges in Hz, 0 < low < high < sample_rate / 2, at least 20 Hz apart; kept to a millionth of a Hz.
        sample_rate: Hz.

    Raises:
        ConfigError: edges that are not in this order or too close.
        InputError: waveforms that are no floating (batch, time).
    """

    def __init__(self, low: float = 100.0, high: float = 4000.0, sample_rate: int = 16000):
        super().__init__()
        low, high = edge(low), edge(high)
        if not 0 < low < high < sample_rate / 2:
            raise ConfigError(f"defense bandpass: expected 0 < LO < HI < {sample_rate / 2:g} Hz, got LO = {low:g} and HI = {high:g}")
        if high - low < NARROWEST:
            raise ConfigError(f"defense bandpass: expected HI at least {NARROWEST:g} Hz above LO, got LO = {low:g} and HI = {high:g}")
        self.low, self.high, self.sample_rate = low, high, sample_rate
        self.transition = max(NARROWEST, min(WIDEST, low, high - low, sample_rate / 2 - high))
        self.name = f"bandpass:{plain(low)}-{plain(high)}"
        taps = kaiser_taps(ATTENUATION, self.transition, sample_rate)
        self.register_buffer("kernel", design(low, high, taps, sample_rate).float(), persistent=False)

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "BandPass":
        """From "100-4000", Hz. Raises ConfigError."""
        number = r"([0-9]{1,9}(?:\.[0-9]{1,6})?)"
        edges = re.fullmatch(f"{number}-{number}", text)
        if edges is None:
            raise ConfigError(f"defense bandpass: expected bandpass:LO-HI in Hz, such as bandpass:100-4000, got 'bandpass:{shown(text)}'")
        return cls(float(edges[1]), float(edges[2]), sample_rate)

    def filtered(self, waveforms: Tensor) -> Tensor:
        """The filter alone, before rounding: (batch, time) -> (batch, time), linear in the input.

        In float64: in float32 a transform rounds differently in a batch than alone, and one sample in 4,000 then lands on the next step of 16 bit.
        """
        time, taps = waveforms.shape[-1], len(self.kernel)
        size = fast_length(time + taps - 1)
        spectrum = torch.fft.rfft(waveforms.double(), size) * torch.fft.rfft(self.kernel.double(), size)
        return torch.fft.irfft(spectrum, size)[..., taps // 2 : taps // 2 + time].to(waveforms.dtype)

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        filtered = self.filtered(waveforms)
        return straight_through(to_grid(filtered.detach()), filtered)

    def extra_repr(self) -> str:
        return f"low={self.low:g}, high={self.high:g}, taps={len(self.kernel)}"
