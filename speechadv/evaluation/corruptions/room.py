"""Rooms that the voice fills before it reaches the microphone."""
import numpy as np
import scipy.signal

from ... import rooms
from ...registry import register
from .base import Corruption

FIRST, NUMBER = 2000, 20  # rooms of their own: attacks and defenses have other numbers
DIRECT = 0.0025  # seconds that count as the direct sound


@register("corruption", "room")
class Room(Corruption):
    """A simulated room, drawn for each clip, whose reverberation is made stronger than the direct sound (extra `rooms`)."""

    values, unit = (10.0, 5.0, 0.0, -5.0, -10.0), "dB direct to reverberant"

    def prepare(self, around):
        rooms.simulated(FIRST, around.sample_rate)

    def apply(self, clip, value, draw, around):
        response = rooms.simulated(FIRST + int(draw.integers(NUMBER)), around.sample_rate).copy()
        split = round(DIRECT * around.sample_rate)
        direct, tail = (np.square(part).sum() for part in (response[:split], response[split:]))
        response[split:] *= np.sqrt(direct / max(tail, 1e-12) / 10 ** (value / 10))
        heard = scipy.signal.fftconvolve(clip, response)[: len(clip)]
        loud = np.sqrt(np.mean(heard**2))
        return heard * (np.sqrt(np.mean(clip**2)) / loud if loud else 1.0)
