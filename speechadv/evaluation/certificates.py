"""Certificates as lines with checksums, and what they add up to."""
import statistics
from pathlib import Path
from typing import Any

from . import shapes
from .rows import sealed, unsealed
from .statistics import wilson

KEYS = ("clip", "label", "model", "predicted", "radius", "sigma", "n", "n0", "alpha", "ceiling", "votes", "snr_db")
POINTS = 41  # of the curve, from 0 to the ceiling
Line = dict[str, Any]


def summary(lines: list[Line]) -> dict[str, Any]:
    """The figures of a run: accuracy of the smoothed network, abstentions, median radius and the ceiling that no radius can pass."""
    first, right = lines[0], [line for line in lines if line["predicted"] == line["label"]]
    radii, snrs = ([line[key] for line in right if line[key] is not None] for key in ("radius", "snr_db"))
    low, high = wilson(len(right), len(lines))
    return {key: first[key] for key in ("model", "sigma", "n", "n0", "alpha", "ceiling")} | {
        "clips": len(lines), "right": len(right), "accuracy": len(right) / len(lines), "accuracy_low": low, "accuracy_high": high,
        "abstained": sum(line["predicted"] is None for line in lines), "radius_median": _median(radii), "snr_db_median": _median(snrs),
        "at_ceiling": sum(line["votes"] == line["n"] for line in right)}


def certified_curve(lines: list[Line]) -> list[dict[str, float]]:
    """Certified accuracy over the radius: the share of all clips that are right with at least this radius, with Wilson's intervals."""
    top, total, points = lines[0]["ceiling"], len(lines), []
    for step in range(POINTS):
        length = top * step / (POINTS - 1)
        count = sum(line["predicted"] == line["label"] and line["radius"] >= length * (1 - 1e-12) for line in lines)
        low, high = wilson(count, total)
        points.append({"radius": length, "certified": count / total, "certified_low": low, "certified_high": high, "clips": total})
    return points


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def encode(line: Line) -> str:
    """A certificate as a line with its checksum."""
    return sealed({key: line[key] for key in KEYS})


def decode(text: str) -> Line | None:
    """The certificate of a line; None where it is torn or was changed."""
    line = unsealed(text)
    whole = line is not None and tuple(line) == KEYS and shapes.fits(line, shapes.CERTIFICATE)
    return line if whole and (line["predicted"] is None) == (line["radius"] is None) else None


def read(path: Path) -> list[Line]:
    """The whole lines of a file, the first of each clip; a missing file has none."""
    found: dict[str, Line] = {}
    for text in path.read_bytes().decode("ascii", "replace").splitlines(keepends=True) if path.exists() else ():
        line = decode(text)
        if line is not None:
            found.setdefault(line["clip"], line)
    return list(found.values())
