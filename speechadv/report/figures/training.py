"""The course of a training run."""
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...errors import InputError, shown
from ..saved import history
from ..style import COLOURS, MARKERS, handles_of, legend_below, new_figure, percent


def training(folder: Path) -> Figure:
    """Loss and accuracies over the epochs of a training run."""
    path = folder / "history.jsonl"
    if not path.is_file():
        raise InputError(f"'{shown(folder)}': expected a training run, there is no history.jsonl in it")
    rows = history(path)
    names = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in ("epoch", "loss", "score", "inner_steps")]
    figure = new_figure(6.5, 4.2)
    upper, lower = figure.subplots(2, 1, sharex=True)
    learned = [row for row in rows if "loss" in row]  # a run of no epochs has validated alone
    upper.plot([row["epoch"] for row in learned], [row["loss"] for row in learned], color=COLOURS[6], marker=".", label="training loss")
    upper.set_ylabel("cross-entropy (nats)")
    for number, name in enumerate(names):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        lower.plot(*zip(*points), color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)], markersize=3, label=named(name))
    lower.set(xlabel="epoch", ylabel="share of clips right")
    lower.set_ylim(0, 1.02)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    percent(lower)
    legend_below(figure, *handles_of((upper, lower)))
    return figure


def named(key: str) -> str:
    """A key of history.jsonl in words."""
    words = key.replace("_", " ")
    return f"training clips: {words.removeprefix('train ')}" if key.startswith("train_") else words.upper().replace("GUARD", "guard:") if key.startswith("guard_") else f"validation {words}"
