"""The clips of an evaluation: a split of the data, or the bundled ones, or a part of either that is the same on every machine."""
import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

import numpy as np

from ..audio import silent, to_pcm16
from ..data import data_roots, load, scan, select, task as named_task
from ..data.tasks import Task
from ..errors import ConfigError, DataError, shown
from ..randomness import derived_seed
from ..registry import closest
from .settings import BUNDLED, EvaluationConfig


@dataclass
class ClipSet:
    """Clips in memory.

    Attributes:
        names: "WORD/SPEAKER_nohash_N.wav", sorted, each once.
        labels: label words.
        pcm: int16 (n, time), one second each.
        sample_rate: Hz.
        source: "bundled" or "data".
        labels_of_task: in the order of the task.
    """

    names: list[str]
    labels: list[str]
    pcm: np.ndarray
    sample_rate: int
    source: str
    labels_of_task: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def part(self, rows: Sequence[int]) -> "ClipSet":
        """Some of them, by their positions."""
        names, labels = [self.names[row] for row in rows], [self.labels[row] for row in rows]
        return ClipSet(names, labels, self.pcm[list(rows)], self.sample_rate, self.source, self.labels_of_task)

    def stratified(self, most: int) -> "ClipSet":
        """At most so many of them, each label in proportion, in the same order."""
        return self.part(sorted(_stratified(list(range(len(self))), self.names, self.labels)[:most]))

    def fingerprint(self) -> str:
        """SHA-256 over names, labels and samples."""
        digest = hashlib.sha256()
        for name, label, samples in zip(self.names, self.labels, self.pcm):
            digest.update(f"{name}\0{label}\0".encode("utf-8", "surrogateescape") + samples.tobytes())
        return digest.hexdigest()

    def target(self, row: int, seed: int) -> str:
        """The word that a clip is to be heard as in a targeted run: any other label of the task, drawn from seed and clip."""
        others = [label for label in self.labels_of_task if label != self.labels[row]]
        return others[derived_seed(seed, "target", self.names[row]) % len(others)]


def load_clips(config: EvaluationConfig, sample_rate: int, notice: Callable[[str], None] = silent) -> ClipSet:
    """The clips that a config names.

    Raises:
        DataError: a data folder is missing or has none. ConfigError: an unknown task, or a clip list with unknown names.
    """
    task, roots = named_task(config.task), data_roots(config.data)
    if config.data == [BUNDLED] or not roots:
        return _bundled(config, task, sample_rate)
    pairs = select(scan(roots), task, config.split, notice=notice)
    if len({clip.name for clip, _ in pairs}) < len(pairs):
        twice = Counter(clip.name for clip, _ in pairs).most_common(1)[0][0]
        raise DataError(f"data: two clips are named '{shown(twice)}'")
    rows = chosen([clip.name for clip, _ in pairs], [label for _, label in pairs], config)
    pairs = [pairs[row] for row in rows]
    pcm = load([clip for clip, _ in pairs], sample_rate, sample_rate, notice=notice)
    return ClipSet([clip.name for clip, _ in pairs], [label for _, label in pairs], pcm, sample_rate, "data", task.labels)


def _bundled(config: EvaluationConfig, task: Task, sample_rate: int) -> ClipSet:
    from ..data.samples import SAMPLE_RATE, bundled_labels, load_bundled

    if sample_rate != SAMPLE_RATE:
        raise ConfigError(f"the bundled clips have {SAMPLE_RATE} Hz, the model hears {sample_rate} Hz: name data with SPEECHADV_DATA or `data`")
    wanted = [label for label in task.labels if label in bundled_labels()]
    if not wanted:
        raise DataError(f"no bundled clip belongs to task '{shown(task.name)}': name data with SPEECHADV_DATA or `data`")
    waveforms, labels, names = load_bundled(wanted)
    order = sorted(range(len(names)), key=names.__getitem__)
    names, labels = [names[i] for i in order], [labels[i] for i in order]
    rows = chosen(names, labels, config)
    pcm = to_pcm16(waveforms[order])[rows]
    return ClipSet([names[i] for i in rows], [labels[i] for i in rows], pcm, sample_rate, BUNDLED, task.labels)


def chosen(names: Sequence[str], labels: Sequence[str], config: EvaluationConfig) -> list[int]:
    """Which of the clips: those of the list, then a stratified part; positions in ascending order."""
    rows = _listed(names, config.clip_list) if config.clip_list else list(range(len(names)))
    if config.clips is None or config.clips >= len(rows):
        return rows
    return sorted(_stratified(rows, names, labels)[: config.clips])


def _stratified(rows: list[int], names: Sequence[str], labels: Sequence[str]) -> list[int]:
    """The rows in an order of which every beginning has each label in proportion: clip k of n of its label stands at (k + 1/2) / n."""
    rank: dict[str, int] = {}
    counts = Counter(labels[row] for row in rows)
    place = {}
    for row in sorted(rows, key=lambda row: _hash(names[row])):
        k = rank.get(labels[row], 0)
        rank[labels[row]] = k + 1
        place[row] = ((k + 0.5) / counts[labels[row]], _hash(names[row]))
    return sorted(rows, key=place.__getitem__)


def _hash(name: str) -> int:
    return derived_seed(0, "subset", name)


def _listed(names: Sequence[str], path: str) -> list[int]:
    """Positions of the names in a list file; empty lines and those that begin with # are skipped."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as problem:
        raise ConfigError(f"clip_list '{shown(path)}': {problem.strerror}") from None
    wanted = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    place = {name: row for row, name in enumerate(names)}
    for name in wanted:
        if name not in place:
            raise ConfigError(f"clip_list '{shown(path)}': no clip '{shown(name)}' in this split and task{closest(name, names)}")
    if not wanted:
        raise ConfigError(f"clip_list '{shown(path)}': expected clip names, one a line, found none")
    return sorted({place[name] for name in wanted})
