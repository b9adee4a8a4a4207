"""Additive noise: a perturbation drowns, and where it does not, the attack has to hold for all noise."""
from torch import Tensor

from ..audio import to_grid
from ..randomness import normal
from ..registry import register
from .base import Defense, check_waveforms, straight_through
from .spectral import decibels, decimal, in_range

USUAL = 20.0  # dB


@register("defense", "noise")
class Noise(Defense):
    """White Gaussian noise at a fixed ratio to the clip, drawn anew for every clip and pass (Zelasko et al. 2021, arXiv:2103.17122; Olivier & Raj 2021, arXiv:2112.03000).

    The gradient is the clip's own; the noise, once drawn and scaled, counts as fixed. Attacks average over draws.

    Args:
        snr_db: level of the clip over the noise, 0 to 80 dB, exactly so for every draw before rounding; silence stays silent.
        sample_rate: Hz.

    Raises:
        ConfigError: another ratio.
        InputError: waveforms that are no floating (batch, time), or as many generators as there are clips are missing.
    """

    stochastic = True

    def __init__(self, snr_db: float = USUAL, sample_rate: int = 16000):
        super().__init__()
        self.snr_db, self.sample_rate = in_range(snr_db, "noise", "a signal-to-noise ratio", 0, 80), sample_rate
        self.name = f"noise:{decimal(self.snr_db)}"

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Noise":
        """From "20", dB; "" for the default. Raises ConfigError."""
        return cls(decibels(text, "noise", USUAL), sample_rate)

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        drawn = normal(self.generators_for(waveforms), waveforms.shape[1:], waveforms.device).double()
        level = waveforms.detach().double().norm(dim=1) / drawn.norm(dim=1) * 10 ** (-self.snr_db / 20)
        heard = waveforms + (drawn * level[:, None]).to(waveforms)
        return straight_through(to_grid(heard.detach()), heard)
