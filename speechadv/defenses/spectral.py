"""What defenses share that weigh the time-frequency bins of a clip: analysis, weights found in the clip itself, synthesis without delay."""
import re

from torch import Tensor

from ..audio import to_grid
from ..errors import ConfigError, shown
from ..masking.spectrum import Spectrum, power
from .base import Defense, check_waveforms, straight_through

QUIET_SHARE = 0.1  # of the frames, the quietest ones: what is heard there counts as noise
TINY = 1e-20  # power, so that digital silence is no division by zero


class Weighted(Defense):
    """Multiplies each bin of a short-time spectrum (512 samples, every 128, Hann) by a weight, and takes the waveform nearest to that. Authors write `weights`.

    In float64: in float32 a transform rounds differently in a batch than alone. The gradient is that of the whole, passed straight through the rounding to 16 bit.

    Args:
        name: the specification.
        sample_rate: Hz.
    """

    def __init__(self, name: str, sample_rate: int):
        super().__init__()
        self.name, self.sample_rate, self.spectrum = name, sample_rate, Spectrum()

    def weights(self, waveforms: Tensor, spectra: Tensor) -> Tensor:
        """What each bin is multiplied by: (batch, time) and complex (batch, frames, bins) -> (batch, frames, bins) real."""
        raise NotImplementedError(f"{type(self).__name__}.weights")

    def weighted(self, waveforms: Tensor) -> Tensor:
        """Before rounding: float64 (batch, time) -> the same shape."""
        spectra = self.spectrum.analyse(waveforms)
        return self.spectrum.synthesise(spectra * self.weights(waveforms, spectra), waveforms.shape[1])

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        heard = self.weighted(waveforms.double()).to(waveforms.dtype)
        return straight_through(to_grid(heard.detach()), heard)


def quiet_power(powers: Tensor, spectrum: Spectrum) -> Tensor:
    """(batch, 1, bins): mean power of the quietest tenth of a clip's frames (batch, frames, bins).

    Of the frames that lie within the clip as a whole; of a clip so short that none does, of all.
    """
    skirt = spectrum.n_fft // spectrum.hop - 1  # frames at each end that reach beyond the clip
    inside = powers[:, skirt:-skirt] if powers.shape[1] > 2 * skirt else powers
    count = max(1, round(QUIET_SHARE * inside.shape[1]))
    quietest = inside.detach().sum(2).topk(count, dim=1, largest=False).indices
    return inside.gather(1, quietest[..., None].expand(-1, -1, inside.shape[2])).mean(1, keepdim=True)


def decibels(text: str, name: str, usual: float) -> float:
    """The number of dB that follows the colon in "NAME" or "NAME:DB". Raises ConfigError."""
    if text and not re.fullmatch(r"-?[0-9]{1,4}(\.[0-9]{1,3})?", text):
        raise ConfigError(f"defense {name}: expected {name} or {name}:DB, such as {name}:{decimal(usual)}, got '{name}:{shown(text)}'")
    return float(text) if text else usual


def in_range(value: float, name: str, what: str, low: float, high: float) -> float:
    """A number of dB to a thousandth. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f"defense {name}: expected {what} of {low:g} to {high:g} dB, got '{shown(value)}'")
    return round(float(value), 3) + 0.0  # no "-0"


def named(name: str, value: float, usual: float) -> str:
    """The specification: the name alone where the value is the usual one."""
    return name if value == usual else f"{name}:{decimal(value)}"


def decimal(value: float) -> str:
    """Shortest decimal: 6, -2.5."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def power_of(spectra: Tensor) -> Tensor:
    """Squared magnitude, never quite zero."""
    return power(spectra) + TINY
