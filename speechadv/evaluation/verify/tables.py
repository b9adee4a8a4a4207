"""table.csv, result.json, table.md and table.tex against the rows."""
import csv
import json
from pathlib import Path
from typing import Any, Callable, Iterator

from ...errors import shown
from ..folder import read_probes
from ..rows import Row
from ..sanity import flags
from ..settings import EvaluationConfig
from . import counts
from .verdict import Verdict, alike

END = r" \\"  # of a line of table.tex
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", counts.DASH: "--", **{letter: f"\\{letter}" for letter in "&%$#_{}"}}


def check_tables(run: Path, config: EvaluationConfig, rows: list[Row], verdict: Verdict) -> None:
    """All tables against the rows."""
    grouped = counts.cells(rows)
    expected = counts.lines(grouped, config.targeted)
    for name, check in (("table.csv", _check_csv), ("result.json", _check_json), ("table.md", _check_markdown), ("table.tex", _check_latex)):
        if not (run / name).is_file():
            verdict.differences.append(f"{name}: is not there; make it with `speechadv report`")
            continue
        try:
            verdict.differences += [f"{name}: {line}" for line in check(run, config, rows, expected, grouped)]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, csv.Error, RecursionError) as problem:
            verdict.differences.append(f"{name}: cannot be read as the table of a run ({type(problem).__name__})")


def _check_csv(run: Path, config: EvaluationConfig, rows: list[Row], expected: dict, grouped: dict) -> Iterator[str]:
    with open(run / "table.csv", newline="", encoding="utf-8") as file:
        found = [_typed(line) for line in csv.DictReader(file)]
    yield from _compare_lines(found, expected)


def _typed(line: dict[str, str]) -> dict[str, Any]:
    """The words of a line of CSV as JSON would have them."""
    def value(column: str, word: str) -> Any:
        if column in counts.KEYS and column != "seed":
            return word
        return None if word == "" else json.loads(word) if word != "nan" else None

    return {column: value(column, word) if column != "goal" else word for column, word in line.items()}


def _compare_lines(found: list[dict[str, Any]], expected: dict) -> Iterator[str]:
    """Lines of a table against those counted again: each there once, in their order, with the same numbers."""
    keys = [tuple(line[key] for key in counts.KEYS) for line in found]
    for key in sorted({*expected} - {*keys}, key=str):
        yield f"the line of {shown(', '.join(map(str, key)))} is missing"
    for key, line in zip(keys, found):
        if key not in expected:
            yield f"has a line of {shown(', '.join(map(str, key)))}, the rows have none"
        elif keys.count(key) > 1:
            yield f"has several lines of {shown(', '.join(map(str, key)))}"
        else:
            for column, value in expected[key].items():
                if not alike(value, line[column]):
                    yield f"{shown(', '.join(map(str, key)))}: {column}: the rows give {value}, the table says {line[column]}"


def _check_json(run: Path, config: EvaluationConfig, rows: list[Row], expected: dict, grouped: dict) -> Iterator[str]:
    result = json.loads((run / "result.json").read_bytes())
    yield from _compare_lines(result["cells"], expected)
    if result["goal"] != config.goal:
        yield f"goal: the config says {config.goal}, the file {shown(result['goal'])}"
    if result["rows"] != len(rows):
        yield f"rows: {len(rows)} are there, the file says {shown(result['rows'])}"
    if json.loads(json.dumps(flags(rows, config, read_probes(run)))) != result["flags"]:
        yield "flags: are not those of the rows"
    for entry in result["classes"]:
        key = tuple(entry[k] for k in counts.KEYS)
        counted = counts.by_label(grouped.get(key, []))
        said = {one["label"]: (one["clips"], one["clips_right"], one["clean_accuracy"], one["robust_accuracy"]) for one in entry["labels"]}
        robust = expected.get(key, {}).get("robust_accuracy") is not None
        if said != {label: (n, right, right / n, kept / n if robust else None) for label, (n, right, kept) in counted.items()}:
            yield f"classes: {shown(', '.join(map(str, key)))}: not those of the rows"


def _check_markdown(run: Path, config: EvaluationConfig, rows: list[Row], expected: dict, grouped: dict) -> Iterator[str]:
    lines = (run / "table.md").read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| model |"))
    table = [_cells(line) for line in lines[start : start + 2 + len(expected)]]
    head, body = table[0], [line for line in table[2:] if len(line) == len(table[0])]
    after = start + 2 + len(expected)
    if after < len(lines) and lines[after].startswith("|"):
        yield "has more lines than the rows have cells"
    yield from _compare_printed(head, body, expected, config.targeted, _plain)


def _check_latex(run: Path, config: EvaluationConfig, rows: list[Row], expected: dict, grouped: dict) -> Iterator[str]:
    lines = (run / "table.tex").read_text(encoding="utf-8").splitlines()
    head, *body = [line.removesuffix(END).split(" & ") for line in lines if line.endswith(END)]
    yield from _compare_printed(head, body, expected, config.targeted, _in_latex)


def _compare_printed(head: list[str], body: list[list[str]], expected: dict, targeted: bool, form: Callable[[Any], str]) -> Iterator[str]:
    """The lines of a table for people; `form` is how the file writes a word."""
    by_key = {tuple(map(form, key)): line for key, line in expected.items()}
    found = [dict(zip(head, line)) for line in body]
    keys = [tuple(line[key] for key in counts.KEYS) for line in found]
    if sorted(keys) != sorted(by_key):
        yield "its lines are not the cells of the rows"
    for key, line in zip(keys, found):
        for column, word in counts.printed(by_key[key], targeted).items() if key in by_key else ():
            if line[form(column)] != form(word):
                yield f"{', '.join(key)}: {column}: the rows give {word}, the table says {shown(line[form(column)])}"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace("\\|", "\0").strip("| \n").split("|")] if line.startswith("|") else []


def _plain(value: Any) -> str:
    """How table.md shows a key."""
    return shown(value).replace("|", "\0").replace("<", "&lt;")


def _in_latex(value: Any) -> str:
    """How table.tex shows a word."""
    return "".join(LATEX.get(letter, letter) for letter in shown(value))
