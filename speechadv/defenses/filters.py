"""What linear filters share: a windowed-sinc design with its taps centred on the sample, and a gradient that passes the rounding."""
import math

import scipy.fft
import torch
from torch import Tensor

from ..audio import to_grid
from ..errors import ConfigError, shown
from .base import Defense, check_waveforms, straight_through

ATTENUATION = 66.0  # dB, of each edge by itself: where the ripples of both edges and of their mirror images add up, 60 dB are left
WIDEST, NARROWEST = 100.0, 20.0  # Hz, transition band
NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,6})?)"  # of a specification


def kaiser_beta(attenuation: float) -> float:
    """Shape of the Kaiser window for a stop band of `attenuation` dB, above 50 (Kaiser 1974; Oppenheim & Schafer 2010, eq. 7.75)."""
    return 0.1102 * (attenuation - 8.7)


def kaiser_taps(attenuation: float, transition: float, sample_rate: int) -> int:
    """Odd number of taps for a transition band of `transition` Hz (Oppenheim & Schafer 2010, eq. 7.76)."""
    order = (attenuation - 7.95) / (2.285 * 2 * math.pi * transition / sample_rate)
    return 2 * math.ceil(order / 2) + 1


def transition_of(*room: float) -> float:
    """The width of an edge in Hz where there is so much room for it: 100, or less, but at least 20."""
    return max(NARROWEST, min(WIDEST, *room))


def design(low: float, high: float, transition: float, sample_rate: int) -> Tensor:
    """Windowed-sinc band-pass, (taps,) float64, symmetric, with gain 1 in the middle of the band; 6 dB down at `low` and `high` Hz.

    From -HZ to HZ it is a low-pass, with gain 1 at 0 Hz.
    """
    taps = kaiser_taps(ATTENUATION, transition, sample_rate)
    time = torch.arange(taps, dtype=torch.float64) - taps // 2
    ideal = sum(sign * 2 * edge / sample_rate * torch.sinc(2 * edge / sample_rate * time) for sign, edge in ((1, high), (-1, low)))
    kernel = ideal * torch.kaiser_window(taps, periodic=False, beta=kaiser_beta(ATTENUATION), dtype=torch.float64)
    return kernel / (kernel * torch.cos(math.pi * (low + high) / sample_rate * time)).sum()


def without(kernel: Tensor) -> Tensor:
    """The filter that passes what another one stops, and stops what it passes."""
    rest = -kernel
    rest[len(kernel) // 2] += 1
    return rest


def centred(waveforms: Tensor, kernel: Tensor) -> Tensor:
    """(batch, time) filtered by (taps,), or clip by clip by (batch, taps), an odd number of them; samples beyond the ends count as zero. Not delayed.

    In float64: in float32 a transform rounds differently in a batch than alone, and one sample in 4,000 then lands on the next step of 16 bit.
    """
    time, taps = waveforms.shape[-1], kernel.shape[-1]
    size = fast_length(time + taps - 1)
    spectrum = torch.fft.rfft(waveforms.double(), size) * torch.fft.rfft(kernel.double(), size)
    return torch.fft.irfft(spectrum, size)[..., taps // 2 : taps // 2 + time].to(waveforms.dtype)


def fast_length(minimum: int) -> int:
    """A transform length of at least `minimum` with only small factors, enough of them 2: odd lengths take twice the time."""
    return 32 * scipy.fft.next_fast_len(-(-minimum // 32), real=True)


def hertz(value: float, what: str) -> float:
    """A frequency to a millionth of a Hz. Raises ConfigError for what is no number; `what` says where, "defense bandpass: expected band edges"."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{what} in Hz, got '{shown(value)}'")
    return round(float(value), 6)


def plain(number: float) -> str:
    """Shortest decimal without exponent or trailing zero: 100, 62.5."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


class LinearPhase(Defense):
    """A filter with symmetric taps. The output is rounded to 16 bit; the gradient is the filter's, passed straight through the rounding.

    Args:
        name: the specification.
        kernel: (taps,), an odd number of them.
        sample_rate: Hz.
    """

    def __init__(self, name: str, kernel: Tensor, sample_rate: int):
        super().__init__()
        self.name, self.sample_rate = name, sample_rate
        self.register_buffer("kernel", kernel.float(), persistent=False)

    def filtered(self, waveforms: Tensor) -> Tensor:
        """The filter alone, before rounding: (batch, time) -> (batch, time), linear in the input."""
        return centred(waveforms, self.kernel)

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        filtered = self.filtered(waveforms)
        return straight_through(to_grid(filtered.detach()), filtered)

    def extra_repr(self) -> str:
        return f"{self.name}, taps={len(self.kernel)}"
