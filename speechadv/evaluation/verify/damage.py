"""corruptions.jsonl, corruptions.csv and their two columns of table.csv, judged anew: kept sound is heard again, the rest is counted again."""
import csv
import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Iterator

from ...defenses import NONE
from ...errors import InputError, shown
from ..corrupted import KEYS, ROWS
from ..rows import Row, unsealed
from ..settings import EvaluationConfig
from . import sounds
from .scorer import Scorer
from .verdict import Verdict, alike

TABLE = "corruptions.csv"
Shares = dict[tuple, Fraction]  # (model, defense, corruption, strength) -> share heard right


def check_damage(run: Path, config: EvaluationConfig, verdict: Verdict, scorer: Scorer) -> None:
    """Add what differs; nothing where the config has no corruptions."""
    if not config.corruptions:
        return
    if not (run / ROWS).is_file():
        verdict.differences.append(f"{ROWS}: is not there")
        return
    numbered = list(_whole(run / ROWS, verdict))
    counts = Counter((*_cell(row), row["prediction"] == row["label"]) for _, row in numbered)
    clips = Counter(_cell(row) for _, row in numbered)
    if len(set(clips.values())) > 1:
        verdict.differences.append(f"{ROWS}: not as many clips under each corruption and strength")
    shares = {cell: Fraction(counts[(*cell, True)], number) for cell, number in clips.items()}
    for number, row in numbered:
        if row["audio"]:
            _hear(number, row, verdict, scorer)
    try:
        verdict.differences += [f"{TABLE}: {line}" for line in _table(run / TABLE, shares)]
        verdict.differences += [f"table.csv: {line}" for line in _columns(run / "table.csv", shares, config.corruption_reference)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as problem:
        verdict.differences.append(f"{TABLE}: cannot be read as the table of a run ({type(problem).__name__})")


def _cell(row: Row) -> tuple:
    return tuple(row[key] for key in KEYS[:4])


def _whole(path: Path, verdict: Verdict) -> Iterator[tuple[int, Row]]:
    """Line numbers and rows; what is broken, changed or there twice becomes a difference."""
    seen = set()
    for number, content in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        row = unsealed(content.decode("ascii", "replace"))
        if row is None or not row.keys() >= {*KEYS, "label", "prediction", "audio"}:
            verdict.differs(f"{ROWS}:{number}", "broken, or changed: its checksum is another")
            continue
        key = tuple(row[name] for name in KEYS)
        if key in seen:
            verdict.differs(f"{ROWS}:{number}", "a clip under the same damage a second time")
            continue
        seen.add(key)
        yield number, row


def _hear(number: int, row: Row, verdict: Verdict, scorer: Scorer) -> None:
    """A damaged clip that was kept."""
    try:
        clip, defended = scorer.sound(row["audio"]), scorer.defended(row["model"], row["defense"])
    except InputError as problem:
        verdict.differs(f"{ROWS}:{number}", f"'{shown(row['audio'])}': {problem}")
        return
    if defended.stochastic:
        verdict.cannot_judge(f"{shown(row['defense'])} is random: what was heard of damaged clips stands unjudged")
        return
    words = sounds.heard(sounds.logits(defended, [clip], scorer.device)[0], list(defended.labels))
    if row["prediction"] not in words:
        verdict.differs(f"{ROWS}:{number}", f"prediction: the model hears '{shown(words[0])}', the row says '{shown(row['prediction'])}'")


def _table(path: Path, shares: Shares) -> Iterator[str]:
    """corruptions.csv: the same cells, the same shares."""
    with open(path, newline="", encoding="utf-8") as file:
        said = {(line["model"], line["defense"], line["corruption"], int(line["strength"])): float(line["accuracy"]) for line in csv.DictReader(file)}
    if said.keys() != shares.keys():
        yield "its lines are not the cells of the rows"
    for cell in said.keys() & shares.keys():
        if not alike(float(shares[cell]), said[cell]):
            yield f"{shown(', '.join(map(str, cell)))}: the rows give {float(shares[cell])}, the table says {said[cell]}"


def _columns(path: Path, shares: Shares, reference: str) -> Iterator[str]:
    """`corruption_accuracy` and `mce` of each line of table.csv (Hendrycks & Dietterich 2019, equation 1)."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    for model, defense in sorted({(line["model"], line["defense"]) for line in lines}):
        mine, theirs = _errors(shares, model, defense), _errors(shares, reference, NONE)
        accuracies = [share for cell, share in shares.items() if cell[:2] == (model, defense)]
        relative = [mine[name] / theirs[name] for name in mine if theirs.get(name)]
        expected = {"corruption_accuracy": float(sum(accuracies) / len(accuracies)), "mce": float(sum(relative) / len(relative)) if relative else None}
        for line in lines:
            for column, value in expected.items() if (line["model"], line["defense"]) == (model, defense) else ():
                if not alike(value, json.loads(line[column]) if line[column] else None):
                    yield f"{shown(model)}, {shown(defense)}: {column}: the rows give {value}, the table says {shown(line[column])}"


def _errors(shares: Shares, model: str, defense: str) -> dict[str, Fraction]:
    """The error of each corruption, summed over its strengths."""
    found: dict[str, Fraction] = {}
    for cell, share in shares.items():
        if cell[:2] == (model, defense):
            found[cell[2]] = found.get(cell[2], Fraction(0)) + 1 - share
    return found
