"""The clips of a training run, in memory as 16-bit integers."""
from dataclasses import dataclass

import numpy as np

from ..data import Clip, Task, load, select
from ..errors import ConfigError


@dataclass
class Examples:
    """Clips of one split.

    Attributes:
        clips: (n, time) int16.
        classes: (n,) int64 index into the labels.
        labels: the task's labels.
    """

    clips: np.ndarray
    classes: np.ndarray
    labels: tuple[str, ...]

    @property
    def silence(self) -> np.ndarray:
        """(n,) bool: clips of background sound."""
        return self.classes == (self.labels.index("_silence_") if "_silence_" in self.labels else -1)

    def first(self, count: int, seed: int) -> "Examples":
        """A fixed random part of them; all where count is 0 or more than there are."""
        if not count or count >= len(self.clips):
            return self
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self.clips))[:count])
        return Examples(self.clips[chosen], self.classes[chosen], self.labels)


def examples(clips: list[Clip], task: Task, split: str, sample_rate: int, **options) -> Examples:
    """The clips of a split, decoded; one second each, or what the sample rate makes of it.

    Args:
        clips: what `scan` gave.
        task: of the network.
        split: "train" or "validation". Test is refused: nothing in training may see it.
        sample_rate: Hz.
        **options: of `speechadv.data.select`.
    """
    if split not in ("train", "validation"):
        raise ConfigError(f"split: training sees train and validation alone, got '{split}'")
    pairs = select(clips, task, split, **options)
    waveforms = load([clip for clip, _ in pairs], sample_rate, sample_rate)
    return Examples(waveforms, task.indices([label for _, label in pairs]), task.labels)
