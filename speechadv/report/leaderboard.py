"""The leaderboard of a board's folder, from saved rows alone: leaderboard.csv, leaderboard-classes.csv and leaderboard.md.

A board holds a folder an entry, with about.json (what it is) and the runs `clean`, `untargeted` and `targeted` of `speechadv evaluate`, as far as they are
there; leaderboard-clips.txt is the order in which clips are attacked. speed.json beside the runs is a measurement; it enters leaderboard.md and leaderboard-speed.csv alone, for it differs from time to time.
"""
from pathlib import Path
from typing import Any, Iterable, Sequence

from ..audio import write_bytes
from ..errors import InputError, shown
from ..evaluation import rows as row_files
from ..evaluation.folder import ROWS, read_config, read_environment, read_json
from ..evaluation.metrics import by_label, rate, right_before, robust, succeeded
from ..evaluation.rows import Row
from .figures.rates import counted
from .tables import NOTHING, csv_text, markdown_table, percent

RUNS = ("clean", "untargeted", "targeted")
ABOUT, SPEED, ORDER = "about.json", "speed.json", "leaderboard-clips.txt"
NEEDED = {"name": str, "model": str, "defense": str, "who": str, "source": str, "about": str, "parameters": int, "multiply_adds": int}  # of about.json
RATES = ("clean_accuracy", "robust_accuracy", "targeted_success", "test_accuracy")
COLUMNS = ("model", "defense", "budget", "goal", "attack", "clips", "clips_right", *(f"{name}{end}" for name in RATES[:2] for end in ("", "_low", "_high")),
           "clean_accuracy_balanced", "robust_accuracy_balanced", "targeted_attack", "targeted_clips", "targeted_clips_right",
           *(f"targeted_success{end}" for end in ("", "_low", "_high")), "test_clips", *(f"test_accuracy{end}" for end in ("", "_low", "_high")),
           "test_accuracy_balanced", "parameters", "multiply_adds", "who", "source", "about")
CLASSES = ("model", "defense", "budget", "label", "clips", "clips_right", "clips_robust")
NOTES = """\
Of each entry: the share of clips that it hears right, and still hears right under the strongest of the attacks of `{attack}`, untargeted, which knew network and defense, within each budget;
in brackets 95 % Wilson intervals. `clips` are attacked, drawn in proportion to the labels; clean accuracy is over all {test} test clips. Entries stand in the order of their mean over the
budgets. Parameters and multiply-adds are the network's (of one second: convolutions and matrix products, front end included); clips a second are those of one thread of {processor},
defense included, in calls of {batch}."""
TARGETED = """\
Targeted success: heard as one other word, drawn for each clip, after `{attack}`, of the clips heard right before; in brackets 95 % Wilson intervals. Lower is better."""
BY_LABEL = """\
Accuracy in percent by label, with the number of clips in brackets, and beside the plain mean the one over labels (balanced). The last labels have so few clips that one of
them moves their number by a sixth or a third."""
Line = dict[str, Any]


def write_leaderboard(board: str | Path) -> list[Line]:
    """Make the leaderboard of a board's folder again; returns its lines, the best entry first.

    Raises InputError: no entry with rows of the untargeted run. DataError: a row is broken.
    """
    board = Path(board)
    entries = ranked([read_board_entry(path.parent) for path in sorted(board.glob(f"*/{ABOUT}"))])
    found = [line for entry in entries for line in entry["lines"]]
    if not found:
        raise InputError(f"'{shown(board)}': expected folders of entries with {ABOUT} and rows, found none")
    write_bytes(board / "leaderboard.csv", encoded(COLUMNS, found))
    write_bytes(board / "leaderboard-classes.csv", encoded(CLASSES, [line for entry in entries for line in entry["classes"]]))
    write_bytes(board / "leaderboard-speed.csv", encoded(("model", "clips_a_second", "batch", "processor"), [entry["speed"] for entry in entries if entry["speed"]]))
    write_bytes(board / "leaderboard.md", as_markdown(entries).encode("utf-8"))
    return found


def read_board_entry(folder: Path) -> dict[str, Any]:
    """{"about", "lines" (one a budget), "classes", "speed"} of an entry's folder. Raises InputError, DataError."""
    about = read_json(folder / ABOUT)
    if not isinstance(about, dict) or not all(type(about.get(key)) is kind for key, kind in NEEDED.items()):
        raise InputError(f"'{shown(folder / ABOUT)}': expected {', '.join(NEEDED)}")
    order = folder.parent / ORDER
    listed = [line for line in order.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")] if order.is_file() else []
    clean, untargeted, targeted = (grouped(folder / run, listed) for run in RUNS)
    everything = [row for rows in clean.values() for row in rows]
    lines = [line_of(about, budget, rows, targeted.get(budget, []), everything) for budget, rows in untargeted.items()]
    speed = read_json(folder / SPEED) if (folder / SPEED).is_file() else None
    return {"about": about, "lines": lines, "classes": classes_of(about, {"none": everything} | untargeted), "speed": speed and {"model": about["name"]} | speed}


def grouped(run: Path, listed: Sequence[str]) -> dict[str, list[Row]]:
    """The rows of a run by budget, in the order of its config; of a run that was stopped those that stand for the split, see `representative`.

    Raises InputError: rows of an attack that did not know the defense.
    """
    if not (run / ROWS).is_file():
        return {}
    found: dict[str, list[Row]] = {budget: [] for budget in read_config(run).budgets}
    for row in row_files.read_finished(run / ROWS):
        if not row["adaptive"] and row["threat"] != "black-box" or row["budget"] not in found:
            raise InputError(f"'{shown(run / ROWS)}': expected rows of one adaptive attack, got {row['attack']} ({row['threat']})")
        found[row["budget"]].append(row)
    whole = read_environment(run).get("clips", {}).get("number")
    return {budget: part for budget, rows in found.items() if (part := representative(rows, listed, whole))}


def representative(rows: list[Row], listed: Sequence[str], whole: int | None) -> list[Row]:
    """All rows where the split is complete; else those of the longest beginning of the list that has no gap, since the others were attacked in the order
    of their names, words that begin with a before the rest."""
    if not listed or len(rows) == whole:
        return rows
    there = {row["clip"] for row in rows}
    gap = next((place for place, name in enumerate(listed) if name not in there), len(listed))
    beginning = set(listed[:gap])
    return [row for row in rows if row["clip"] in beginning]


def line_of(about: dict[str, Any], budget: str, untargeted: Sequence[Row], targeted: Sequence[Row], clean: Sequence[Row]) -> Line:
    """An entry under a budget, with the keys `COLUMNS`. `clean` are rows of the whole split, whose attack does not count."""
    right, right_of_targeted = [row for row in untargeted if right_before(row)], [row for row in targeted if right_before(row)]
    balanced = by_label(untargeted, True)
    return {
        "model": about["name"], "defense": about["defense"], "budget": budget, "goal": "untargeted", "attack": untargeted[0]["attack"],
        "clips": len(untargeted), "clips_right": len(right), **rate("clean_accuracy", len(right), len(untargeted)),
        **rate("robust_accuracy", sum(map(robust, untargeted)), len(untargeted)),
        "clean_accuracy_balanced": balanced["clean_accuracy_balanced"], "robust_accuracy_balanced": balanced["robust_accuracy_balanced"],
        "targeted_attack": targeted[0]["attack"] if targeted else None, "targeted_clips": len(targeted), "targeted_clips_right": len(right_of_targeted),
        **rate("targeted_success", sum(map(succeeded, right_of_targeted)), len(right_of_targeted)),
        "test_clips": len(clean), **rate("test_accuracy", sum(map(right_before, clean)), len(clean)),
        "test_accuracy_balanced": by_label(clean, False)["clean_accuracy_balanced"],
        **{key: about[key] for key in ("parameters", "multiply_adds", "who", "source", "about")}}


def classes_of(about: dict[str, Any], by_budget: dict[str, Sequence[Row]]) -> list[Line]:
    """A line a label and budget, "none" for the clean split; the labels with most clips first."""
    lines = []
    for budget, rows in by_budget.items():
        for label in sorted({row["label"] for row in rows}, key=lambda label: (-sum(row["label"] == label for row in rows), label)):
            those = [row for row in rows if row["label"] == label]
            lines.append({"model": about["name"], "defense": about["defense"], "budget": budget, "label": label, "clips": len(those),
                          "clips_right": sum(map(right_before, those)), "clips_robust": None if budget == "none" else sum(map(robust, those))})
    return lines


def ranked(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries with rows, those with more budgets first, then by the mean of their accuracies under attack, then by name."""
    whole = [entry for entry in entries if entry["lines"]]
    return sorted(whole, key=lambda entry: (-len(entry["lines"]), -mean_robust(entry), entry["about"]["name"]))


def mean_robust(entry: dict[str, Any]) -> float:
    """The mean accuracy under attack over an entry's budgets."""
    return sum(line["robust_accuracy"] for line in entry["lines"]) / len(entry["lines"])


def encoded(columns: Sequence[str], lines: Iterable[Line]) -> bytes:
    """A CSV file of lines; what UTF-8 cannot hold is escaped."""
    return csv_text(columns, lines).encode("utf-8", "backslashreplace")


def as_markdown(entries: Sequence[dict[str, Any]]) -> str:
    """Accuracies, targeted success, accuracies by label."""
    lines, speeds = [line for entry in entries for line in entry["lines"]], [entry["speed"] for entry in entries if entry["speed"]]
    budgets = list(dict.fromkeys(line["budget"] for line in lines))
    told = {"attack": ", ".join(dict.fromkeys(line["attack"] for line in lines)), "test": counted(line["test_clips"] for line in lines),
            "processor": ", ".join(dict.fromkeys(str(speed["processor"]) for speed in speeds)) or "no machine yet", "batch": counted(speed["batch"] for speed in speeds) if speeds else NOTHING}
    parts = ["# Leaderboard", _accuracies(entries, budgets), NOTES.format(**told)]
    if any(line["targeted_clips"] for line in lines):
        attack = ", ".join(dict.fromkeys(line["targeted_attack"] for line in lines if line["targeted_attack"]))
        parts += ["## Targeted success", _targeted(entries, budgets), TARGETED.format(attack=attack)]
    parts += ["## By label", _by_label(entries), BY_LABEL, "## What the entries are", _what(entries)]
    return "\n\n".join(parts) + "\n"


def _accuracies(entries: Sequence[dict[str, Any]], budgets: Sequence[str]) -> str:
    head = ["", "entry", "clean %", "clips", *(f"{budget} %" for budget in budgets), "mean %", "parameters", "multiply-adds", "clips a second"]
    body = []
    for number, entry in enumerate(entries, 1):
        by_budget, about, first = {line["budget"]: line for line in entry["lines"]}, entry["about"], entry["lines"][0]
        speed = f"{entry['speed']['clips_a_second']:,.0f}" if entry["speed"] else NOTHING
        body.append([str(number), about["name"], percent(first, "test_accuracy"), counted(line["clips"] for line in entry["lines"]),
                     *(percent(by_budget[budget], "robust_accuracy") if budget in by_budget else NOTHING for budget in budgets),
                     f"{100 * mean_robust(entry):.1f}", f"{about['parameters']:,}", f"{about['multiply_adds'] / 1e6:.1f} M", speed])
    return markdown_table(head, body)


def _targeted(entries: Sequence[dict[str, Any]], budgets: Sequence[str]) -> str:
    body = []
    for entry in entries:
        by_budget = {line["budget"]: line for line in entry["lines"] if line["targeted_clips"]}
        if by_budget:
            rights = counted(line["targeted_clips_right"] for line in by_budget.values())
            body.append([entry["about"]["name"], rights, *(percent(by_budget[budget], "targeted_success") if budget in by_budget else NOTHING for budget in budgets)])
    return markdown_table(["entry", "clips right before", *(f"{budget} %" for budget in budgets)], body)


def _by_label(entries: Sequence[dict[str, Any]]) -> str:
    """A line an entry and budget; the labels with most clips first."""
    all_lines = [line for entry in entries for line in entry["classes"]]
    most: dict[str, int] = {}
    for line in all_lines:
        most[line["label"]] = max(line["clips"], most.get(line["label"], 0))
    labels = sorted(most, key=lambda label: (-most[label], label))
    body = []
    for entry in entries:
        for budget in dict.fromkeys(line["budget"] for line in entry["classes"]):
            those = {line["label"]: line for line in entry["classes"] if line["budget"] == budget}
            count = "clips_right" if budget == "none" else "clips_robust"
            shares = [line[count] / line["clips"] for line in those.values()]
            plain = sum(line[count] for line in those.values()) / sum(line["clips"] for line in those.values())
            body.append([entry["about"]["name"], "clean" if budget == "none" else budget, f"{100 * plain:.1f}", f"{100 * sum(shares) / len(shares):.1f}",
                         *(f"{100 * those[label][count] / those[label]['clips']:.1f} ({those[label]['clips']})" if label in those else NOTHING for label in labels)])
    return markdown_table(["entry", "under", "mean", "balanced", *labels], body)


def _what(entries: Sequence[dict[str, Any]]) -> str:
    body = [[about["name"], about["model"], about["defense"], about["who"], about["source"], about["about"]] for about in (entry["about"] for entry in entries)]
    return markdown_table(["entry", "model", "defense", "who", "source", "what"], body)
