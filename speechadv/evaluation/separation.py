"""How well a score tells two groups of clips apart: a threshold for a false-alarm rate, the ROC curve, and its area with an interval."""
from math import floor
from typing import Sequence

import numpy as np

from .statistics import TAILS


def threshold_for(clean: Sequence[float], false_alarms: float) -> float:
    """The lowest of these scores above which no more than this share of them lies.

    Args:
        clean: scores of clean clips, higher is more suspicious.
        false_alarms: the share, from 0 up to but not 1.

    Raises:
        ValueError: no scores.
    """
    ordered = sorted(clean, reverse=True)
    if not ordered:
        raise ValueError("expected scores of clean clips, got none")
    return ordered[floor(false_alarms * len(ordered) + 1e-9)]


def roc(clean: Sequence[float], adversarial: Sequence[float]) -> list[tuple[float, float]]:
    """The points (share of clean clips above a threshold, share of adversarial ones above it) over all thresholds, from (0, 0) to (1, 1)."""
    no, yes = np.sort(clean), np.sort(adversarial)
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([no, yes]))[::-1]:
        points.append(tuple(float(1 - np.searchsorted(group, threshold) / len(group)) for group in (no, yes)))
    return points


def auc(clean: Sequence[float], adversarial: Sequence[float]) -> float:
    """The area under the ROC curve: the chance that an adversarial clip has the higher score of the two, ties counting half (Mann & Whitney 1947;
    Hanley & McNeil 1982)."""
    return float(_wins(clean, adversarial).mean())


def auc_interval(clean: dict[str, float], adversarial: dict[str, float], draws: int = 4000, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the area (Efron 1979): clips are drawn with replacement, with all their scores, since a clip and what an attack
    made of it are no two independent draws.

    Four imagined clips are among them, a clean and an adversarial one below all others and above all others, as in `paired_bootstrap`: without them
    groups that do not overlap at all would give an interval of no width. Where the drawn clips lack a group, they are drawn again.

    Args:
        clean, adversarial: scores by clip, neither empty.
        draws: of as many clips.
        seed: of the draws.

    Returns:
        (low, high), fractions of 1, with the area itself between them.
    """
    names = sorted({*clean, *adversarial})
    place = {name: row for row, name in enumerate(names)}
    no, yes = ([*sorted(group), None, None] for group in (clean, adversarial))  # the last two are imagined
    wins = _wins(*([*(group[name] for name in order[:-2]), -np.inf, np.inf] for group, order in ((clean, no), (adversarial, yes)))).astype(np.float32)
    many = len(names) + 4
    rows_no, rows_yes = (np.array([*(place[name] for name in order[:-2]), len(names) + first, len(names) + first + 1]) for order, first in ((no, 0), (yes, 2)))
    generator, found = np.random.default_rng(seed), []
    while len(found) < draws:
        counts = generator.multinomial(many, np.full(many, 1 / many), size=draws - len(found)).astype(np.float32)
        weight_no, weight_yes = counts[:, rows_no], counts[:, rows_yes]
        pairs = weight_yes.sum(1) * weight_no.sum(1)
        found += (((weight_yes @ wins) * weight_no).sum(1)[pairs > 0] / pairs[pairs > 0]).tolist()
    low, high = np.quantile(found, TAILS)
    area = float(wins[:-2, :-2].mean())
    return min(float(low), area), max(float(high), area)


def _wins(clean: Sequence[float], adversarial: Sequence[float]) -> np.ndarray:
    """(adversarial, clean): 1 where the adversarial clip has the higher score, 1/2 where they are the same."""
    no, yes = np.asarray(clean, np.float64)[None], np.asarray(adversarial, np.float64)[:, None]
    return (yes > no) + 0.5 * (yes == no)
