"""From rows of damaged clips to errors: by corruption and strength, and their mean relative to a reference (Hendrycks & Dietterich 2019)."""
from collections import defaultdict
from typing import Any, Sequence

from ..defenses import NONE
from .corruptions.base import STRENGTHS
from .rows import Row


def lines(rows: Sequence[Row], reference: str) -> list[dict[str, Any]]:
    """One line a model and defense, in the order of the rows.

    Args:
        rows: of corruptions.jsonl.
        reference: the model, undefended, that the errors are relative to.

    Returns:
        `model, defense, clips, corruption_accuracy` (the mean over corruptions and strengths), `mce` and `corruptions`: a list of `corruption,
        accuracies` (one a strength), `error` (their mean, from 1) and `relative_error`.

        With E the error of the model and R that of the reference, the relative error of a corruption is sum E / sum R over its strengths, equation 1
        of Hendrycks & Dietterich 2019 (arXiv:1903.12261), and `mce` its mean, as fractions of 1. A corruption under which the reference makes no error
        has None and is left out of the mean; `mce` is None where that leaves nothing.
    """
    found = defaultdict(lambda: defaultdict(lambda: [[0, 0] for _ in range(STRENGTHS)]))
    for row in rows:
        counts = found[row["model"], row["defense"]][row["corruption"]][row["strength"] - 1]
        counts[0] += row["prediction"] == row["label"]
        counts[1] += 1
    shares = {pair: {name: [right / n if n else None for right, n in counts] for name, counts in table.items()} for pair, table in found.items()}
    clips = {pair: max(n for counts in table.values() for _, n in counts) for pair, table in found.items()}
    return [_line(pair, table, shares.get((reference, NONE), {}), clips[pair]) for pair, table in shares.items()]


def _line(pair: tuple[str, str], table: dict[str, list], reference: dict[str, list], clips: int) -> dict[str, Any]:
    each = [_corruption(name, accuracies, reference.get(name)) for name, accuracies in table.items()]
    relative = [one["relative_error"] for one in each if one["relative_error"] is not None]
    return {"model": pair[0], "defense": pair[1], "clips": clips, "corruption_accuracy": 1 - _mean([one["error"] for one in each]),
            "mce": _mean(relative) if relative else None, "corruptions": each}


def _corruption(name: str, accuracies: list, reference: list | None) -> dict[str, Any]:
    error, others = _error(accuracies), _error(reference) if reference else None
    return {"corruption": name, "accuracies": accuracies, "error": error, "relative_error": error / others if others else None}


def _error(accuracies: list) -> float:
    return 1 - _mean([accuracy for accuracy in accuracies if accuracy is not None])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def columns(found: Sequence[dict[str, Any]], line: dict[str, Any]) -> dict[str, Any]:
    """`corruption_accuracy` and `mce` for a line of the run's table: those of its model and defense."""
    for one in found:
        if (one["model"], one["defense"]) == (line["model"], line["defense"]):
            return {"corruption_accuracy": one["corruption_accuracy"], "mce": one["mce"]}
    return {"corruption_accuracy": None, "mce": None}
