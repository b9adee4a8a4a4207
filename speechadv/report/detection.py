"""table.csv, table.md, result.json, the ROC curves and a page of a detection run, from its rows. What a detector sees never stands without the attacker who knows it."""
import csv
import html
import io
from pathlib import Path
from typing import Any, Sequence

from ..audio import write_bytes
from ..errors import DataError, shown
from ..evaluation.detection_rows import ADAPTIVE, ATTACKERS, LINE_KEYS, OBLIVIOUS, ROWS, Row, lines, read
from ..evaluation.folder import write_json
from .assets import asset
from .figures.roc import curves
from .style import save, styled
from .tables import NOT_ADAPTIVE, NOTHING, markdown_table, number, percent

FIGURE = "figures/roc.svg"
COLUMNS = (*LINE_KEYS, "threshold", "validation_clips", "clean_clips", "false_alarms", "false_alarms_low", "false_alarms_high", "clips_right", "clips_fooled",
           "fooled", "fooled_low", "fooled_high", "detected", "detected_low", "detected_high", "undetected", "undetected_low", "undetected_high",
           "auc", "auc_low", "auc_high", "clean_score_median", "score_median", "snr_db_median", "linf_median", "passes_mean")
HEADS = ("model", "budget", "detector", "threshold", "false alarms %", "AUC, oblivious", "detected %, stops early", "detected %, oblivious", "AUC, adaptive",
         "detected %, adaptive", "wins unseen %, oblivious", "wins unseen %, adaptive")
NOTES = """\
Each threshold was set on {validation} clean validation clips for {wanted} false alarms at most; `false alarms` are those that it then gave on {clean} clean test clips. Attacked
were the {right} test clips that the model hears right. `detected` is of the clips that fool the model, `wins unseen` of all attacked ones: the model is fooled and the score is not
above the threshold, on the saved 16-bit file. *Stops early*: the attack ends as soon as the model is fooled; *oblivious*: it spends its whole budget on the model; *adaptive*: it
optimises the detector too, and begins with what the oblivious one has. AUC: clean test clips against clips that fool the model; the adaptive attacker works for
the threshold alone, not for the area. In brackets 95 % intervals, by Wilson for rates, by the bootstrap over clips for AUC. Goal: {goal}."""


def write_tables(run: Path, false_alarms: float) -> dict[str, Any]:
    """Write tables, figure and page of a run again and return the content of result.json. Raises DataError: there are no rows."""
    rows = read(run / ROWS)
    if not rows:
        raise DataError(f"'{shown(run / ROWS)}': expected rows, found none")
    found = lines(rows, false_alarms)
    result = as_result(rows, found, false_alarms)
    write_bytes(run / "table.csv", as_csv(found).encode("utf-8", "backslashreplace"))
    write_bytes(run / "table.md", as_markdown(found, false_alarms).encode("utf-8"))
    write_json(run / "result.json", result)
    with styled():
        figure = curves(rows, found)
    for suffix in (".svg", ".png"):
        save(figure, (run / FIGURE).with_suffix(suffix))
    write_bytes(run / "index.html", page(run, found, false_alarms).encode("utf-8"))
    return result


def as_result(rows: Sequence[Row], found: Sequence[dict[str, Any]], false_alarms: float) -> dict[str, Any]:
    """The content of result.json."""
    return {"false_alarms_wanted": false_alarms, "rows": len(rows), "cells": list(found)}


def as_csv(found: Sequence[dict[str, Any]]) -> str:
    """A line for each model, detector, budget and attacker, at full precision; empty where undefined."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(["" if line[name] is None else str(line[name]).lower() if isinstance(line[name], bool) else line[name] for name in COLUMNS] for line in found)
    return text.getvalue()


def as_markdown(found: Sequence[dict[str, Any]], false_alarms: float) -> str:
    """A line for each model, budget and detector, all attackers side by side."""
    return markdown_table(HEADS, table_of(found)) + "\n\n" + notes(found, false_alarms) + "\n"


def table_of(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The cells of the table for people."""
    groups: dict[tuple, dict[str, dict]] = {}
    for line in found:
        groups.setdefault((line["model"], line["budget"], line["detector"]), {})[line["attacker"]] = line
    return [[*key, *_cells(of)] for key, of in groups.items()]


def _cells(of: dict[str, dict]) -> list[str]:
    """What the attackers of one group achieved; dashes for an attacker that is not there."""
    first, known = next(iter(of.values())), ADAPTIVE in of
    rate = lambda attacker, name, total: NOTHING if attacker not in of or of[attacker][name] is None else f"{percent(of[attacker], name)} of {of[attacker][total]}"
    area = lambda attacker: NOTHING if attacker not in of or of[attacker]["auc"] is None else "{:.3f} [{:.3f}, {:.3f}]".format(*(of[attacker][f"auc{end}"] for end in ("", "_low", "_high")))
    seen = [rate(attacker, "detected", "clips_fooled") for attacker in ATTACKERS] if known else [NOT_ADAPTIVE] * 3
    wins = [rate(attacker, "undetected", "clips_right") for attacker in (OBLIVIOUS, ADAPTIVE)] if known else [NOT_ADAPTIVE] * 2
    return [number(first["threshold"], ".4g"), rate(first["attacker"], "false_alarms", "clean_clips"), area(OBLIVIOUS), *seen[:2], area(ADAPTIVE), seen[2], *wins]


def notes(found: Sequence[dict[str, Any]], false_alarms: float) -> str:
    """What the columns mean, with the numbers of this run."""
    counted = lambda name: " or ".join(str(value) for value in sorted({line[name] for line in found})) or "no"
    goals = ", ".join(dict.fromkeys(line["goal"] for line in found)) or "none"
    return NOTES.format(validation=counted("validation_clips"), wanted=f"{false_alarms:.1%}", clean=counted("clean_clips"), right=counted("clips_right"), goal=goals)


def page(run: Path, found: Sequence[dict[str, Any]], false_alarms: float) -> str:
    """A page to read: the table, what it means, and the curves. Without scripts."""
    cell = lambda words: html.escape(shown(words))
    head = "".join(f'<th scope="col">{cell(word)}</th>' for word in HEADS)
    body = "\n".join("<tr>" + "".join(f"<td>{cell(word)}</td>" for word in line) + "</tr>" for line in table_of(found))
    title, about = cell(f"speechadv: {run.resolve().name}"), cell(notes(found, false_alarms).replace("\n", " ").replace("*", "").replace("`", ""))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src file: 'self'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{asset("page.css")}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<div class="scroll-x" role="region" aria-label="Results" tabindex="0"><table><thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table></div>
<p>{about}</p>
<p><img src="{FIGURE}" alt="ROC curves of the detectors, oblivious attacker to the left, adaptive one to the right" style="max-width: 100%; background: white"></p>
</main>
</body>
</html>
"""
