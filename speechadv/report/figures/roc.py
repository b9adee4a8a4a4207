"""ROC curves of detectors, from the rows of a detection run."""
from pathlib import Path
from typing import Any, Sequence

from matplotlib.figure import Figure

from ...errors import InputError, shown
from ...evaluation.detection_rows import ADAPTIVE, CLEAN, OBLIVIOUS, ROWS, Row, fooled, lines, read
from ...evaluation.detection_settings import DetectionConfig
from ...evaluation.folder import read_config
from ...evaluation.separation import roc as points_of
from ..style import MARKERS, handles_of, legend_below, look, new_figure, percent, short

TITLES = {OBLIVIOUS: "attacker does not know the detector", ADAPTIVE: "attacker optimises the detector too"}


def roc(folder: Path) -> Figure:
    """The curves of a run's folder, see `curves`. Raises InputError: it holds no rows of detectors."""
    rows = read(folder / ROWS)
    if not rows:
        raise InputError(f"'{shown(folder)}': ROC curves need {ROWS}, from recipes/detection; there is none with whole lines")
    return curves(rows, lines(rows, read_config(folder, DetectionConfig).false_alarms))


def curves(rows: Sequence[Row], found: Sequence[dict[str, Any]]) -> Figure:
    """ROC curves: a row of panels for each model and budget, to the left the oblivious attacker, to the right the adaptive one, a line a detector, and the
    point at the threshold that validation gave, with its 95 % intervals."""
    cells = list(dict.fromkeys((line["model"], line["budget"]) for line in found)) or [("", "")]
    numbers = {detector: place for place, detector in enumerate(dict.fromkeys(line["detector"] for line in found))}
    figure = new_figure(7.2, 3.1 * len(cells) + 0.22 * len(numbers))
    axes = figure.subplots(len(cells), 2, squeeze=False)
    for (model, budget), panels in zip(cells, axes):
        for (attacker, title), axis in zip(TITLES.items(), panels):
            for line in found:
                if (line["model"], line["budget"], line["attacker"]) == (model, budget, attacker) and line["auc"] is not None:
                    _curve(axis, rows, line, numbers[line["detector"]])
            axis.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1, label="chance")
            axis.set(title=f"{short(model)}, {short(budget)}:\n{title}", xlabel="clean clips suspected", ylabel="clips that fool, suspected", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            percent(axis, "x"), percent(axis, "y")
    legend_below(figure, *handles_of(axes.flat), columns=2)
    return figure


def _curve(axis, rows: Sequence[Row], line: dict[str, Any], place: int) -> None:
    """One detector's curve and its point at the threshold."""
    own = [row for row in rows if (row["model"], row["detector"]) == (line["model"], line["detector"])]
    clean = [row["score"] for row in own if row["kind"] == CLEAN]
    wins = [row["score"] for row in own if row["kind"] == line["attacker"] and row["budget"] == line["budget"] and fooled(row)]
    points, style = points_of(clean, wins), look(place)
    axis.plot([x for x, _ in points], [y for _, y in points], label=short(line["detector"], 48), **style)
    x, y = line["false_alarms"], line["detected"]
    axis.errorbar([x], [y], xerr=[[x - line["false_alarms_low"]], [line["false_alarms_high"] - x]], yerr=[[y - line["detected_low"]], [line["detected_high"] - y]],
                  color=style["color"], marker=MARKERS[place % len(MARKERS)], linewidth=1, linestyle="none")
