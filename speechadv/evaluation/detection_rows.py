"""Rows of a detection run: one clip as one detector sees it a line of detection.jsonl, each with a checksum; and the lines of the table from them."""
import statistics
from pathlib import Path
from typing import Any, Iterable, Sequence

from . import shapes
from .metrics import mean, middle, rate
from .rows import sealed, unsealed
from .separation import auc, auc_interval, threshold_for

ROWS = "detection.jsonl"
VALIDATION, CLEAN = "validation", "clean"
EARLY, OBLIVIOUS, ADAPTIVE = "early", "oblivious", "adaptive"
ATTACKERS = (EARLY, OBLIVIOUS, ADAPTIVE)
KINDS = (VALIDATION, CLEAN, *ATTACKERS)
KEY = ("model", "detector", "budget", "kind", "clip")  # of a row; budget is null where nothing was attacked
SHAPE: dict[str, shapes.Check] = {
    "model": shapes.text, "detector": shapes.text, "budget": shapes.or_none(shapes.text), "kind": lambda value: value in KINDS, "seed": shapes.whole,
    "clip": shapes.text, "label": shapes.text, "target": shapes.or_none(shapes.text), "clean_prediction": shapes.text, "prediction": shapes.text,
    "score": shapes.finite, "threshold": shapes.or_none(shapes.finite), "weight": shapes.or_none(shapes.finite), "linf": shapes.finite,
    "snr_db": shapes.or_none(shapes.finite), "passes": shapes.whole, "queries": shapes.whole, "audio": shapes.or_none(shapes.text)}
LINE_KEYS = ("model", "detector", "budget", "seed", "attacker", "adaptive", "goal")
Row = dict[str, Any]


def encode(row: Row) -> str:
    """A row as a line with its checksum."""
    return sealed({name: row[name] for name in SHAPE})


def decode(line: str) -> Row | None:
    """The row of a line; None where it is torn, changed, or none of ours."""
    row = unsealed(line)
    return row if row is not None and tuple(row) == tuple(SHAPE) and shapes.fits(row, SHAPE) else None


def read(path: Path) -> list[Row]:
    """The whole rows of a file, the first of each key; a missing file has none."""
    found: dict[tuple, Row] = {}
    for line in path.read_bytes().decode("ascii", "replace").splitlines(keepends=True) if path.exists() else ():
        row = decode(line)
        if row is not None:
            found.setdefault(key(row), row)
    return list(found.values())


def key(row: Row) -> tuple:
    """What a row is found by."""
    return tuple(row[name] for name in KEY)


def fooled(row: Row) -> bool:
    """Whether the attacker got what he wanted of the model from a clip that it heard right."""
    wanted = row["prediction"] == row["target"] if row["target"] is not None else row["prediction"] != row["label"]
    return row["clean_prediction"] == row["label"] and wanted


def scale_of(scores: Sequence[float], threshold: float) -> float:
    """What counts as a large difference between scores: from the median of clean clips to the threshold; 1 where both are the same."""
    return abs(threshold - statistics.median(scores)) or 1.0


def lines(rows: Iterable[Row], false_alarms: float) -> list[dict[str, Any]]:
    """The lines of the table: one for each model, detector, budget and attacker.

    Each has the threshold that validation clips give at this false-alarm rate, the false alarms on clean test clips, and of the clips attacked (all heard right):
    `fooled`, the share of which the model alone is fooled; `detected`, the share of these that are suspected; `undetected`, the share of all that
    fool the model and are not suspected; `auc` between clean clips and those that fool. Rates stand with Wilson's intervals. Without rows of an attacker who knew
    the detector, nothing is said of what it detects: `detected`, `undetected` and `auc` are None.
    """
    groups: dict[tuple, dict[str, list[Row]]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["detector"], row["budget"]), {}).setdefault(row["kind"], []).append(row)
    found = []
    for (model, detector, budget), parts in groups.items():
        clean = groups.get((model, detector, None), {})
        if budget is None or VALIDATION not in clean or CLEAN not in clean:
            continue
        common = _against_clean(clean[VALIDATION], clean[CLEAN], false_alarms)
        for attacker in (name for name in ATTACKERS if name in parts):
            those = parts[attacker]
            head = (model, detector, budget, those[0]["seed"], attacker, attacker == ADAPTIVE, "untargeted" if those[0]["target"] is None else "targeted")
            found.append(dict(zip(LINE_KEYS, head)) | common | _against(those, clean[CLEAN], common["threshold"], ADAPTIVE in parts))
    return found


def _against_clean(validation: Sequence[Row], clean: Sequence[Row], false_alarms: float) -> dict[str, Any]:
    """The threshold, and what it costs on clean clips."""
    threshold = threshold_for([row["score"] for row in validation], false_alarms)
    alarms = sum(row["score"] > threshold for row in clean)
    return {"threshold": threshold, "validation_clips": len(validation), "clean_clips": len(clean), **rate("false_alarms", alarms, len(clean)),
            "clean_score_median": middle(clean, "score")}


def _against(rows: Sequence[Row], clean: Sequence[Row], threshold: float, attacked_adaptively: bool) -> dict[str, Any]:
    """How an attacker fared."""
    wins = [row for row in rows if fooled(row)]
    seen = sum(row["score"] > threshold for row in wins)
    numbers = {"clips_right": len(rows), "clips_fooled": len(wins), **rate("fooled", len(wins), len(rows))}
    numbers |= rate("detected", seen, len(wins)) if attacked_adaptively else rate("detected", 0, 0)
    numbers |= rate("undetected", len(wins) - seen, len(rows)) if attacked_adaptively else rate("undetected", 0, 0)
    area, low, high = None, None, None
    if wins and attacked_adaptively:
        scores = [{row["clip"]: row["score"] for row in part} for part in (clean, wins)]
        area, (low, high) = auc(*(list(part.values()) for part in scores)), auc_interval(*scores, seed=rows[0]["seed"])
    return numbers | {"auc": area, "auc_low": low, "auc_high": high, "score_median": middle(wins, "score"), "snr_db_median": middle(wins, "snr_db"),
                      "linf_median": middle(wins, "linf"), "passes_mean": mean(rows, "passes")}
