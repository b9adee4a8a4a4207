"""The tables of a detection run against its rows: counts and rates counted again by none of the code that wrote them."""
from pathlib import Path
from typing import Any, Iterator, Sequence

from ...errors import shown
from .. import detection_rows as row_files
from ..detection_rows import ADAPTIVE, ATTACKERS, CLEAN, LINE_KEYS, VALIDATION, Row
from ..folder import read_json
from . import counts
from .verdict import Verdict, alike


def check_tables(run: Path, rows: list[Row], false_alarms: float, verdict: Verdict) -> None:
    """result.json against numbers counted again, then table.csv and table.md as its lines print."""
    from ...report.detection import as_csv, as_markdown, as_result

    found = row_files.lines(rows, false_alarms)
    counted = [line | _counted(rows, line, false_alarms) for line in found]
    _check_result(run, as_result(rows, counted, false_alarms), verdict)
    for name, text in (("table.csv", as_csv(found)), ("table.md", as_markdown(found, false_alarms))):
        if (run / name).is_file():
            verdict.differences += [f"{name}{line}" for line in _differing(text.splitlines(), (run / name).read_bytes().decode("utf-8", "backslashreplace").splitlines())]
        else:
            verdict.differs(name, "is not there; make it with `speechadv report`")


def _counted(rows: Sequence[Row], line: dict[str, Any], false_alarms: float) -> dict[str, Any]:
    """The numbers of a line that can be counted, from the rows alone."""
    own = [row for row in rows if (row["model"], row["detector"]) == (line["model"], line["detector"])]
    scores = {kind: [row["score"] for row in own if row["kind"] == kind and row["budget"] is None] for kind in (VALIDATION, CLEAN)}
    attacked = {kind: [row for row in own if row["kind"] == kind and row["budget"] == line["budget"]] for kind in ATTACKERS}
    those, known = attacked[line["attacker"]], bool(attacked[ADAPTIVE])
    allowed = int(false_alarms * len(scores[VALIDATION]) + 1e-9)
    threshold = min(value for value in scores[VALIDATION] if sum(score > value for score in scores[VALIDATION]) <= allowed)
    wins = [row["score"] for row in those if (row["prediction"] != row["label"] if row["target"] is None else row["prediction"] == row["target"])]
    seen, pairs = sum(score > threshold for score in wins), len(wins) * len(scores[CLEAN])
    above = sum((attack > clean) + (attack == clean) / 2 for attack in wins for clean in scores[CLEAN])
    return {"threshold": threshold, "validation_clips": len(scores[VALIDATION]), "clean_clips": len(scores[CLEAN]), "clips_right": len(those), "clips_fooled": len(wins),
            "auc": above / pairs if pairs and known else None,
            **counts.share("false_alarms", sum(score > threshold for score in scores[CLEAN]), len(scores[CLEAN])), **counts.share("fooled", len(wins), len(those)),
            **counts.share("detected", seen, len(wins) if known else 0), **counts.share("undetected", len(wins) - seen, len(those) if known else 0)}


def _check_result(run: Path, expected: dict[str, Any], verdict: Verdict) -> None:
    """result.json, number by number."""
    if not (run / "result.json").is_file():
        verdict.differs("result.json", "is not there; make it with `speechadv report`")
        return
    there = read_json(run / "result.json")
    if not isinstance(there, dict) or not isinstance(there.get("cells"), list) or len(there["cells"]) != len(expected["cells"]):
        verdict.differs("result.json", f"expected the {len(expected['cells'])} lines that the rows give")
        return
    for name in ("false_alarms_wanted", "rows"):
        if there.get(name) != expected[name]:
            verdict.differs("result.json", f"{name}: the run has {expected[name]}, the file says {shown(there.get(name))}")
    for line, said in zip(expected["cells"], there["cells"]):
        for column, value in line.items():
            if not isinstance(said, dict) or not alike(value, said.get(column)):
                verdict.differs("result.json", f"{_name(line)}: {column}: the rows give {value}, the file says {shown(said.get(column) if isinstance(said, dict) else said)}")


def _differing(ours: list[str], theirs: list[str]) -> Iterator[str]:
    """What differs between a file's lines and those that it should have."""
    if len(ours) != len(theirs):
        yield f": the rows give {len(ours)} lines, the file has {len(theirs)}"
    for number, (wanted, said) in enumerate(zip(ours, theirs), 1):
        if wanted != said:
            yield f":{number}: the rows give '{shown(wanted)}', the file says '{shown(said)}'"


def _name(line: dict[str, Any]) -> str:
    return shown(", ".join(str(line[key]) for key in LINE_KEYS[:5]))
