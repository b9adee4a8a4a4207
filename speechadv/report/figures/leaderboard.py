"""A leaderboard as bars: clean and robust accuracy of each model and defense, best on top."""
import csv
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ...errors import InputError, shown
from ..style import COLOURS, HATCHES, legend_below, new_figure, percent, short
from .rates import counted

FILES = ("leaderboard.csv", "table.csv")
NEEDED = ("model", "defense", "budget", "goal", "clips", *(f"{rate}{end}" for rate in ("clean_accuracy", "robust_accuracy") for end in ("", "_low", "_high")))
RATES = {"clean_accuracy": "clean", "robust_accuracy": "under attack"}
LIMIT = 40  # entries of a panel


def leaderboard(folder: Path) -> Figure:
    """Accuracy of each model and defense without an attack and under the worst one, with 95 % Wilson intervals; a panel for each budget.

    From leaderboard.csv or table.csv. An entry without an adaptive attack has no accuracy under attack, and is not ranked: it is left out.
    """
    entries = ranked(read_table(folder))
    budgets = list(dict.fromkeys(budget for budget, _ in entries))
    names = {budget: [name for b, name in entries if b == budget][:LIMIT] for budget in budgets}
    most = max(map(len, names.values()))
    figure = new_figure(2.2 + 3.2 * len(budgets), 1.5 + 0.42 * most)
    for axis, budget in zip(np.atleast_1d(figure.subplots(1, len(budgets))), budgets):
        for number, (rate, label) in enumerate(RATES.items()):
            lines = [entries[budget, name] for name in names[budget]]
            values = [line[rate] for line in lines]
            errors = [[max(0.0, line[rate] - line[f"{rate}_low"]) for line in lines], [max(0.0, line[f"{rate}_high"] - line[rate]) for line in lines]]
            axis.barh([place + (number - 0.5) * 0.4 for place in range(len(lines))], values, 0.37, color=COLOURS[number], hatch=HATCHES[number],
                      edgecolor="white", label=label, xerr=errors, error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#333333"})
        axis.set_yticks(range(len(names[budget])), [short(name, 32) for name in names[budget]])
        axis.set(xlim=(0, 1.02), ylim=(most - 0.5, -0.5), xlabel=f"right (of {counted(int(entries[budget, name]['clips']) for name in names[budget])} clips)", title=f"budget {budget}")
        axis.grid(False, axis="y")
        percent(axis, "x")
    legend_below(figure, *figure.axes[0].get_legend_handles_labels())
    return figure


def ranked(lines: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """For each budget and name the line of the worst attack, the most robust name first. Raises InputError: none can be ranked."""
    worst: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        key = line["budget"], line["model"] if line["defense"] == "none" else f"{line['model']}, {line['defense']}"
        if line["robust_accuracy"] is not None and line["goal"] == "untargeted":
            worst[key] = min(worst.get(key, line), line, key=lambda entry: entry["robust_accuracy"])
    if not worst:
        raise InputError("a leaderboard needs accuracies under an untargeted attack that knew the whole defended model; this table has none")
    return dict(sorted(worst.items(), key=lambda item: (item[0][0], -item[1]["robust_accuracy"])))


def read_table(folder: Path) -> list[dict[str, Any]]:
    """The lines of the table, rates as numbers or None. Raises InputError: no such file, or a column is missing."""
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"'{shown(folder)}': a leaderboard needs {' or '.join(FILES)}, there is none; make it with `speechadv report`")
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    for column in NEEDED:
        if lines and column not in lines[0]:
            raise InputError(f"'{shown(path)}': expected a column '{column}'")
    try:
        return [line | {key: float(line[key]) if line[key] else None for key in NEEDED if "accuracy" in key} for line in lines]
    except ValueError as problem:
        raise InputError(f"'{shown(path)}': expected rates as numbers: {shown(problem)}") from None
