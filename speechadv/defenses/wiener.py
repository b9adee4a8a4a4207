"""Wiener filter: bins turned down by the share of noise in them, as heard in the clip's own quiet frames."""
from torch import Tensor

from ..registry import register
from .spectral import Weighted, decibels, in_range, named, power_of, quiet_power

USUAL = 20.0  # dB


@register("defense", "wiener")
class Wiener(Weighted):
    """Spectral subtraction in the form of a Wiener filter (Lim & Oppenheim 1979, Proc. IEEE 67): weight 1 - noise / power, but never below a floor.

    The noise of each frequency is its mean power in the quietest tenth of the clip's frames. Not delayed. The gradient is exact, through weights and noise estimate.

    Args:
        floor: by how many dB a bin is turned down at most, 1 to 60.
        sample_rate: Hz.

    Raises:
        ConfigError: another floor.
        InputError: waveforms that are no floating (batch, time).
    """

    def __init__(self, floor: float = USUAL, sample_rate: int = 16000):
        floor = in_range(floor, "wiener", "a largest reduction", 1, 60)
        super().__init__(named("wiener", floor, USUAL), sample_rate)
        self.floor = floor

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Wiener":
        """From "20", dB; "" for the default. Raises ConfigError."""
        return cls(decibels(text, "wiener", USUAL), sample_rate)

    def weights(self, waveforms: Tensor, spectra: Tensor) -> Tensor:
        powers = power_of(spectra)
        return (1 - quiet_power(powers, self.spectrum) / powers).clamp(min=10 ** (-self.floor / 20))
