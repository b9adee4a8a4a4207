"""An attack inside a long recording: a second of it changes, and every window that hears a part of that second has to say what is wanted."""
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .. import audio
from ..errors import InputError, shown
from .listening import FILLERS, WINDOW, Detection, Listening

LARGE = 30.0  # the margin of a window that may hear anything


@dataclass
class Place:
    """A second of a recording and what lies around it, at the model's rate.

    Attributes:
        start: first sample of the span.
        span, before, after: float32 (time,); `before` and `after` are what windows that overlap the span also hear, zeros beyond the recording's ends.
        first: first sample of `before`.
    """

    start: int
    first: int
    before: np.ndarray
    span: np.ndarray
    after: np.ndarray


def place(blocks: Iterator[np.ndarray], at: float, sample_rate: int, named: str) -> Place:
    """The second from `at` (seconds) on. Memory holds three seconds. Raises InputError where the recording ends before it."""
    length = round(WINDOW * sample_rate)
    start = round(at * sample_rate)
    first, last = max(0, start - length), start + 2 * length
    kept, passed = [], 0
    for block in blocks:
        kept.append(block[max(0, first - passed) : max(0, last - passed)])
        passed += len(block)
        if passed >= last:
            break
    if passed < start + length:
        raise InputError(f"--at {at:g}: expected a second that lies inside {named}, which has {passed / sample_rate:.2f} s")
    sound = audio.fitted(np.concatenate(kept), last - first)
    here = start - first
    return Place(start, first, sound[:here], sound[here : here + length], sound[here + length :])


class Overlapping(nn.Module):
    """A classifier of two classes, "as wanted" and "otherwise", for the span of a recording: all windows that overlap it are heard.

    A window is as wanted by how far its best allowed label lies above its best other one; the span by a soft minimum over the windows, which is
    never above the least of them.

    Args:
        model: what hears the windows.
        where: the span and its surroundings.
        offsets: first samples of the windows, counted from that of `where.before`.
        allowed: (windows, labels) bool, the labels that each window may give.
    """

    labels = ("as wanted", "otherwise")

    def __init__(self, model: nn.Module, where: Place, offsets: Sequence[int], allowed: Tensor):
        super().__init__()
        self.model, self.sample_rate, self.offsets = model, model.sample_rate, list(offsets)
        self.register_buffer("before", torch.from_numpy(where.before)[None], persistent=False)
        self.register_buffer("after", torch.from_numpy(where.after)[None], persistent=False)
        self.register_buffer("allowed", allowed, persistent=False)

    def windows(self, spans: Tensor) -> Tensor:
        """(batch, time) -> logits (batch, windows, labels)."""
        count, length = spans.shape
        whole = torch.cat([self.before.expand(count, -1), spans, self.after.expand(count, -1)], 1)
        heard = torch.stack([whole[:, offset : offset + length] for offset in self.offsets], 1)
        return self.model(heard.flatten(0, 1)).unflatten(0, (count, len(self.offsets)))

    def forward(self, spans: Tensor) -> Tensor:
        logits = self.windows(spans)
        good, bad = (logits.masked_fill(~mask, -torch.inf).amax(2) for mask in (self.allowed, ~self.allowed))
        margins = (good - bad).clamp(-LARGE, LARGE)
        margin = -torch.logsumexp(-margins, 1)
        return torch.stack([margin, -margin], 1) / 2


def overlapping_windows(where: Place, hop: int, length: int) -> list[int]:
    """First samples, counted from that of `where.before`, of the windows on the grid of `hop` that hear a part of the span."""
    grid = range(0, where.start + length, hop)
    return [first - where.first for first in grid if first > where.start - length and first - where.first >= 0]


def allowed_labels(heard: Sequence[str], labels: Sequence[str], target: str | None, hidden: str | None, central: Sequence[bool]) -> Tensor:
    """What each window may hear, so that no new word comes up.

    Args:
        heard: what the windows hear before.
        labels: of the model.
        target: the word to insert: the central windows have to hear it, the others may.
        hidden: the word to hide: no window may hear it. Where the model has no filler label, any other word is allowed in its place.
        central: which windows are central.

    Returns:
        (windows, labels) bool.
    """
    fillers = [label for label in labels if label in FILLERS] or ([label for label in labels if label != hidden] if hidden else [])
    rows = []
    for word, middle in zip(heard, central):
        words = {target} if target and middle else ({word, target, *fillers} - {None}) - {hidden}
        rows.append([label in words for label in labels])
    return torch.tensor(rows)


def central_windows(offsets: Sequence[int], where: Place, how: Listening) -> list[bool]:
    """The windows nearest to the span, as many as are averaged."""
    here = len(where.before)
    nearest = sorted(offsets, key=lambda offset: (abs(offset - here), offset))[: how.smooth]
    return [offset in nearest for offset in offsets]


def write_with_span(source: Path, target: Path, where: Place, span: np.ndarray, sample_rate: int) -> None:
    """The recording at the model's rate as 16-bit WAV, its second replaced; block by block, all or nothing."""
    import os
    import secrets

    import soundfile

    aside, passed = target.parent / f"{audio.ASIDE}{secrets.token_hex(8)}", 0
    try:
        with open(aside, "xb") as raw, soundfile.SoundFile(raw, "w", sample_rate, 1, subtype="PCM_16", format="WAV") as file:
            for block in audio.stream(source, sample_rate):
                block = block.copy()
                low, high = (min(max(edge - passed, 0), len(block)) for edge in (where.start, where.start + len(span)))
                block[low:high] = span[low + passed - where.start : high + passed - where.start]
                file.write(audio.to_pcm16(block))
                passed += len(block)
        os.replace(aside, target)
    except OSError as problem:
        raise InputError(f"cannot write '{shown(target)}': {problem.strerror or problem}") from None
    finally:
        aside.unlink(missing_ok=True)


def differences(before: Sequence[Detection], after: Sequence[Detection], wanted: str | None, hidden: str | None, span: tuple[float, float]) -> dict[str, list]:
    """`new`: words heard after that nothing of the same word overlaps before; `lost`: the other way round. What was wanted in the span is neither."""
    def unmatched(some, others, excused):
        return [word for word in some if not any(word.word == other.word and word.start < other.end and other.start < word.end for other in others)
                and not (word.word == excused and word.start < span[1] and span[0] < word.end)]

    return {"new": unmatched(after, before, wanted), "lost": unmatched(before, after, hidden)}


def heard_in(words: Sequence[Detection], word: str | None, span: tuple[float, float]) -> list[Detection]:
    """The detections that overlap the span, of one word or of any."""
    return [found for found in words if found.start < span[1] and span[0] < found.end and word in (None, found.word)]
