"""Figures of a run, each from its saved files alone: `draw(kind, run)`."""
from pathlib import Path
from typing import Callable

from matplotlib.figure import Figure

from ...errors import ConfigError, shown
from ...registry import closest
from ..style import styled
from .certified import certified
from .clip import masking, spectrograms
from .costs import minimum, points, queries
from .leaderboard import leaderboard
from .matrix import matrix
from .roc import roc
from .security import AXES, security, series, value_of
from .success import success
from .training import training

__all__ = ["AXES", "AS_CSV", "KINDS", "TAKES", "draw", "points", "series", "value_of"]

KINDS: dict[str, Callable[..., Figure]] = {
    "spectrograms": spectrograms, "masking": masking, "security": security, "success": success, "matrix": matrix, "queries": queries,
    "minimum": minimum, "certified": certified, "roc": roc, "leaderboard": leaderboard, "training": training}
AS_CSV = ("queries", "minimum")  # whose points `plot` also writes as CSV, see `points`
TAKES = {"spectrograms": ("row",), "masking": ("row",), "security": ("over",), "matrix": ("cell",)}


def draw(kind: str, folder: Path, *, row: int | None = None, over: str | None = None, cell: int | None = None) -> Figure:
    """Draw one figure.

    Args:
        kind: one of `KINDS`.
        folder: of a run (of a training run for "training", of `certify` for "certified", of recipes/detection for "roc").
        row: for the figures of one clip: its line in rows.jsonl, counted from 1; by default the first that was fooled.
        over: for "security": eps, snr, margin or bitrate; by default the one with most values.
        cell: for "matrix": the line of table.csv, counted from 1 without its head; by default the one with most successes.

    Raises:
        ConfigError: an unknown kind. InputError: the run lacks what the figure needs.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown figure '{shown(kind)}'{closest(kind, KINDS)} (known: {', '.join(KINDS)})")
    choices = {"row": row, "over": over, "cell": cell}
    with styled():
        return KINDS[kind](folder, **{key: choices[key] for key in TAKES.get(kind, ())})
