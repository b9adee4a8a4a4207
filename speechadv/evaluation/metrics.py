"""What a row says, and the rates of a set of rows."""
from collections import Counter
from statistics import median
from typing import Any, Iterable, Sequence

from .quality import columns_of
from .rows import Row
from .statistics import wilson


def right_before(row: Row) -> bool:
    """Whether the model hears the clean clip as its label."""
    return row["clean_prediction"] == row["label"]


def robust(row: Row) -> bool:
    """Whether it hears the label before and after."""
    return right_before(row) and row["adversarial_prediction"] == row["label"]


def succeeded(row: Row) -> bool:
    """Whether the attack got what it wanted from a clip that was right before: the target word, or without one any other word."""
    wanted = row["adversarial_prediction"] == row["target"] if row["target"] is not None else row["adversarial_prediction"] != row["label"]
    return right_before(row) and wanted


def rate(name: str, successes: int, trials: int) -> dict[str, float | None]:
    """`name`, `name_low`, `name_high`: a fraction with its Wilson interval; None without trials."""
    low, high = wilson(successes, trials) or (None, None)
    return {name: successes / trials if trials else None, f"{name}_low": low, f"{name}_high": high}


def middle(rows: Iterable[Row], column: str) -> float | None:
    """The median of a column, nulls left out."""
    values = [row[column] for row in rows if row[column] is not None]
    return float(median(values)) if values else None


def mean(rows: Iterable[Row], column: str) -> float | None:
    """The mean of a column, nulls left out."""
    values = [row[column] for row in rows if row[column] is not None]
    return sum(values) / len(values) if values else None


def asked(rows: Iterable[Row]) -> float | None:
    """The mean of the queries; None where none was asked."""
    return mean(rows, "queries") or None


def summary(rows: Sequence[Row], targeted: bool, attacked_adaptively: bool) -> dict[str, Any]:
    """The numbers of a cell, in the table's order.

    Args:
        rows: of one cell.
        targeted: whether there is a target; without one there is no targeted success.
        attacked_adaptively: without it the robust accuracy is None: nothing was measured that deserves the name.
    """
    right = [row for row in rows if right_before(row)]
    numbers = {"clips": len(rows), "clips_right": len(right), **rate("clean_accuracy", len(right), len(rows))}
    numbers |= rate("robust_accuracy", sum(map(robust, rows)), len(rows)) if attacked_adaptively else rate("robust_accuracy", 0, 0)
    numbers |= rate("targeted_success", sum(map(succeeded, right)), len(right)) if targeted else rate("targeted_success", 0, 0)
    return numbers | {"snr_db_median": middle(right, "snr_db"), "linf_median": middle(right, "linf"),
                      "masking_excess_db_median": middle(right, "masking_excess_db"), "passes_mean": mean(right, "passes"), "queries_mean": asked(right)}


def quality_medians(rows: Sequence[Row]) -> dict[str, float | None]:
    """`pesq_median` and so on: of the measures that all of a cell's rows have, over the clips that were right before, nulls left out."""
    right = [row for row in rows if right_before(row)]
    return {f"{name}_median": middle(right, name) for name in (columns_of(rows[0]) if rows else ())}


def by_label(rows: Sequence[Row], attacked_adaptively: bool) -> dict[str, Any]:
    """Accuracies of each label with their counts, and the means over the labels that have clips (balanced)."""
    counts = Counter(row["label"] for row in rows)
    before = Counter(row["label"] for row in rows if right_before(row))
    after = Counter(row["label"] for row in rows if robust(row))
    labels = [{"label": label, "clips": n, "clips_right": before[label], "clean_accuracy": before[label] / n,
               "robust_accuracy": after[label] / n if attacked_adaptively else None} for label, n in sorted(counts.items())]
    balanced = {f"{name}_balanced": _mean_of(labels, name) for name in ("clean_accuracy", "robust_accuracy")}
    return {"labels": labels, **balanced}


def _mean_of(entries: Sequence[dict], key: str) -> float | None:
    values = [entry[key] for entry in entries if entry[key] is not None]
    return sum(values) / len(values) if values else None
