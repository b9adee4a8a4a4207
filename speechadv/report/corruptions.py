"""corruptions.csv and the section of table.md on everyday damage."""
import csv
import io
from pathlib import Path
from typing import Any, Sequence

from ..audio import write_bytes
from ..errors import shown
from ..evaluation import corrupted
from ..evaluation.corruption_errors import lines
from ..evaluation.corruptions.base import STRENGTHS
from ..evaluation.settings import EvaluationConfig
from ..evaluation.statistics import wilson
from ..registry import lookup

COLUMNS = ("model", "defense", "corruption", "strength", "value", "unit", "clips", "accuracy", "accuracy_low", "accuracy_high")


def summarised(run: Path, config: EvaluationConfig) -> list[dict[str, Any]]:
    """The lines of `corruption_errors.lines`, corruptions.csv written beside; none where the run has no damaged clips."""
    found = lines(corrupted.read(run / corrupted.ROWS), config.corruption_reference)
    if found:
        write_bytes(run / "corruptions.csv", _csv(found).encode("utf-8", "backslashreplace"))
    return found


def _csv(found: Sequence[dict[str, Any]]) -> str:
    """A line a model, defense, corruption and strength, fractions of 1 at full precision."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in found:
        for one in line["corruptions"]:
            kind = lookup("corruption", one["corruption"])
            for strength, accuracy in enumerate(one["accuracies"], 1):
                low, high = wilson(round(accuracy * line["clips"]), line["clips"]) if accuracy is not None else ("", "")
                writer.writerow([line["model"], line["defense"], one["corruption"], strength, kind.values[strength - 1], kind.unit, line["clips"],
                                 "" if accuracy is None else repr(accuracy), low, high])
    return buffer.getvalue()


def as_text(found: Sequence[dict[str, Any]], reference: str, table) -> str:
    """The section of table.md; `table` makes one of heads and lines. Empty without damaged clips."""
    if not found:
        return ""
    head = ["model", "defense", "corruption", *(f"strength {k}" for k in range(1, STRENGTHS + 1)), "error relative to the reference %"]
    body = [[line["model"], line["defense"], one["corruption"], *map(_percent, one["accuracies"]), _percent(one["relative_error"])]
            for line in found for one in line["corruptions"]]
    return (f"Accuracy in percent under everyday damage, from mild (1) to severe (5), on 16-bit sound ({found[0]['clips']} clips; values in corruptions.csv). "
            f"`mCE %` is the mean over the corruptions of the error relative to that of `{shown(reference)}` without a defense, which has 100 "
            "(corruptions under which that makes no error are left out):\n\n" + table(head, body))


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
