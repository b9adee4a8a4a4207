"""Whether an exported file says what the model says: logits and verdicts side by side, on the bundled clips and on the validation split."""
import hashlib
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .. import audio
from ..data import data_roots, load, scan, select, task
from ..data.samples import SAMPLE_RATE, load_bundled
from ..errors import DataError

BATCH = 64
Hear = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Spoken:
    """Clips of one second: `waveforms` float32 (n, time), `words` their labels, `source` where they come from in words."""

    source: str
    waveforms: np.ndarray
    words: Sequence[str]


def bundled(labels: Sequence[str], sample_rate: int) -> Spoken:
    """The bundled clips at a model's rate; all of them, since verdicts can be compared on words that a model has no label for."""
    waveforms, words, _ = load_bundled()
    if sample_rate != SAMPLE_RATE:
        waveforms = np.stack([audio.to_grid(audio.fitted(audio.resample(clip, SAMPLE_RATE, sample_rate), sample_rate)) for clip in waveforms])
    return Spoken("bundled clips", waveforms, words)


def of_split(labels: Sequence[str], sample_rate: int, split: str, number: int | None = None) -> Spoken | None:
    """Clips of a split of SPEECHADV_DATA, or None where there is no data or none with these labels.

    Args:
        labels: of the model.
        sample_rate: Hz.
        split: "train" or "validation".
        number: so many of them, chosen by a hash of their names; None for all.
    """
    roots = data_roots([])
    try:
        pairs = select(scan(roots), task(list(labels)), split) if roots else []
    except DataError:
        return None
    if number is not None:
        pairs = sorted(pairs, key=lambda pair: hashlib.blake2b(pair[0].name.encode("utf-8", "surrogateescape")).digest())[:number]
    if not pairs:
        return None
    pcm = load([clip for clip, _ in pairs], sample_rate, sample_rate)
    return Spoken(f"{split} split", audio.from_pcm16(np.asarray(pcm)), [label for _, label in pairs])


def compared(model: nn.Module, other: Hear, spoken: Spoken) -> dict[str, Any]:
    """What two say about the same clips.

    Returns:
        `clips`; `largest_logit_difference`; `equal_verdicts`, a fraction of 1; `accuracy` of the model and `accuracy_exported`, over the `labelled`
        clips whose word the model has a label for (None without any).
    """
    before, after = heard(model, spoken.waveforms), heard(other, spoken.waveforms)
    words = [list(model.labels).index(word) if word in model.labels else -1 for word in spoken.words]
    known = torch.tensor(words) >= 0
    right = [float((logits.argmax(1) == torch.tensor(words))[known].double().mean()) if known.any() else None for logits in (before, after)]
    return {"source": spoken.source, "clips": len(words), "largest_logit_difference": float((before - after).abs().max()),
            "equal_verdicts": float((before.argmax(1) == after.argmax(1)).double().mean()), "labelled": int(known.sum()),
            "accuracy": right[0], "accuracy_exported": right[1]}


@torch.no_grad()
def heard(model: Hear, waveforms: np.ndarray) -> Tensor:
    """Logits (n, classes), a batch at a time."""
    return torch.cat([model(torch.from_numpy(waveforms[start : start + BATCH])) for start in range(0, len(waveforms), BATCH)])
