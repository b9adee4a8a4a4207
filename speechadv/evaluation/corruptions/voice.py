"""Another tempo, another voice."""
import numpy as np

from ...audio import resample
from ...registry import register
from .base import Corruption


@register("corruption", "speed")
class Speed(Corruption):
    """Played faster or slower, by chance, as a tape would: tempo and pitch together. The middle of the clip stays in the middle."""

    values, unit = (10.0, 20.0, 30.0, 40.0, 50.0), "% faster or slower"

    def apply(self, clip, value, draw, around):
        factor = 1 + value / 100 if draw.random() < 0.5 else 1 / (1 + value / 100)
        played = resample(clip.astype(np.float32), round(1000 * factor), 1000).astype(np.float64)
        spare = len(played) - len(clip)
        if spare >= 0:
            return played[spare // 2 : spare // 2 + len(clip)]
        return np.pad(played, (-spare // 2, -spare - -spare // 2))


@register("corruption", "pitch")
class Pitch(Corruption):
    """A higher or a lower voice, by chance, at the same tempo (phase vocoder of librosa, McFee et al. 2015)."""

    values, unit = (1.0, 2.0, 3.0, 4.0, 6.0), "semitones up or down"

    def apply(self, clip, value, draw, around):
        import librosa

        steps = value if draw.random() < 0.5 else -value
        return librosa.effects.pitch_shift(clip, sr=around.sample_rate, n_steps=steps, n_fft=1024)
