"""Notch filter: linear phase, no delay, differentiable."""
import re

from ..errors import ConfigError, shown
from ..registry import register
from .filters import NARROWEST, NUMBER, LinearPhase, design, hertz, plain, transition_of, without

WIDTH = 200.0  # Hz


@register("defense", "notch")
class Notch(LinearPhase):
    """Linear-phase FIR band-stop around one frequency, what a `bandpass` of these edges stops: nothing passes in the middle, 6 dB down at the edges, no delay.

    The transition is half the width, at most 100 Hz and at least 20, and less where 0 Hz or half the sample rate is nearer. The gradient is the filter's.

    Args:
        middle: Hz; kept to a millionth of a Hz.
        width: Hz between the edges, at least 20; the edges lie between 0 and half the sample rate.
        sample_rate: Hz.

    Raises:
        ConfigError: another width, or edges beyond the band.
        InputError: waveforms that are no floating (batch, time).
    """

    def __init__(self, middle: float = 1000.0, width: float = WIDTH, sample_rate: int = 16000):
        middle, width = (hertz(value, "defense notch: expected a frequency and a width") for value in (middle, width))
        low, high = middle - width / 2, middle + width / 2
        if not (width >= NARROWEST and 0 < low and high < sample_rate / 2):
            raise ConfigError(f"defense notch: expected a width of at least {NARROWEST:g} Hz and edges between 0 and {sample_rate / 2:g} Hz, "
                              f"got {width:g} Hz around {middle:g} Hz")
        transition = transition_of(width / 2, low, sample_rate / 2 - high)
        name = f"notch:{plain(middle)}" + ("" if width == WIDTH else f":{plain(width)}")
        super().__init__(name, without(design(low, high, transition, sample_rate)), sample_rate)
        self.low, self.high, self.transition = low, high, transition

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Notch":
        """From "1000", or "1000:400" for another width than 200 Hz. Raises ConfigError."""
        parts = re.fullmatch(f"{NUMBER}(?::{NUMBER})?", text)
        if parts is None:
            raise ConfigError(f"defense notch: expected notch:HZ or notch:HZ:WIDTH, such as notch:1000:200, got 'notch:{shown(text)}'")
        return cls(float(parts[1]), float(parts[2] or WIDTH), sample_rate)
