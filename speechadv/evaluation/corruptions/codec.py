"""Codecs at ever lower bitrates. Both take 16 kHz; sound of another rate goes there and back."""
import io

import numpy as np
import soundfile

from ...audio import fitted, resample, to_pcm16
from ...defenses.mp3 import MP3
from ...registry import register
from .base import Corruption

RATE = 16000  # Hz


class Codec(Corruption):
    """A codec in memory."""

    def coded(self, pcm: np.ndarray, value: float) -> np.ndarray:
        """int16 (time,) at RATE -> float32 (time,), not delayed."""
        raise NotImplementedError

    def apply(self, clip, value, draw, around):
        heard = self.coded(to_pcm16(resample(clip.astype(np.float32), around.sample_rate, RATE)), value)
        return fitted(resample(heard.astype(np.float32), RATE, around.sample_rate), len(clip)).astype(np.float64)


@register("corruption", "mp3")
class Mp3(Codec):
    """MP3 of a constant bitrate, by LAME."""

    values, unit = (64.0, 32.0, 24.0, 16.0, 8.0), "kbit/s"

    def coded(self, pcm, value):
        return MP3(int(value), threads=1).roundtrip(pcm)


@register("corruption", "opus")
class Opus(Codec):
    """Opus (RFC 6716) by libsndfile, whose `compression_level` from 0 to 1 runs from the highest bitrate to the lowest, about 65 to 12 kbit/s here."""

    values, unit = (0.8, 0.9, 0.95, 0.98, 1.0), "compression level"

    def coded(self, pcm, value):
        buffer = io.BytesIO()
        soundfile.write(buffer, pcm, RATE, format="OGG", subtype="OPUS", compression_level=value)
        buffer.seek(0)
        return soundfile.read(buffer, dtype="float32")[0]
