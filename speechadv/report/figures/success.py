"""Bars: how often each defended network was fooled, by what the attack knew."""
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..saved import SavedRun
from ..style import COLOURS, HATCHES, handles_of, legend_below, new_figure, percent, short
from .rates import rate_of, without_parts_of_worst


def success(folder: Path) -> Figure:
    """How often each defended network was fooled, attacked obliviously and adaptively; a panel for each budget."""
    cells = one_attack(SavedRun(folder).cells)
    rate, label = rate_of(cells)
    budgets = list(dict.fromkeys(cell["budget"] for cell in cells))
    names = list(dict.fromkeys(defended_name(cell, cells) for cell in cells))
    threats = list(dict.fromkeys(cell["threat"] for cell in cells))
    figure = new_figure(max(5.0, 1.1 + 0.75 * len(names) * len(budgets)), 4.2)
    axes = np.atleast_1d(figure.subplots(1, len(budgets), sharey=True))
    for axis, budget in zip(axes, budgets):
        here = [cell for cell in cells if cell["budget"] == budget and cell.get(rate) is not None]
        beside = {name: [t for t in threats if any(c["threat"] == t and defended_name(c, cells) == name for c in here)] for name in names}
        width = 0.8 / max(1, *map(len, beside.values()))
        for number, threat in enumerate(threats):
            chosen = [cell for cell in here if cell["threat"] == threat]
            groups = [(names.index(name), beside[name]) for name in (defended_name(cell, cells) for cell in chosen)]
            bars(axis, chosen, [place + (group.index(threat) - (len(group) - 1) / 2) * width for place, group in groups], rate, number, width, threat)
        axis.set(title=budget, ylim=(0, 1.02))
        axis.set_xticks(range(len(names)), ["\n".join(map(short, name)) for name in names], rotation=35, ha="right", rotation_mode="anchor")
        axis.grid(False, axis="x")
        percent(axis)
    axes[0].set_ylabel(label)
    legend_below(figure, *handles_of(axes), columns=4)
    return figure


def one_attack(cells: list[dict]) -> list[dict]:
    """The cells of the first seed, and of several attacks on the same thing the one that takes the worst of them."""
    return without_parts_of_worst([cell for cell in cells if cell["seed"] == cells[0]["seed"]])


def bars(axis, cells: list[dict], x: list[float], rate: str, number: int, width: float, name: str) -> None:
    """The bars of one threat at their places, with Wilson intervals."""
    errors = [[max(0.0, c[rate] - c[f"{rate}_low"]) for c in cells], [max(0.0, c[f"{rate}_high"] - c[rate]) for c in cells]]
    axis.bar(x, [cell[rate] for cell in cells], width * 0.92, color=COLOURS[number], hatch=HATCHES[number % len(HATCHES)], edgecolor="white", label=name,
             yerr=errors if cells else None, error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#333333"})


def defended_name(cell: dict, cells: list[dict]) -> tuple[str, ...]:
    """The defense, or the model where there is none; both where that would not tell two cells apart."""
    if cell["defense"] == "none":
        return (cell["model"],)
    several = len({c["model"] for c in cells if c["defense"] == cell["defense"]}) > 1
    return (cell["model"], cell["defense"]) if several else (cell["defense"],)
