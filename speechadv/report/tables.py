"""table.csv, table.md, table.tex and result.json of a run, from its rows."""
import csv
import io
from pathlib import Path
from typing import Any, Iterable, Sequence

from ..audio import write_bytes
from ..errors import InputError, shown
from ..evaluation.aggregate import attacked_adaptively, classes_of, table_line
from ..evaluation.cells import WORST, cells
from ..evaluation.corruption_errors import columns
from ..evaluation.folder import ROWS, read_config, read_environment, read_probes, write_json
from ..evaluation.quality import MEASURES
from ..evaluation.sanity import Seen, flags_of, seen
from ..evaluation.settings import EvaluationConfig
from ..evaluation.stored import Stored
from . import corruptions

COLUMNS = (
    "model", "defense", "attack", "threat", "adaptive", "budget", "seed", "clips", "clips_right",
    "clean_accuracy", "clean_accuracy_low", "clean_accuracy_high", "robust_accuracy", "robust_accuracy_low", "robust_accuracy_high",
    "targeted_success", "targeted_success_low", "targeted_success_high",
    "snr_db_median", "linf_median", "masking_excess_db_median", "passes_mean", "goal", "queries_mean",
)  # then the medians of the run's measures of quality
DAMAGE = ("corruption_accuracy", "mce")  # and last these, where the run has corruptions
NOT_ADAPTIVE = "not attacked adaptively"
NOTHING = "–"
NOTES = """\
`clips` are all, `right` those that the model hears right before the attack, behind the same defense. Clean and robust accuracy are over `clips`
(robust: right before and after), success is over `right`; in brackets 95 % Wilson intervals. Medians, passes and queries are over `right`; a pass is one
forward and backward of one clip, a query one forward alone. All is measured on the saved 16-bit files. `worst-of` takes for each clip the attack that did worst to it."""


def write_tables(run: str | Path) -> dict[str, Any]:
    """Write the tables and result.json of a run again and return the content of the latter.

    Raises InputError: the folder is no run, or has no rows yet. DataError: a row is broken.
    """
    run = Path(run)
    config = read_config(run)
    stored = Stored(run / ROWS)
    if not stored.rows and not of_attack(run):
        raise InputError(f"'{shown(run)}': has no rows yet; go on with `speechadv evaluate`")
    damaged = corruptions.summarised(run, config)
    lines, by_label, cells_seen = counted(stored, config.targeted)
    lines = [line | (columns(damaged, line) if damaged else {}) for line in lines]
    result = {"goal": config.goal, "finished": finished(run, config, stored.rows), "rows": stored.rows, "cells": lines,
              "flags": flags_of(cells_seen, config, read_probes(run)), "classes": by_label, "quality_gaps": stored.gaps, "corruptions": damaged,
              "corruption_reference": config.corruption_reference}
    write_bytes(run / "table.csv", as_csv(lines).encode("utf-8", "backslashreplace"))
    write_bytes(run / "table.md", as_markdown(result).encode("utf-8"))
    write_bytes(run / "table.tex", as_latex(lines, config.targeted).encode("utf-8"))
    write_json(run / "result.json", result)
    return result


def counted(stored: Stored, targeted: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[tuple, Seen]]:
    """The lines of the table, the accuracies by label, and what the flags ask of each cell; the rows of one line are in memory at a time."""
    known, places = attacked_adaptively(stored.adaptive), {}
    lines, by_label, cells_seen = [], [], {}
    for key, rows in stored.items():
        if not rows:  # attacks of a run on its way that have no clip in common yet
            continue
        lines.append(table_line(key, rows, targeted, known))
        by_label.append(classes_of(key, rows, known))
        if key[2] != WORST:
            cells_seen[key] = seen(rows, places)
    return lines, by_label, cells_seen


def of_attack(run: Path) -> bool:
    """Whether `speechadv attack` made the run: it may have no row, where every clip was heard as the target from the start."""
    return "command" in read_environment(run)


def finished(run: Path, config: EvaluationConfig, rows: int) -> bool:
    """Whether every clip has its row in every cell of the grid; a run that names no number of clips (of `attack`) is what it is."""
    clips = read_environment(run).get("clips", {}).get("number")
    return clips is None or rows == clips * len(cells(config))


def as_csv(lines: Sequence[dict[str, Any]]) -> str:
    """The table at full precision: fractions of 1, empty where undefined, true and false in lower case."""
    buffer, columns = io.StringIO(), (*COLUMNS, *(f"{name}_median" for name in measures(lines)), *damage_columns(lines))
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_exact(line[column]) for column in columns] for line in lines)
    return buffer.getvalue()


def csv_text(columns: Sequence[str], lines: Iterable[dict[str, Any]]) -> str:
    """Lines under their columns as CSV, at full precision, empty where undefined or missing. Raises ValueError: a key that is no column."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def measures(lines: Sequence[dict[str, Any]]) -> list[str]:
    """The measures of quality that the lines of a table have."""
    return [name for name in MEASURES if lines and all(f"{name}_median" in line for line in lines)]


def damage_columns(lines: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The columns on everyday damage, where the run has them."""
    return DAMAGE if lines and all(name in line for line in lines for name in DAMAGE) else ()


def _exact(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def cells_of_line(line: dict[str, Any]) -> list[str]:
    """A line of the table for people: percent with one decimal, both denominators, "not attacked adaptively" where that is so."""
    robust = percent(line, "robust_accuracy") if line["robust_accuracy"] is not None else NOT_ADAPTIVE
    return [line["model"], line["defense"], line["attack"], line["threat"], line["budget"], str(line["seed"]), str(line["clips"]),
            str(line["clips_right"]), percent(line, "clean_accuracy"), robust, percent(line, "targeted_success"),
            number(line["snr_db_median"], ".1f"), number(line["linf_median"], ".5f"), number(line["masking_excess_db_median"], ".1f"),
            number(line["passes_mean"], ".1f"), number(line["queries_mean"], ".1f"), *(number(line[f"{name}_median"], MEASURES[name].form) for name in measures([line])),
            *("–" if line[name] is None else f"{100 * line[name]:.1f}" for name in damage_columns([line]))]


def heads(targeted: bool, lines: Sequence[dict[str, Any]] = ()) -> list[str]:
    """The heads of `cells_of_line`, those of the lines' measures of quality last. Robust accuracy under a targeted attack is marked: it is no robust accuracy in the untargeted sense."""
    robust = "robust % (targeted run)" if targeted else "robust %"
    return ["model", "defense", "attack", "threat", "budget", "seed", "clips", "right", "clean %", robust, "targeted success %", "SNR dB",
            "L-inf", "masking excess dB", "passes", "queries", *(MEASURES[name].head for name in measures(lines)),
            *(["accuracy under corruptions %", "mCE %"] if damage_columns(lines) else [])]


def percent(line: dict[str, Any], name: str) -> str:
    """"84.0 [81.2, 86.5]", or a dash where undefined."""
    if line[name] is None:
        return NOTHING
    return f"{100 * line[name]:.1f} [{100 * line[name + '_low']:.1f}, {100 * line[name + '_high']:.1f}]"


def number(value: float | None, form: str) -> str:
    """A number, or a dash where undefined."""
    return NOTHING if value is None else format(value, f"z{form}")  # no "-0.0"


def as_markdown(result: dict[str, Any]) -> str:
    """The table, its notes, the flags and the accuracies by label."""
    targeted = result["goal"] == "targeted"
    table_text = markdown_table(heads(targeted, result["cells"]), [cells_of_line(line) for line in result["cells"]])
    parts = [table_text, NOTES, _gaps(result), _flags(result["flags"]),
             corruptions.as_text(result["corruptions"], result["corruption_reference"], markdown_table), _classes(result["classes"])]
    if not result["finished"]:
        parts.insert(0, "**This run is not finished: the numbers are those of the rows that are there.**")
    return "\n\n".join(filter(None, parts)) + "\n"


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; bars and brackets in cells cannot break it."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(shown(cell).replace("|", "\\|").replace("<", "&lt;") for cell in row) + " |" for row in rows)


def _gaps(result: dict[str, Any]) -> str:
    """Why some rows have no value of a measure of quality."""
    lines = [f"- {shown(why)}: {count} of {result['rows']} rows" for why, count in result.get("quality_gaps", {}).items()]
    return "Without a value, and left out of the medians:\n\n" + "\n".join(lines) if lines else ""


def _flags(found: Sequence[dict[str, Any]]) -> str:
    if not found:
        return "No sanity flag was raised."
    lines = [f"- `{flag['flag']}` ({', '.join(shown(value) for value in flag['cell'].values())}): {shown(flag['figure'])}; see {flag['page']}" for flag in found]
    return "Sanity flags:\n\n" + "\n".join(lines)


def _classes(found: Sequence[dict[str, Any]]) -> str:
    """A column a label with its number of clips; clean accuracy once a model and defense, robust accuracy a line a cell."""
    counts: dict[str, int] = {}
    for entry in (entry for cell in found for entry in cell["labels"]):
        counts[entry["label"]] = max(entry["clips"], counts.get(entry["label"], 0))
    head = ["model", "defense", "attack", "threat", "budget", "seed", "accuracy", *(f"{label} ({clips})" for label, clips in counts.items()), "balanced"]
    clean = {(cell["model"], cell["defense"]): cell for cell in reversed(found)}
    lines = [[*key, *[NOTHING] * 4, "clean", *_shares(cell, "clean_accuracy", counts)] for key, cell in reversed(clean.items())]
    for cell in found:
        if cell["robust_accuracy_balanced"] is not None:
            keys = [str(cell[key]) for key in ("model", "defense", "attack", "threat", "budget", "seed")]
            lines.append([*keys, "robust", *_shares(cell, "robust_accuracy", counts)])
    return "Accuracy in percent by label (with the number of clips), and the mean over the labels:\n\n" + markdown_table(head, lines)


def _shares(cell: dict[str, Any], name: str, labels: Iterable[str]) -> list[str]:
    by_label = {entry["label"]: entry[name] for entry in cell["labels"]}
    return [*(_share(by_label.get(label)) for label in labels), _share(cell[f"{name}_balanced"])]


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}"


def as_latex(lines: Sequence[dict[str, Any]], targeted: bool) -> str:
    """A tabular environment without packages."""
    head = heads(targeted, lines)
    body = [" & ".join(map(latex, cells_of_line(line))) + r" \\" for line in lines]
    return "\n".join([r"\begin{tabular}{" + "l" * 5 + "r" * (len(head) - 5) + "}", r"\hline", " & ".join(map(latex, head)) + r" \\", r"\hline", *body,
                      r"\hline", r"\end{tabular}"]) + "\n"


SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", NOTHING: "--", **{c: "\\" + c for c in "&%$#_{}"}}


def latex(text: str) -> str:
    """Text with everything escaped that LaTeX would read as a command."""
    return "".join(SPECIAL.get(c, c) for c in shown(text))
