"""Low-pass and high-pass filters: linear phase, no delay, differentiable."""
import re

from ..errors import ConfigError, shown
from ..registry import register
from .filters import NARROWEST, NUMBER, LinearPhase, design, hertz, plain, transition_of, without


@register("defense", "lowpass")
class LowPass(LinearPhase):
    """Linear-phase FIR low-pass, designed as `bandpass` is: 6 dB down at `cutoff`, at least 60 dB down half a transition above it, no delay.

    The transition is 100 Hz, or less where 0 Hz or half the sample rate is nearer, but at least 20 Hz. The gradient is the filter's.

    Args:
        cutoff: Hz, at least 20 from 0 and from half the sample rate; kept to a millionth of a Hz.
        sample_rate: Hz.

    Raises:
        ConfigError: another cutoff.
        InputError: waveforms that are no floating (batch, time).
    """

    kind, usual, high = "lowpass", 4000.0, False

    def __init__(self, cutoff: float = 4000.0, sample_rate: int = 16000):
        cutoff = hertz(cutoff, f"defense {self.kind}: expected a cutoff")
        if not NARROWEST <= cutoff <= sample_rate / 2 - NARROWEST:
            raise ConfigError(f"defense {self.kind}: expected {NARROWEST:g} to {sample_rate / 2 - NARROWEST:g} Hz, got {cutoff:g}")
        transition = transition_of(cutoff, sample_rate / 2 - cutoff)
        kernel = design(-cutoff, cutoff, transition, sample_rate)
        super().__init__(f"{self.kind}:{plain(cutoff)}", without(kernel) if self.high else kernel, sample_rate)
        self.cutoff, self.transition = cutoff, transition

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "LowPass":
        """From "4000", Hz. Raises ConfigError."""
        if not re.fullmatch(NUMBER, text):
            raise ConfigError(f"defense {cls.kind}: expected {cls.kind}:HZ, such as {cls.kind}:{cls.usual:g}, got '{cls.kind}:{shown(text)}'")
        return cls(float(text), sample_rate)


@register("defense", "highpass")
class HighPass(LowPass):
    """Linear-phase FIR high-pass, what `lowpass` stops: 6 dB down at `cutoff`, at least 60 dB down half a transition below it, no delay.

    The transition is 100 Hz, or less where 0 Hz or half the sample rate is nearer, but at least 20 Hz. The gradient is the filter's.

    Args:
        cutoff: Hz, at least 20 from 0 and from half the sample rate; kept to a millionth of a Hz.
        sample_rate: Hz.

    Raises:
        ConfigError: another cutoff.
        InputError: waveforms that are no floating (batch, time).
    """

    kind, usual, high = "highpass", 300.0, True

    def __init__(self, cutoff: float = 300.0, sample_rate: int = 16000):
        super().__init__(cutoff, sample_rate)
