"""Random codec: which one a clip passes is drawn."""
import torch
from torch import Tensor, nn

from ..errors import ConfigError, shown
from ..randomness import uniform
from ..registry import lookup, register
from .base import Defense, check_waveforms
from .codec import SAMPLE_RATE, Codec, kept

USUAL = "mp3:16,mp3:32,mp3:64,vorbis:0,vorbis:3,opus:16"
MOST = 16


@register("defense", "randcodec")
class RandCodec(Defense):
    """One of several codecs, drawn anew for every clip and pass (in the manner of SHIELD, Das et al. 2018, arXiv:1802.06816, there with JPEG).

    The surrogate keeps of each time-frequency bin the share that the codec which was drawn kept of it; attacks average over draws.

    Args:
        codecs: specifications joined by commas, 2 to 16 of them, each one once.
        sample_rate: 16000 Hz.

    Raises:
        ConfigError: an unknown codec, a defense that is none, or another number of them.
        InputError: waveforms that are no floating (batch, time) or hold NaN or infinity, or as many generators as there are clips are missing.
    """

    surrogates = Codec.surrogates
    stochastic = True

    def __init__(self, codecs: str = USUAL, sample_rate: int = SAMPLE_RATE):
        super().__init__()
        self.codecs = nn.ModuleList(_codec(word, sample_rate) for word in codecs.split(","))
        names = [codec.name for codec in self.codecs]
        if not 2 <= len(set(names)) == len(names) <= MOST:
            raise ConfigError(f"defense randcodec: expected 2 to {MOST} codecs joined by commas, each one once, got '{shown(codecs)}'")
        self.sample_rate, self.name = sample_rate, "randcodec" if codecs == USUAL else f"randcodec:{','.join(names)}"

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = SAMPLE_RATE) -> "RandCodec":
        """From "mp3:32,opus:16"; "" for the default. Raises ConfigError."""
        try:
            return cls(text or USUAL, sample_rate)
        except ConfigError as problem:
            raise ConfigError(f"defense randcodec: expected randcodec or randcodec:CODEC,CODEC, such as randcodec:mp3:32,opus:16, "
                              f"got 'randcodec:{shown(text)}' ({problem})") from None

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        generators = self.generators_for(waveforms)
        drawn = (uniform(generators, (1,))[:, 0] * len(self.codecs)).long() if generators else torch.zeros(0, dtype=torch.int64)
        heard = waveforms.detach().clone()
        for place in drawn.unique().tolist():
            rows = (drawn == place).to(waveforms.device)
            heard[rows] = self.codecs[place](waveforms[rows])
        return heard

    def surrogate(self, waveforms: Tensor) -> Tensor:
        return self.fitted_surrogate(waveforms, self(waveforms))

    def fitted_surrogate(self, waveforms: Tensor, exact: Tensor, kind: str = "") -> Tensor:
        return kept(waveforms, exact) if len(waveforms) else waveforms


def _codec(word: str, sample_rate: int) -> Codec:
    """A codec by its specification. Raises ConfigError."""
    name, _, argument = word.strip().partition(":")
    made = lookup("defense", name).from_spec(argument, sample_rate)
    if not isinstance(made, Codec):
        raise ConfigError(f"'{shown(word)}' is no codec")
    return made
