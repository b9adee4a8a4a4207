"""What a success costs: queries of a black-box attack, or loudness of the smallest perturbation that works."""
from pathlib import Path
from typing import Callable, Sequence

from matplotlib.figure import Figure

from ...errors import InputError, shown
from ...evaluation.aggregate import by_cell
from ...evaluation.cells import CELL_KEYS, WORST
from ...evaluation.curves import Point, asks_only, seeks_smallest, success_over_queries, success_over_snr
from ...evaluation.metrics import right_before
from ...evaluation.rows import Row
from ..saved import SavedRun
from ..style import handles_of, legend_below, look
from .rates import counted, line_names, panel_axes, panels, taken

Cells = dict[tuple, list[Row]]
SUCCESS = "clips won (of {} right before)"


def queries(folder: Path) -> Figure:
    """How the share of successes of black-box attacks grows with the queries spent on a clip, with 95 % Wilson intervals."""
    figure = curves(asking(folder), success_over_queries, "queries", "post", "queries spent on a clip")
    figure.axes[0].set_xlim(0, None)
    return figure


def minimum(folder: Path) -> Figure:
    """How often the smallest perturbation that was found leaves at least this SNR, with 95 % Wilson intervals.

    Of several budgets that differ in nothing else the one that allowed most successes is drawn: in it the search was cut least.
    """
    return curves(seeking(folder), success_over_snr, "snr_db", "pre", "signal-to-noise ratio that is left, at least (dB)")


def points(kind: str, folder: Path) -> list[Point]:
    """What the figure `kind`, "queries" or "minimum", shows, as lines of a table: the cell's keys, then the point. Raises InputError."""
    cells, points_of = {"queries": (asking, success_over_queries), "minimum": (seeking, success_over_snr)}[kind]
    return [dict(zip(CELL_KEYS, key)) | point for key, rows in cells(folder).items() for point in points_of(rows)]


def asking(folder: Path) -> Cells:
    """The cells of attacks that ask without gradients. Raises InputError where there is none."""
    cells = {key: rows for key, rows in attacks_of(folder).items() if asks_only(rows)}
    if not cells:
        raise InputError(f"'{shown(folder)}': query curves need rows of an attack that spends queries and no gradients, such as square or nes")
    return cells


def seeking(folder: Path) -> Cells:
    """The cells of attacks that look for the smallest perturbation. Raises InputError where none has a success."""
    cells = widest({key: rows for key, rows in attacks_of(folder).items() if seeks_smallest(key[2])})
    if not any(success_over_snr(rows) for rows in cells.values()):
        raise InputError(f"'{shown(folder)}': a curve over SNR needs successes of a minimum-norm attack, such as fmn, ddn or cw")
    return cells


def attacks_of(folder: Path) -> Cells:
    """The rows of each cell of one attack."""
    return {key: rows for key, rows in by_cell(SavedRun(folder).rows).items() if key[2] != WORST}


def widest(cells: Cells) -> Cells:
    """Of cells that differ in the budget alone the one with most successes."""
    best: dict[tuple, tuple] = {}
    for key in cells:
        group, successes = (*key[:4], key[5]), lambda k: max((point["success"] for point in success_over_snr(cells[k])), default=0.0)
        if group not in best or successes(key) > successes(best[group]):
            best[group] = key
    return {key: rows for key, rows in cells.items() if key in best.values()}


def curves(cells: Cells, points_of: Callable[[Sequence[Row]], list[Point]], over: str, side: str, xlabel: str) -> Figure:
    """A line a cell in steps, with a band for its interval."""
    lines = {key: points for key, rows in cells.items() if (points := points_of(rows))}
    keys, ends = list(lines), [point[over] for points in lines.values() for point in points]
    found, within = panels(keys)
    names = line_names([taken(key, within) for key in keys], within)
    figure, axes = panel_axes(found, names, SUCCESS.format(counted(sum(map(right_before, cells[key])) for key in keys)), xlabel)
    looks = {name: look(number) for number, name in enumerate(dict.fromkeys(names))}
    for axis, panel in zip(axes, found):
        for place in panel.lines:
            points = lines[keys[place]]
            steps(axis, to_the_edges(points, over, min(ends), max(ends)) if side == "pre" else points, over, side, names[place], looks[names[place]])
    legend_below(figure, *handles_of(axes))
    return figure


def steps(axis, points: list[Point], over: str, side: str, name: str, style: dict[str, str]) -> None:
    """One line and its band."""
    x = [point[over] for point in points]
    axis.step(x, [point["success"] for point in points], where=side, label=name, **style)
    axis.fill_between(x, [point["success_low"] for point in points], [point["success_high"] for point in points], step=side, color=style["color"],
                      alpha=0.12, linewidth=0)


def to_the_edges(points: list[Point], over: str, lowest: float, highest: float) -> list[Point]:
    """A falling curve from the left edge of the figure to where nothing is left."""
    nothing = points[-1] | {over: points[-1][over] + 1e-6, "success": 0.0, "success_low": 0.0}
    return [points[0] | {over: lowest - 1}, *points, nothing, nothing | {over: highest + 1}]
