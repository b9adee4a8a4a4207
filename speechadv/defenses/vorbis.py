"""Ogg Vorbis in memory."""
from ..errors import ConfigError, shown
from ..registry import register
from .base import whole_number
from .codec import SAMPLE_RATE
from .ogg import Ogg

QUALITIES = range(11)


@register("defense", "vorbis")
class Vorbis(Ogg):
    """Vorbis at 16 kHz, mono, and back: a transform codec whose bitrate follows from the quality asked for, in the manner of Das et al. (2018, arXiv:1805.11852).

    No delay: libsndfile cuts what encoder and decoder add. The surrogate is the codec's gain in each time-frequency bin of this very clip.

    Args:
        quality: 0 (smallest) to 10 (best), as Vorbis counts them.
        threads: clips encoded side by side; default: as many as the machine has processors. Changes the speed alone.
        sample_rate: 16000 Hz.

    Raises:
        ConfigError: another quality, number of threads or sample rate. SpeechAdvError: this libsndfile is without Vorbis.
        InputError: waveforms that are no floating (batch, time) or hold NaN or infinity.
    """

    subtype = "VORBIS"

    def __init__(self, quality: int = 3, threads: int | None = None, sample_rate: int = SAMPLE_RATE):
        if quality not in QUALITIES:
            raise ConfigError(f"defense vorbis: expected a quality from 0 to 10, got '{shown(quality)}'")
        super().__init__(f"vorbis:{int(quality)}", 1 - quality / 10, threads, sample_rate)
        self.quality = int(quality)

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = SAMPLE_RATE) -> "Vorbis":
        """From "3". Raises ConfigError."""
        return cls(whole_number(text, "vorbis", "vorbis:QUALITY, 0 to 10"), sample_rate=sample_rate)
