"""Opus in memory."""
from ..errors import ConfigError, shown
from ..registry import register
from .base import whole_number
from .codec import SAMPLE_RATE
from .ogg import Ogg

# Below 12 kbit/s the encoder hears 8 kHz only, and the sound does not come back aligned to the sample.
BITRATES = (12, 16, 20, 24, 32, 48, 64, 96, 128)
LEAST, SPAN = 6, 250  # kbit/s: libsndfile's compression level runs from 256 (0) to 6 (1)


@register("defense", "opus")
class Opus(Ogg):
    """Opus (RFC 6716) at 16 kHz, mono, and back, in the manner of Rajaratnam et al. (2018, arXiv:1809.04397). Variable bitrate: what is asked for is a goal.

    Up to about 48 kbit/s speech goes through its linear predictor (SILK), above through its transform (CELT). No delay: libsndfile cuts what encoder
    and decoder add. The surrogate is the codec's gain in each time-frequency bin of this very clip.

    Args:
        kbps: one of 12, 16, 20, 24, 32, 48, 64, 96, 128 kbit/s.
        threads: clips encoded side by side; default: as many as the machine has processors. Changes the speed alone.
        sample_rate: 16000 Hz.

    Raises:
        ConfigError: another bitrate, number of threads or sample rate. SpeechAdvError: this libsndfile is without Opus.
        InputError: waveforms that are no floating (batch, time) or hold NaN or infinity.
    """

    subtype = "OPUS"

    def __init__(self, kbps: int = 16, threads: int | None = None, sample_rate: int = SAMPLE_RATE):
        if kbps not in BITRATES:
            raise ConfigError(f"defense opus: expected one of {', '.join(map(str, BITRATES))} kbit/s, got '{shown(kbps)}'")
        super().__init__(f"opus:{int(kbps)}", 1 - (kbps - LEAST) / SPAN, threads, sample_rate)
        self.kbps = int(kbps)

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = SAMPLE_RATE) -> "Opus":
        """From "16". Raises ConfigError."""
        return cls(whole_number(text, "opus", f"opus:KBPS, KBPS one of {', '.join(map(str, BITRATES))}"), sample_rate=sample_rate)
