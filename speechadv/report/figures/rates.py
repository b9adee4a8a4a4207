"""What figures of a whole run share: the rate that they show, the names of their lines, and the panels that these are spread over."""
from dataclasses import dataclass
from typing import Any, Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...errors import InputError
from ...evaluation.cells import CELL_KEYS, WORST
from ..style import new_figure, percent, short

READABLE = 6  # lines in one panel
PARTS = ((), ("model",), ("model", "defense"), ("model", "defense", "budget"), ("model", "defense", "budget", "attack"))  # what each panel may be about
ABREAST = 3  # panels


def rate_of(cells: list[dict]) -> tuple[str, str]:
    """The rate that a figure shows, and its name with the denominator: targeted success where the run was targeted, else robust accuracy."""
    if not cells:
        raise InputError("this run has no cells to draw")
    if any(cell.get("targeted_success") is not None for cell in cells):
        return "targeted_success", f"target word heard (of {counted(cell['clips_right'] for cell in cells)} clips right before)"
    return "robust_accuracy", f"right before and after (of {counted(cell['clips'] for cell in cells)} clips)"


def counted(numbers: Iterable[int]) -> str:
    """A denominator for several rates: "960", or "948 to 960"."""
    numbers = sorted(set(numbers))
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"


def line_names(groups: Sequence[tuple], keys: Sequence[str] = CELL_KEYS) -> list[str]:
    """A name for each group of values of `keys`, made of those that differ between groups; the model where none does."""
    varied = [i for i in range(len(keys)) if len({group[i] for group in groups}) > 1] or [0]
    words = [[f"seed {group[i]}" if keys[i] == "seed" else str(group[i]) for i in varied] for group in groups]
    names = [", ".join(map(short, those)) for those in words]
    return [name if names.count(name) == 1 else ", ".join(those) for name, those in zip(names, words)]  # what reads alike is not shortened


def without_parts_of_worst(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of several attacks on the same thing the cell that takes the worst of them, where there is one."""
    place = lambda cell: tuple(cell[key] for key in CELL_KEYS if key != "attack")
    worst = {place(cell) for cell in cells if cell["attack"] == WORST}
    return [cell for cell in cells if cell["attack"] == WORST or place(cell) not in worst]


@dataclass(frozen=True)
class Panel:
    """Lines that are drawn together: their places in the list of all, and what is common to them as `title`."""

    title: str
    lines: list[int]


def panels(groups: Sequence[tuple], keys: Sequence[str] = CELL_KEYS) -> tuple[list[Panel], list[str]]:
    """Lines spread over as few panels as leave no more than READABLE in each, and the keys that tell the lines of a panel apart."""
    for part in PARTS:
        inside: dict[tuple, list[int]] = {}
        for place, group in enumerate(groups):
            inside.setdefault(taken(group, part, keys), []).append(place)
        if max(map(len, inside.values())) <= READABLE:
            break
    titles = line_names(list(inside), part) if len(inside) > 1 else [""]
    return [Panel(title, lines) for title, lines in zip(titles, inside.values())], [key for key in keys if key not in part]


def taken(group: tuple, chosen: Sequence[str], keys: Sequence[str] = CELL_KEYS) -> tuple:
    """The values of these keys out of those of `keys`."""
    return tuple(value for key, value in zip(keys, group) if key in chosen)


def panel_axes(found: Sequence[Panel], names: Sequence[str], ylabel: str, xlabel: str) -> tuple[Figure, list[Axes]]:
    """A figure with an axis of fractions for each panel; there is room for a legend of these names below."""
    across = min(ABREAST, len(found))
    down = -(-len(found) // across)
    figure = new_figure(6.5 if across == 1 else 3.3 * across, (3.2 if down == 1 else 2.3 * down) + 0.2 * len(set(names)))
    axes = list(figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flat)
    for axis, panel in zip(axes, found):
        axis.set(title=panel.title, ylim=(-0.02, 1.02))
        percent(axis)
    for axis in axes[len(found) :]:
        axis.remove()
    axes = axes[: len(found)]
    for axis in axes[-across:]:  # the lowest of each column
        axis.set_xlabel(xlabel)
        axis.tick_params(labelbottom=True)
    if across > 1:
        axes[0].xaxis.set_major_locator(MaxNLocator(4))  # of all: they share it
    if len(axes) == 1:
        axes[0].set_ylabel(ylabel)
    else:
        figure.supylabel(ylabel, fontsize="medium")
    return figure, axes
