"""The numbers of a table counted again from rows, by none of the code that wrote the table."""
import math
from collections import Counter
from typing import Any, Iterable, Sequence

from ..quality import MEASURES, columns_of
from ..rows import Row

QUANTILE = 1.959964  # of the standard normal distribution, two-sided 95 %
KEYS = ("model", "defense", "attack", "threat", "budget", "seed")
WORST = "worst-of"
DASH = "–"
Key = tuple


def cells(rows: Sequence[Row]) -> dict[Key, list[Row]]:
    """(model, defense, attack, threat, budget, seed) -> rows, the aggregated worst cases included."""
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in KEYS), []).append(row)
    return found | _worst_cases(found)


def lines(grouped: dict[Key, list[Row]], targeted: bool) -> dict[Key, dict[str, Any]]:
    """The numbers of a line of the table for each of `cells`."""
    known = {(key[0], key[1], key[4], key[5]) for key, those in grouped.items() if those[0]["adaptive"]}
    return {key: _line(those, targeted, (key[0], key[1], key[4], key[5]) in known) for key, those in grouped.items()}


def _line(rows: list[Row], targeted: bool, adaptive_row: bool) -> dict[str, Any]:
    right = [row for row in rows if row["clean_prediction"] == row["label"]]
    kept = sum(row["adversarial_prediction"] == row["label"] for row in right)
    fooled = sum(row["adversarial_prediction"] == row["target"] for row in right)
    line: dict[str, Any] = {"adaptive": rows[0]["adaptive"], "clips": len(rows), "clips_right": len(right)}
    line |= share("clean_accuracy", len(right), len(rows)) | share("robust_accuracy", kept, len(rows) if adaptive_row else 0)
    line |= share("targeted_success", fooled, len(right) if targeted else 0)
    for column in ("snr_db", "linf", "masking_excess_db", *columns_of(rows[0])):
        line[f"{column}_median"] = median([row[column] for row in right if row[column] is not None])
    for name, empty in (("passes", 0.0), ("queries", None)):  # that none was asked is no number of queries
        spent = [row[name] for row in right if row[name] is not None]
        line[f"{name}_mean"] = (math.fsum(spent) / len(spent) or empty) if spent else None
    return line


def share(name: str, successes: int, trials: int) -> dict[str, float | None]:
    """A rate with the roots of (p - rate)^2 = z^2 p (1 - p) / n, which are Wilson's ends."""
    if not trials:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    rate, square = successes / trials, QUANTILE**2
    a, b, c = trials + square, -(2 * successes + square), successes * rate
    root = math.sqrt(max(b * b - 4 * a * c, 0.0))
    return {name: rate, f"{name}_low": (-b - root) / (2 * a), f"{name}_high": (-b + root) / (2 * a)}


def median(values: list[float]) -> float | None:
    ordered, middle = sorted(values), len(values) // 2
    if not ordered:
        return None
    return float(ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)


def _worst_cases(cells: dict[Key, list[Row]]) -> dict[Key, list[Row]]:
    """For each model, defense, threat, budget and seed with several attacks: the row of the worst one, clip by clip."""
    blocks: dict[Key, list[list[Row]]] = {}
    for (model, defense, _, threat, budget, seed), those in cells.items():
        blocks.setdefault((model, defense, WORST, threat, budget, seed), []).append(those)
    return {key: _worst(attacks) for key, attacks in blocks.items() if len(attacks) > 1}


def _worst(attacks: list[list[Row]]) -> list[Row]:
    seen = Counter(row["clip"] for those in attacks for row in those)
    by_clip: dict[str, list[Row]] = {}
    for row in (row for those in attacks for row in those if seen[row["clip"]] == len(attacks)):
        by_clip.setdefault(row["clip"], []).append(row)
    return [max(those, key=_harm) | {key: sum(row[key] for row in those) for key in ("passes", "queries")} | {"adaptive": any(row["adaptive"] for row in those)}
            for those in by_clip.values()]


def _harm(row: Row) -> tuple:
    """How bad: the goal reached, then any other word, then the quieter change. Of equal ones `max` takes the first."""
    before, after = row["clean_prediction"] == row["label"], row["adversarial_prediction"]
    reached = before and (after != row["label"] if row["target"] is None else after == row["target"])
    return reached, after != row["label"], -math.inf if row["snr_db"] is None else row["snr_db"]


def by_label(rows: Iterable[Row]) -> dict[str, tuple[int, int, int]]:
    """label -> (clips, those heard right before, those heard right before and after) of one cell."""
    table: dict[str, list[int]] = {}
    for row in rows:
        before = row["clean_prediction"] == row["label"]
        entry = table.setdefault(row["label"], [0, 0, 0])
        for place, counted in enumerate((True, before, before and row["adversarial_prediction"] == row["label"])):
            entry[place] += counted
    return {label: tuple(entry) for label, entry in table.items()}


def printed(line: dict[str, Any], targeted: bool) -> dict[str, str]:
    """The cells of table.md under their heads: percent with one decimal and interval, both denominators."""
    def percent(name: str) -> str:
        low, middle, high = (line[name + end] for end in ("_low", "", "_high"))
        return DASH if middle is None else f"{100 * middle:.1f} [{100 * low:.1f}, {100 * high:.1f}]"

    def number(name: str, digits: int) -> str:
        return _formed(line[name], f".{digits}f")

    robust = percent("robust_accuracy") if line["robust_accuracy"] is not None else "not attacked adaptively"
    return {"clips": str(line["clips"]), "right": str(line["clips_right"]), "clean %": percent("clean_accuracy"),
            "robust % (targeted run)" if targeted else "robust %": robust, "targeted success %": percent("targeted_success"),
            "SNR dB": number("snr_db_median", 1), "L-inf": number("linf_median", 5), "masking excess dB": number("masking_excess_db_median", 1),
            "passes": number("passes_mean", 1), "queries": number("queries_mean", 1), **{MEASURES[name].head: _formed(line[f"{name}_median"], MEASURES[name].form) for name in _measures(line)}}


def _measures(line: dict[str, Any]) -> list[str]:
    return [name for name in MEASURES if f"{name}_median" in line]


def _formed(value: float | None, form: str) -> str:
    return DASH if value is None else format(value, form)
