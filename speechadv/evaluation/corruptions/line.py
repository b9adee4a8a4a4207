"""What telephone lines and networks do."""
import numpy as np
import torch

from ...defenses.bandpass import BandPass
from ...registry import register
from .base import Corruption

PACKET = 0.02  # seconds


@register("corruption", "telephone")
class Telephone(Corruption):
    """A band of speech, ever narrower, and 8 bits a sample on the mu-law (ITU-T G.711): what a line lets through."""

    values, unit = (3600.0, 3200.0, 2700.0, 2200.0, 1700.0), "Hz upper edge"
    lower = {3600.0: 200.0, 3200.0: 300.0, 2700.0: 350.0, 2200.0: 400.0, 1700.0: 500.0}  # Hz
    mu = 255.0

    def apply(self, clip, value, draw, around):
        top = min(value, around.sample_rate / 2 - 100)
        heard = BandPass(self.lower[value], top, around.sample_rate).filtered(torch.from_numpy(clip)[None])[0].numpy().clip(-1, 1)
        companded = np.sign(heard) * np.log1p(self.mu * np.abs(heard)) / np.log1p(self.mu)
        stored = np.round(companded * 127) / 127
        return np.sign(stored) * np.expm1(np.abs(stored) * np.log1p(self.mu)) / self.mu


@register("corruption", "packets")
class Packets(Corruption):
    """Packets of 20 ms that never arrive, each by chance, and silence in their place."""

    values, unit = (5.0, 10.0, 20.0, 30.0, 50.0), "% lost"

    def apply(self, clip, value, draw, around):
        size = round(PACKET * around.sample_rate)
        arrives = draw.random(-(-len(clip) // size)) >= value / 100
        return clip * np.repeat(arrives, size)[: len(clip)]
