"""The clips of a training run, in memory as 16-bit integers."""
import hashlib
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from ..data import Clip, Task, background, load, scan, select
from ..data.samples import load_bundled
from ..errors import ConfigError
from .unlabelled import unlabelled_clips


@dataclass
class Examples:
    """Clips of one split.

    Attributes:
        clips: (n, time) int16.
        classes: (n,) int64 index into the labels.
        labels: the task's labels.
        unlabelled: (n,) bool; of these clips the class means nothing.
    """

    clips: np.ndarray
    classes: np.ndarray
    labels: tuple[str, ...]
    unlabelled: np.ndarray | None = None

    def __post_init__(self):
        if self.unlabelled is None:
            self.unlabelled = np.zeros(len(self.clips), bool)

    def digest(self) -> str:
        """Of the clips, by some of them, and of all their classes: other data have another one."""
        some = self.clips[:: max(1, len(self.clips) // 256)]
        parts = (self.classes.tobytes(), self.unlabelled.tobytes(), np.ascontiguousarray(some).tobytes(), ",".join(self.labels).encode("utf-8", "surrogatepass"))
        return hashlib.blake2b(b"\0".join(parts), digest_size=8).hexdigest()

    @property
    def silence(self) -> np.ndarray:
        """(n,) bool: clips of background sound."""
        return (self.classes == (self.labels.index("_silence_") if "_silence_" in self.labels else -1)) & ~self.unlabelled

    def first(self, count: int, seed: int) -> "Examples":
        """A fixed random part of them; all where count is 0 or more than there are."""
        if not count or count >= len(self.clips):
            return self
        return self.part(np.sort(np.random.default_rng(seed).permutation(len(self.clips))[:count]))

    def part(self, chosen: np.ndarray) -> "Examples":
        """Those in `chosen` (bool or int64)."""
        return Examples(self.clips[chosen], self.classes[chosen], self.labels, self.unlabelled[chosen])

    def with_sound(self, clips: np.ndarray) -> "Examples":
        """These and further clips (m, time) int16 without labels."""
        if not len(clips):
            return self
        return Examples(np.concatenate([self.clips, clips]), np.concatenate([self.classes, np.zeros(len(clips), self.classes.dtype)]), self.labels,
                        np.concatenate([self.unlabelled, np.ones(len(clips), bool)]))


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


@dataclass
class Material:
    """What a run learns from and chooses on: training and validation clips, and background recordings for the augmentation."""

    train: Examples
    validation: Examples
    noises: list[np.ndarray]


def recorded(roots: list, train_only: list, task: Task, sample_rate: int, *, seed: int, unknown: float | None, unlabelled: Sequence = ()) -> Material:
    """Recordings in Speech Commands' layout; training alone sees the `train_only` roots and, without labels, the sound of the `unlabelled` ones."""
    clips = scan(roots, train_only)
    train = examples(clips, task, "train", sample_rate, seed=seed, unknown=unknown)
    train = train.with_sound(load(unlabelled_clips(unlabelled, clips), sample_rate, sample_rate))
    noises = [noise for noise in background(roots, "train", sample_rate) if len(noise) >= sample_rate]  # a shorter one fills no clip
    return Material(train, examples(clips, task, "validation", sample_rate), noises)


def rehearsal(task: Task) -> Material:
    """The bundled synthetic voices, for trying a recipe in seconds: every third voice validates. What comes out is good for nothing else."""
    waveforms, labels, names = load_bundled([label for label in task.labels])
    clips, classes = np.round(waveforms * 32768).astype(np.int16), task.indices(labels)
    voices = sorted({name.split("/")[1].split("_nohash_")[0] for name in names})
    held = np.array([voices.index(name.split("/")[1].split("_nohash_")[0]) % 3 == 2 for name in names])
    noises = [clip.astype(np.float32) for clip, label in zip(clips, labels) if label == "_silence_"]
    return Material(Examples(clips[~held], classes[~held], task.labels), Examples(clips[held], classes[held], task.labels), noises)
