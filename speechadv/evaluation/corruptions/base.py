"""The contract of a corruption: one clip in, one clip of the same length out, the same for the same seed and clip."""
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Sequence

import numpy as np

from ...audio import to_grid
from ...randomness import derived_seed

STRENGTHS = 5


@dataclass(frozen=True)
class Surroundings:
    """What a corruption may use: `sample_rate` in Hz, and `noises`, float32 (time,) background recordings of the split that is tested."""

    sample_rate: int
    noises: Sequence[np.ndarray] = field(default=())


class Corruption(ABC):
    """Damage of one kind. `values` are its five strengths, from mild to severe, each in `unit`."""

    values: tuple[float, ...]
    unit: str
    needs_noises = False

    @abstractmethod
    def apply(self, clip: np.ndarray, value: float, draw: np.random.Generator, around: Surroundings) -> np.ndarray:
        """float64 (time,) -> the same length, not rounded and not cut at full scale.

        `draw` is the same for all strengths of a clip, so that they differ in strength alone.
        """

    def prepare(self, around: Surroundings) -> None:
        """Raise SpeechAdvError where something that is needed is missing."""

    def __call__(self, clip: np.ndarray, name: str, strength: int, seed: int, around: Surroundings) -> np.ndarray:
        """One clip, damaged.

        Args:
            clip: float32 (time,).
            name: of the clip; with the seed it decides what is drawn.
            strength: 1 to 5.
            seed: of the run.
            around: see `Surroundings`.

        Returns:
            float32 (time,) on the 16-bit grid.
        """
        draw = np.random.default_rng(derived_seed(seed, "corruption", type(self).__name__, name))
        return to_grid(self.apply(clip.astype(np.float64), self.values[strength - 1], draw, around)).astype(np.float32)
