"""Keyword-spotting tasks and the clips that belong to one: labels by name, shares of `_unknown_`, and `_silence_` cut out of background noise."""
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

import numpy as np

from .. import audio
from ..errors import ConfigError, DataError, shown
from ..registry import closest
from .speech_commands import BACKGROUND, SILENCE, SPLITS, UNKNOWN, Clip, official_split

COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ONLY_IN_2 = ("backward", "follow", "forward", "learn", "visual")
OTHERS = ("bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow")
LABELS = {
    "v2-12": (*COMMANDS, UNKNOWN, SILENCE),
    "v2-35": tuple(sorted((*COMMANDS, *DIGITS, *ONLY_IN_2, *OTHERS))),
    "v1-12": (*COMMANDS, UNKNOWN, SILENCE),
    "sc09": DIGITS,
}
PARTS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}  # of each background recording, in time
RATE = 16000  # Hz, of silence clips: their start is counted in these samples
NEAR_SILENT = 0.1  # share of silence clips that are almost digital silence


@dataclass(frozen=True)
class Task:
    """A name and its labels, in the order of the logits."""

    name: str
    labels: tuple[str, ...]

    def label_of(self, word: str) -> str | None:
        """The label of a clip of this word; None where the task has none for it. Version 0.01 lacks five words of 0.02."""
        if word in self.labels:
            return word
        foreign = word == BACKGROUND or word == SILENCE or self.name == "v1-12" and word in ONLY_IN_2
        return UNKNOWN if UNKNOWN in self.labels and not foreign else None

    def indices(self, labels: Sequence[str]) -> np.ndarray:
        """int64 (len(labels),): positions of label words among the logits."""
        place = {label: index for index, label in enumerate(self.labels)}
        return np.array([place[label] for label in labels], dtype=np.int64)


def task(spec: str | Sequence[str]) -> Task:
    """A task by name (`v2-12`, `v2-35`, `v1-12`, `sc09`) or from a list of words ("yes,no,_unknown_" or a list).

    Raises ConfigError: an unknown name, fewer than two words, a word twice.
    """
    if isinstance(spec, str) and spec in LABELS:
        return Task(spec, LABELS[spec])
    words = [word.strip() for word in spec.split(",")] if isinstance(spec, str) else list(spec)
    if isinstance(spec, str) and len(words) < 2:
        raise ConfigError(f"unknown task '{shown(spec)}'{closest(spec, LABELS)} (known: {', '.join(LABELS)}, or words: yes,no)")
    if len(words) < 2 or len(set(words)) < len(words) or not all(words):
        raise ConfigError(f"task '{shown(spec)}': expected two or more different words")
    return Task(",".join(words), tuple(words))


def select(
    clips: Sequence[Clip], task: Task, split: str, *, seed: int = 0,
    unknown: float | None = 1.0, silence: float = 1.0, notice: Callable[[str], None] = audio.silent,
) -> list[tuple[Clip, str]]:
    """The clips of a split with their label words, sorted by name.

    Args:
        clips: what `scan` gave, background recordings included.
        task: see `task`.
        split: "train", "validation" or "test".
        seed: of the choice of other words and of the silence cuts; the same seed gives the same clips.
        unknown: how many clips of other words stand for `_unknown_`, as a multiple of the mean number of clips of a keyword in this split (at
            most all there are; None: all). The official convention, Warden 2018, section 7.1, is about one twelfth of the set, as 1.0 gives.
        silence: the same for `_silence_` clips, cut out of this split's part of the background recordings (see `silence_clips`).
        notice: called with one line for each label of the task that has no clip.

    Raises:
        DataError: not one clip of the task is there. ConfigError: no such split.
    """
    if split not in SPLITS:
        raise ConfigError(f"unknown split '{shown(split)}'{closest(split, SPLITS)} (known: {', '.join(SPLITS)})")
    labelled = [(clip, label) for clip in clips if clip.split == split and (label := task.label_of(clip.word)) is not None]
    keywords = [pair for pair in labelled if pair[1] not in (UNKNOWN, SILENCE)]
    mean = len(keywords) / max(1, sum(label not in (UNKNOWN, SILENCE) for label in task.labels))
    chosen = keywords + _chosen(labelled, UNKNOWN, None if unknown is None else round(unknown * mean), seed)
    if SILENCE in task.labels:
        ready = _chosen(labelled, SILENCE, round(silence * mean), seed)
        cut = silence_clips(clips, split, round(silence * mean), seed) if not ready else []
        chosen += ready or [(clip, SILENCE) for clip in cut]
    if not chosen:
        raise DataError(f"no clips of task '{shown(task.name)}' in split {split}: expected words such as {', '.join(task.labels[:3])}")
    for label in task.labels:
        if not any(heard == label for _, heard in chosen):
            notice(f"task '{shown(task.name)}', split {split}: no clips of '{shown(label)}'")
    return sorted(chosen, key=lambda pair: (pair[0].name, str(pair[0].path)))


def _chosen(labelled, label: str, number: int | None, seed: int):
    """`number` of the clips of a label, by a hash of seed and name: adding a clip to the data moves at most one other out."""
    those = [pair for pair in labelled if pair[1] == label]
    return those if number is None else sorted(those, key=lambda pair: _hash(seed, pair[0].name))[:number]


def silence_clips(clips: Sequence[Clip], split: str, number: int, seed: int = 0) -> list[Clip]:
    """`number` one-second clips of `_silence_`, from this split's part of each background recording in turn.

    There is no speaker in background noise, so the recordings are split in time: the first 80 % train, the next 10 % validation, the last 10 %
    test; no sample stands in two splits. Offsets and gains come from hashes of seed, split and number. The gain is uniform in 0 to 1, as in the
    official recipe for silence; every tenth clip is almost digital silence (gain -60 to -40 dB).
    """
    recordings = [(clip, _part(clip, split)) for clip in sorted(clips, key=lambda clip: clip.name) if clip.split == "background"]
    usable = [(clip, first, last) for clip, (first, last) in recordings if last - first >= RATE]
    cuts = []
    for index in range(number if usable else 0):
        clip, first, last = usable[index % len(usable)]
        draws = np.random.default_rng(_hash(seed, f"{split}/{index}"))
        start, loudness, near = first + int(draws.integers(last - first - RATE + 1)), draws.random(), draws.random() < NEAR_SILENT
        gain = 10 ** (-3 + loudness) if near else loudness
        voice = _named_for(clip.speaker, split)
        cuts.append(Clip(clip.path, SILENCE, voice, f"{SILENCE}/{voice}_nohash_{index}.wav", split, start, gain))
    return cuts


def _part(clip: Clip, split: str) -> tuple[int, int]:
    """First and past-the-last sample (at 16 kHz) of a split's part of a background recording."""
    with audio.opened(clip.path) as file:
        length = int(file.frames / file.samplerate * RATE)
    low, high = PARTS[split]
    return round(length * low), round(length * high)


def _named_for(recording: str, split: str) -> str:
    """`pink_noise_K` with the smallest K whose official hash gives the split: the rule then holds for silence clips as well."""
    number = 0
    while official_split(f"{recording}_{number}_nohash_0.wav") != split:
        number += 1
    return f"{recording}_{number}"


def _hash(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


def background_part(path: Path, split: str = "train", sample_rate: int = RATE) -> np.ndarray:
    """float32 (time,): a split's part of one background recording."""
    samples = audio.read(path, sample_rate)
    low, high = PARTS[split]
    return samples[round(len(samples) * low) : round(len(samples) * high)]
