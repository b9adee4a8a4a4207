"""Words in a recording of any length: windows slide over it, their probabilities are smoothed, and what stays above a threshold is a word heard."""
from collections import deque
from dataclasses import dataclass
from typing import Any, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ..attacks.base import frozen, padded_call
from ..audio import fitted
from ..config import require
from ..data.speech_commands import SILENCE, UNKNOWN
from ..errors import InputError

FILLERS = (UNKNOWN, SILENCE)  # labels that are no words
BATCH = 32
WINDOW = 1.0  # seconds that a keyword spotter hears


@dataclass(frozen=True)
class Listening:
    """How to listen. `hop` in seconds from one window to the next; `smooth`: windows whose probabilities are averaged; `threshold` of the average.

    Raises ConfigError: a value out of range.
    """

    hop: float = 0.25
    smooth: int = 3
    threshold: float = 0.6

    def __post_init__(self):
        for key, good, expected in (("hop", 0.01 <= self.hop <= WINDOW, f"0.01 to {WINDOW:g} seconds"), ("smooth", 1 <= self.smooth <= 100, "1 to 100 windows"),
                                    ("threshold", 0 < self.threshold <= 1, "a number above 0, at most 1")):
            require(good, f"--{key}", expected, getattr(self, key), "listening")


@dataclass
class Detection:
    """A word: heard in windows from `start` to `end`, surest around `time` (all in seconds), with the smoothed probability `score` there."""

    word: str
    start: float
    end: float
    time: float
    score: float

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON and CSV; times to a millisecond."""
        return {"start": round(self.start, 3), "end": round(self.end, 3), "time": round(self.time, 3), "word": self.word, "score": round(self.score, 4)}


def windows(blocks: Iterable[np.ndarray], length: int, hop: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first sample, float32 (length,)) every `hop` samples; the last one is filled up with zeros, so that no sample goes unheard.

    Holds one block and one window in memory.
    """
    held, start, covered = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= length:
            yield start, held[:length].copy()
            covered = start + length
            held, start = held[hop:], start + hop
    if start + len(held) > covered:
        yield start, fitted(held, length)


def heard(model: nn.Module, blocks: Iterable[np.ndarray], hop: int, device: str = "cpu") -> Iterator[tuple[int, Tensor]]:
    """(first sample, probabilities (labels,) float64) of each window. Raises InputError where the model answers with NaN."""
    batch: list[tuple[int, np.ndarray]] = []
    for pair in windows(blocks, round(WINDOW * model.sample_rate), hop):
        batch.append(pair)
        if len(batch) == BATCH:
            yield from _batch(model, batch, device)
            batch = []
    if batch:
        yield from _batch(model, batch, device)


def _batch(model: nn.Module, batch: list[tuple[int, np.ndarray]], device: str) -> Iterator[tuple[int, Tensor]]:
    sound = torch.from_numpy(np.stack([window for _, window in batch])).to(device)
    with frozen(model), torch.no_grad():
        logits = padded_call(model, sound).double().cpu()
    if not logits.isfinite().all():
        raise InputError("the model answers with NaN or infinite logits")
    yield from zip([start for start, _ in batch], logits.softmax(1))


def detections(model: nn.Module, blocks: Iterable[np.ndarray], how: Listening, device: str = "cpu", progress=None) -> Iterator[Detection]:
    """The words of a recording, in the order in which they end (smoothing after Chen, Parada & Heigold 2014, section 3.3).

    Args:
        model: a classifier; `_unknown_` and `_silence_` are no words.
        blocks: float32 (any,) each, one after the other, at the model's rate.
        how: hop, smoothing and threshold.
        device: where the model is.
        progress: called with 1 for each window.

    Raises:
        InputError: the model answers with NaN.
    """
    rate, hop = model.sample_rate, round(how.hop * model.sample_rate)
    words = [index for index, label in enumerate(model.labels) if label not in FILLERS]
    recent: deque = deque(maxlen=how.smooth)
    current: Detection | None = None
    for start, probabilities in heard(model, blocks, hop, device):
        recent.append((start, probabilities))
        mean = sum(each for _, each in recent) / len(recent)
        best = max(words, key=lambda index: mean[index])
        score, begin, end = float(mean[best]), recent[0][0] / rate, start / rate + WINDOW
        found = score >= how.threshold and int(mean.argmax()) == best
        if current and not (found and current.word == model.labels[best]):
            yield current
            current = None
        if found and current is None:
            current = Detection(model.labels[best], begin, end, (begin + end) / 2, score)
        elif found:
            current.end = end
            if score > current.score:
                current.time, current.score = (begin + end) / 2, score
        if progress:
            progress(1)
    if current:
        yield current
