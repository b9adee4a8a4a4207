"""Codecs in Ogg that libsndfile encodes and decodes by itself, aligned to the sample."""
import io

import numpy as np
import soundfile

from ..audio import fitted
from ..errors import SpeechAdvError
from .codec import SAMPLE_RATE, Codec

BLOCK = 1 << 17  # frames at a time: encoders of libsndfile hold on the stack what comes at once


class Ogg(Codec):
    """A codec of libsndfile's Ogg container.

    Args:
        name: the specification.
        level: libsndfile's compression level, 0 (best) to 1 (smallest).
        threads, sample_rate: see `Codec`.

    Raises:
        ConfigError, InputError: see `Codec`. SpeechAdvError: this libsndfile does not have the codec.
    """

    subtype: str  # libsndfile's name of the codec

    def __init__(self, name: str, level: float, threads: int | None = None, sample_rate: int = SAMPLE_RATE):
        super().__init__(name, threads, sample_rate)
        self.level = min(1.0, max(0.0, level))
        if self.subtype not in soundfile.available_subtypes("OGG"):
            raise SpeechAdvError(f"defense {self.kind}: libsndfile {soundfile.__libsndfile_version__} is without {self.subtype}; the wheels of soundfile have it")

    def encode(self, samples: np.ndarray) -> bytes:
        """The Ogg stream of int16 samples (time,). The stream's serial number is drawn anew each time; the sound repeats."""
        buffer = io.BytesIO()
        with soundfile.SoundFile(buffer, "w", SAMPLE_RATE, 1, self.subtype, format="OGG", compression_level=self.level) as file:
            for start in range(0, len(samples), BLOCK):
                file.write(samples[start : start + BLOCK])
        return buffer.getvalue()

    def roundtrip(self, samples: np.ndarray) -> np.ndarray:
        decoded, _ = soundfile.read(io.BytesIO(self.encode(samples)), dtype="float32")
        return fitted(decoded, len(samples))
