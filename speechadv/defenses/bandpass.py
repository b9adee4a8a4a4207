"""Band-pass filter: linear phase, no delay, differentiable."""
import re

from ..errors import ConfigError, shown
from ..registry import register
from .filters import NARROWEST, NUMBER, LinearPhase, design, hertz, plain, transition_of


@register("defense", "bandpass")
class BandPass(LinearPhase):
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
        low, high = (hertz(edge, "defense bandpass: expected band edges") for edge in (low, high))
        if not 0 < low < high < sample_rate / 2:
            raise ConfigError(f"defense bandpass: expected 0 < LO < HI < {sample_rate / 2:g} Hz, got LO = {low:g} and HI = {high:g}")
        if high - low < NARROWEST:
            raise ConfigError(f"defense bandpass: expected HI at least {NARROWEST:g} Hz above LO, got LO = {low:g} and HI = {high:g}")
        transition = transition_of(low, high - low, sample_rate / 2 - high)
        super().__init__(f"bandpass:{plain(low)}-{plain(high)}", design(low, high, transition, sample_rate), sample_rate)
        self.low, self.high, self.transition = low, high, transition

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "BandPass":
        """From "100-4000", Hz. Raises ConfigError."""
        edges = re.fullmatch(f"{NUMBER}-{NUMBER}", text)
        if edges is None:
            raise ConfigError(f"defense bandpass: expected bandpass:LO-HI in Hz, such as bandpass:100-4000, got 'bandpass:{shown(text)}'")
        return cls(float(edges[1]), float(edges[2]), sample_rate)
