"""Too quiet, and too loud."""
import numpy as np

from ...registry import register
from .base import Corruption


@register("corruption", "quiet")
class Quiet(Corruption):
    """The level turned down: what is left is rounded to 16 bit as it lies."""

    values, unit = (10.0, 20.0, 30.0, 40.0, 50.0), "dB down"

    def apply(self, clip, value, draw, around):
        return clip * 10 ** (-value / 20)


@register("corruption", "clipping")
class Clipping(Corruption):
    """Overdriven: the peak lies so many dB over full scale and is cut off there, then the sound is as loud as before."""

    values, unit = (6.0, 12.0, 18.0, 24.0, 30.0), "dB over full scale"

    def apply(self, clip, value, draw, around):
        peak = np.abs(clip).max()
        return clip.clip(-peak / 10 ** (value / 20), peak / 10 ** (value / 20))
