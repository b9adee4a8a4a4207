"""Only what a listener hears: everything below the clip's own masking threshold is taken out."""
import torch
from torch import Tensor

from ..masking.spectrum import to_db
from ..masking.threshold import MaskingModel
from ..registry import register
from .spectral import Weighted, decibels, in_range, named

USUAL = 0.0  # dB


@register("defense", "psychoacoustic")
class Psychoacoustic(Weighted):
    """In the manner of Dompteur (Eisenhofer et al. 2021, arXiv:2102.05431): time-frequency bins below the masking threshold are set to zero.

    The threshold is that of the clip as it comes in, perturbation included, by `speechadv.masking` (MPEG-1 model 1; a full-scale sine plays at 96 dB SPL). A margin
    raises it: bins up to so many dB above go too. The network is not trained behind it, which Dompteur does. Not delayed. The gradient takes what was kept as it
    stands for this clip: a threshold has none.

    Args:
        margin: dB by which the threshold is raised, -40 to 12; from about 6 on the maskers themselves go.
        sample_rate: Hz.

    Raises:
        ConfigError: another margin.
        InputError: waveforms that are no floating (batch, time).
    """

    def __init__(self, margin: float = USUAL, sample_rate: int = 16000):
        margin = in_range(margin, "psychoacoustic", "a margin", -40, 12)
        super().__init__(named("psychoacoustic", margin, USUAL), sample_rate)
        self.margin, self.masking = margin, MaskingModel(sample_rate, spectrum=self.spectrum)

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Psychoacoustic":
        """From "-6", dB; "" for the default. Raises ConfigError."""
        return cls(decibels(text, "psychoacoustic", USUAL), sample_rate)

    @torch.no_grad()
    def weights(self, waveforms: Tensor, spectra: Tensor) -> Tensor:
        return (to_db(spectra) > self.masking.threshold_db(waveforms) + self.margin).to(spectra.real)
