"""MP3 in memory: encoded by LAME, decoded by libsndfile, realigned to the sample."""
import io
import re

import lameenc
import numpy as np
import soundfile
from torch import Tensor

from ..errors import ConfigError, shown
from ..registry import register
from .codec import GAIN, SAMPLE_RATE, Codec
from .mdct import coded

BITRATES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
# LAME's encoder delay of 576 samples and the decoder's 528 + 1. A stream without an info tag, which is what lameenc writes, leaves both in.
DELAY = 1105
FASTEST = 7
LEVEL = 0.95  # LAME turns the sound down to this share of its amplitude
MDCT = "mdct"  # name of the second surrogate


@register("defense", "mp3")
class MP3(Codec):
    """Constant-bitrate MP3 at 16 kHz (MPEG-2 layer III, mono) and back.

    The clip's own samples go in, rounded to 16 bit, with no padding before; the decoded stream is cut by the codec's delay of 1,105 samples and
    to the clip's length, then rounded to 16 bit. LAME's bytes, and so the output, repeat exactly.

    LAME chooses its low-pass by bitrate. Its `quality` changes what it discards, and with it the verdict on clips at the edge: compare only
    results of one quality.

    Surrogates: "gain", the default, keeps of each time-frequency bin the share that the codec kept of it in this very clip, and passes the gradient
    through that. "mdct" knows no clip of the codec's: a quantiser of its own in the MDCT domain (`mdct.coded`). Which breaks the codec best was measured on
    validation clips (docs/defenses.md).

    Args:
        kbps: one of 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160 kbit/s, all that the format has at 16 kHz.
        quality: LAME's algorithm, 0 (slowest, best) to 9; 7 is LAME's fast mode.
        threads: clips encoded side by side; default: as many as the machine has processors. Changes the speed alone.
        sample_rate: 16000 Hz.

    Raises:
        ConfigError: another bitrate, quality, number of threads or sample rate.
        InputError: waveforms that are no floating (batch, time) or hold NaN or infinity.
    """

    surrogates = (GAIN, MDCT)

    def __init__(self, kbps: int = 32, quality: int = FASTEST, threads: int | None = None, sample_rate: int = SAMPLE_RATE):
        if kbps not in BITRATES:
            raise ConfigError(f"defense mp3: expected one of {', '.join(map(str, BITRATES))} kbit/s, got '{shown(kbps)}'")
        if quality not in range(10):
            raise ConfigError(f"defense mp3: expected a quality from 0 to 9, got '{shown(quality)}'")
        super().__init__(f"mp3:{int(kbps)}" + ("" if quality == FASTEST else f":q{int(quality)}"), threads, sample_rate)
        self.kbps, self.quality = int(kbps), int(quality)

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = SAMPLE_RATE) -> "MP3":
        """From "32", or "32:q2" for another quality than 7. Raises ConfigError."""
        parts = re.fullmatch(r"([0-9]{1,9})(?::q([0-9]))?", text)
        if parts is None:
            raise ConfigError(f"defense mp3: expected mp3:KBPS, KBPS one of {', '.join(map(str, BITRATES))}, got 'mp3:{shown(text)}'")
        return cls(int(parts[1]), FASTEST if parts[2] is None else int(parts[2]), sample_rate=sample_rate)

    def encode(self, samples: np.ndarray) -> bytes:
        """The MP3 stream of int16 samples (time,)."""
        encoder = lameenc.Encoder()
        encoder.silence()
        encoder.set_channels(1)
        encoder.set_in_sample_rate(SAMPLE_RATE)
        # Left to itself LAME resamples to 8 kHz at 8 kbit/s.
        encoder.set_out_sample_rate(SAMPLE_RATE)
        encoder.set_bit_rate(self.kbps)
        encoder.set_quality(self.quality)
        return bytes(encoder.encode(samples.tobytes())) + bytes(encoder.flush())

    def roundtrip(self, samples: np.ndarray) -> np.ndarray:
        """int16 samples (time,) -> decoded, realigned float32 samples (time,), not yet rounded."""
        decoded, _ = soundfile.read(io.BytesIO(self.encode(samples)), dtype="float32")
        return decoded[DELAY : DELAY + len(samples)]

    def surrogate(self, waveforms: Tensor) -> Tensor:
        kind = self.surrogates[0]
        return self.fitted_surrogate(waveforms, self(waveforms) if kind == GAIN else waveforms, kind)

    def fitted_surrogate(self, waveforms: Tensor, exact: Tensor, kind: str = "") -> Tensor:
        kind = kind if kind in self.surrogates else self.surrogates[0]
        return LEVEL * coded(waveforms, self.kbps) if kind == MDCT and len(waveforms) else super().fitted_surrogate(waveforms, exact)

    def extra_repr(self) -> str:
        return f"kbps={self.kbps}, quality={self.quality}"
