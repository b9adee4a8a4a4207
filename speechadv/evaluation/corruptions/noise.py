"""Noise of three kinds at a signal-to-noise ratio, which is taken over the whole clip as elsewhere in this package."""
import numpy as np

from ...errors import DataError
from ...registry import register
from .base import Corruption, Surroundings

SNR_DB = (20.0, 10.0, 5.0, 0.0, -5.0)
SILENT = 1e-4  # rms below which a clip counts as silence, -80 dBFS: noise stands over that level


class Noise(Corruption):
    """Something added at a signal-to-noise ratio."""

    values, unit = SNR_DB, "dB SNR"

    def noise(self, length: int, draw: np.random.Generator, around: Surroundings) -> np.ndarray:
        """(length,) at any level."""
        raise NotImplementedError

    def apply(self, clip, value, draw, around):
        added = self.noise(len(clip), draw, around)
        level = max(np.sqrt(np.mean(clip**2)), SILENT) * 10 ** (-value / 20)
        return clip + added * level / max(np.sqrt(np.mean(added**2)), 1e-12)


@register("corruption", "white")
class White(Noise):
    """White Gaussian noise."""

    def noise(self, length, draw, around):
        return draw.standard_normal(length)


@register("corruption", "pink")
class Pink(Noise):
    """Gaussian noise that falls by 3 dB an octave."""

    def noise(self, length, draw, around):
        spectrum = np.fft.rfft(draw.standard_normal(length))
        return np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), length)


@register("corruption", "background")
class Background(Noise):
    """A piece of the data set's own background recordings, out of the part in time that belongs to the split that is tested."""

    needs_noises = True

    def prepare(self, around):
        if not around.noises:
            raise DataError("corruption 'background': expected background recordings in the data (_background_noise_), there are none: leave it out")

    def noise(self, length, draw, around):
        recording = around.noises[draw.integers(len(around.noises))]
        recording = np.resize(recording, max(length, len(recording)))  # a short one goes round
        start = draw.integers(len(recording) - length + 1)
        return recording[start : start + length].astype(np.float64)
