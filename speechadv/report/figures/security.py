"""Security curves: how a rate moves with the size of the budget or with the bitrate."""
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ...errors import ConfigError, InputError, shown
from ...evaluation.cells import CELL_KEYS
from ..saved import SavedRun
from ..style import COLOURS, MARKERS, handles_of, legend_below
from .rates import line_names, panel_axes, panels, rate_of, taken, without_parts_of_worst

THREATS = {"oblivious": "--", "transfer": "-.", "black-box": ":"}  # dashes and hollow markers; of an attack that knows the whole a full line
CROWDED = 8  # lines: beyond, the worst of several attacks stands for all of them
# What a security curve can run over: the column that holds it, the axis's name with its unit, and the word before the value.
AXES = {
    "eps": ("budget", "L-infinity budget (fraction of full scale)", "linf"),
    "snr": ("budget", "least signal-to-noise ratio (dB)", "snr"),
    "margin": ("budget", "margin over the masking threshold (dB)", "masking"),
    "bitrate": ("defense", "MP3 bitrate (kbit/s)", "mp3"),
}


def security(folder: Path, over: str | None = None) -> Figure:
    """How a rate moves with the size of the budget or with the bitrate, with its 95 % Wilson interval."""
    cells = SavedRun(folder).cells
    if over is not None and over not in AXES:
        raise ConfigError(f"--over '{shown(over)}': expected one of {', '.join(AXES)}")
    rate, label = rate_of(cells)
    drawable = [cell for cell in cells if cell.get(rate) is not None]
    lines = {key: series(drawable, key) for key in ([over] if over else AXES)}
    if max(map(len, lines.values())) > CROWDED:
        drawable = without_parts_of_worst(drawable)
        lines = {key: series(drawable, key) for key in lines}
    over = max(lines, key=lambda key: max(map(len, lines[key].values()), default=0))
    if not lines[over]:
        raise InputError(f"'{shown(folder)}': a security curve over {over} needs a run with two or more values of it and all else equal")
    groups = list(lines[over].values())
    keys = [tuple(without(members[0], key, over) for key in CELL_KEYS) for members in groups]
    found, within = panels(keys)
    names = line_names([taken(key, within) for key in keys], within)
    figure, axes = panel_axes(found, names, label, AXES[over][1])
    looks: dict[tuple, int] = {}  # lines that differ in the threat alone have one colour; THREATS tells them apart
    for axis, panel in zip(axes, found):
        for place in panel.lines:
            look = taken(keys[place], [key for key in within if key != "threat"])
            curve(axis, groups[place], over, rate, looks.setdefault(look, len(looks)), names[place])
    legend_below(figure, *handles_of(axes))
    return figure


def curve(axis, members: list[dict], over: str, rate: str, number: int, name: str) -> None:
    """One line with a band for its interval."""
    members = sorted(members, key=lambda cell: value_of(cell, over))
    x = [value_of(cell, over) for cell in members]
    colour = COLOURS[number % len(COLOURS)]
    dash = THREATS.get(members[0]["threat"], "-")
    axis.plot(x, [cell[rate] for cell in members], color=colour, marker=MARKERS[number % len(MARKERS)], label=name, linestyle=dash,
              markerfacecolor=colour if dash == "-" else "white")
    axis.fill_between(x, [cell[f"{rate}_low"] for cell in members], [cell[f"{rate}_high"] for cell in members], color=colour, alpha=0.15, linewidth=0)


def series(cells: list[dict], over: str) -> dict[str, list[dict]]:
    """Two or more cells that differ in the x axis alone, under a name made of the keys that differ between lines."""
    keys = CELL_KEYS
    groups: dict[tuple, list[dict]] = {}
    for cell in cells:
        if value_of(cell, over) is not None:
            groups.setdefault(tuple(without(cell, key, over) for key in keys), []).append(cell)
    groups = {group: members for group, members in groups.items() if len(members) > 1}
    return dict(zip(line_names(list(groups), keys), groups.values()))


def without(cell: dict, key: str, over: str) -> Any:
    """A cell's key with the x axis's value taken out of it."""
    column, _, prefix = AXES[over]
    return "+".join(prefix if part.startswith(prefix) else part for part in str(cell[key]).split("+")) if key == column else cell[key]


def value_of(cell: dict, over: str) -> float | None:
    """A cell's value on an x axis, or None where it has none."""
    column, _, prefix = AXES[over]
    for part in str(cell[column]).split("+"):
        if part == "masking" and over == "margin":
            return 0.0
        if part.startswith(prefix + ":"):
            try:
                return float(part.split(":")[1])
            except ValueError:
                return None
    return None
