"""Curves from rows: how the share of successes grows with the queries spent, or with how loud the perturbation may be."""
from typing import Any, Sequence

from ..registry import lookup
from .metrics import right_before, succeeded
from .rows import Row
from .statistics import wilson

Point = dict[str, Any]


def success_over_queries(rows: Sequence[Row]) -> list[Point]:
    """The share of clips that a black-box attack has won with at most so many queries, of those that were right before.

    Args:
        rows: of one cell.

    Returns:
        Points of `queries`, `success`, `success_low`, `success_high` (Wilson) and `clips`, a step each, from 0 queries to the most that were spent;
        empty where no clip was right before.
    """
    right = [row for row in rows if right_before(row)]
    spent = sorted(row["queries"] for row in right if succeeded(row))
    last = max((row["queries"] for row in right), default=0)
    steps = sorted({0, *spent, last})
    return [_point("queries", step, sum(cost <= step for cost in spent), len(right)) for step in steps] if right else []


def success_over_snr(rows: Sequence[Row]) -> list[Point]:
    """The share of clips that an attack has won with a perturbation at least so many dB below the clip, of those that were right before.

    A success without a change, whose SNR is null, counts at every SNR.

    Args:
        rows: of one cell.

    Returns:
        Points of `snr_db`, `success`, `success_low`, `success_high` (Wilson) and `clips`, a step each, in ascending order of SNR; empty where there
        is no success.
    """
    right = [row for row in rows if right_before(row)]
    won = [float("inf") if row["snr_db"] is None else row["snr_db"] for row in right if succeeded(row)]
    return [_point("snr_db", step, sum(level >= step for level in won), len(right)) for step in sorted(set(won) - {float("inf")})]


def _point(name: str, value: float, successes: int, clips: int) -> Point:
    low, high = wilson(successes, clips)
    return {name: value, "success": successes / clips, "success_low": low, "success_high": high, "clips": clips}


def asks_only(rows: Sequence[Row]) -> bool:
    """Whether the attack of these rows searched by queries and without gradients; a single query is no search."""
    return any(row["queries"] > 1 for row in rows) and not any(row["passes"] for row in rows)


def seeks_smallest(attack: str) -> bool:
    """Whether an attack, by its label in rows, looks for the smallest perturbation that works: what it finds stands at the edge."""
    return lookup("attack", attack.split()[0]).at_edge
