"""Soft labels from teachers, heard on the very waveform that the student hears, and kept where the views are fixed."""
from pathlib import Path
from typing import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .settings import Teaching

LARGEST_TABLE = 2**31  # bytes of the answers of one run


class Teachers(nn.Module):
    """The averaged log-probabilities of several classifiers over the student's labels.

    A student's label that no teacher knows (`_silence_`) gets no probability: it keeps its hard label. `_unknown_` collects whatever a teacher
    hears beside the student's words.
    """

    def __init__(self, models: Sequence[nn.Module], labels: Sequence[str]):
        super().__init__()
        self.models, self.labels = nn.ModuleList(models), list(labels)
        known = set().union(*(m.labels for m in models))
        if not known & set(labels):
            raise ConfigError(f"teaching.models: no teacher knows any of the labels {', '.join(labels)}")

    def forward(self, waveforms: Tensor) -> Tensor:
        """(batch, time) -> log-probabilities (batch, labels), -inf where unknown to the teachers."""
        answers = torch.stack([mapped(m(waveforms).log_softmax(1), m.labels, self.labels) for m in self.models])
        known = answers > -torch.inf  # a label is averaged over those teachers that know it
        mean = torch.where(known, answers, 0).sum(0) / known.sum(0).clamp(min=1)
        return torch.where(known.any(0), mean, -torch.inf).log_softmax(1)


def mapped(log_probabilities: Tensor, theirs: Sequence[str], ours: Sequence[str]) -> Tensor:
    """Log-probabilities over a teacher's labels -> over the student's labels, renormalised; what neither knows is -inf."""
    theirs, columns = list(theirs), []
    others = [i for i, label in enumerate(theirs) if label not in ours and label != "_silence_" or label == "_unknown_"]
    for label in ours:
        if label == "_unknown_" and others:
            columns.append(log_probabilities[:, others].logsumexp(1))
        elif label in theirs and label != "_silence_":
            columns.append(log_probabilities[:, theirs.index(label)])
        else:
            columns.append(torch.full_like(log_probabilities[:, 0], -torch.inf))
    return torch.stack(columns, 1).log_softmax(1)


def soft_targets(log_probabilities: Tensor, hard: Tensor, silence: Tensor, settings: Teaching, alone: Tensor | None = None) -> Tensor:
    """Targets (batch, labels): tempered teacher mixed with the hard label; the hard label alone for silence, which teachers do not know; and the teacher alone
    where `alone` (batch,) says that a clip has no label of its own."""
    soft = (log_probabilities / settings.temperature).softmax(1)
    mixed = settings.hard_share * hard + (1 - settings.hard_share) * soft
    if alone is not None:
        mixed = torch.where(alone[:, None], soft, mixed)
    return torch.where(silence[:, None], hard, mixed)


def check_size(views: int, count: int, classes: int) -> None:
    """Raise ConfigError where the table of `cached_answers` would be too large."""
    most = LARGEST_TABLE // (2 * count * classes)
    if views > most:
        raise ConfigError(f"views: expected at most {most} with so many clips and labels, whose teachers' answers fill {LARGEST_TABLE >> 20} MiB then, got {views}; "
                          "0 asks the teachers anew in each batch")


def cached_answers(path: Path, count: int, views: int, classes: int, answer: Callable[[np.ndarray, int], Tensor], progress, batch_size: int = 64) -> np.ndarray:
    """The teachers' log-probabilities (views, count, classes) float16 on disk, made once and continued where a killed run stopped.

    `answer(indices, view)` computes a batch. Rows not yet made are NaN. The table is mapped, not held in memory.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part")  # no one must take zeros for answers
        with open(aside, "wb") as file:
            np.save(file, np.full((views, count, classes), np.nan, np.float16))
        aside.replace(path)
    table = np.lib.format.open_memmap(path, mode="r+")
    for view in range(views):
        missing = np.flatnonzero(np.isnan(table[view]).any(1))  # a killed process may leave half a row
        for start in progress(range(0, len(missing), batch_size), f"teacher, view {view + 1} of {views}"):
            indices = missing[start : start + batch_size]
            # float16 has no room for very small probabilities: -60 stands for "never".
            table[view, indices] = answer(indices, view).clamp(min=-60).half().numpy()
    table.flush()
    return table
