"""Clean against robust accuracy over the weight that is given to each: see README.md beside this file."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _evaluating import settle
from _files import started
from _stages import INTERVALS, RATES, accuracies, table, trained, training_options, with_intervals, write_table

FOLDER = Path(__file__).resolve().parent
COMMAND = "python recipes/trade_off/run.py --out runs/trade_off"
QUICK = ("start_from=''", "training_clips=24")
EXTRA = ("weight", *INTERVALS)


@click.command(epilog="Example: python recipes/trade_off/run.py --out runs/trade_off --quick")
@training_options("Folder of all runs; what is finished is skipped, what was stopped goes on.", "the curve says nothing", "Override a key of all fine-tunings.")
def recipe(out, quick, changes, threads, device, check, record):
    """Fine-tune with several weights, print the table and draw the curve."""
    stages = trained(FOLDER, out, COMMAND, (*(QUICK if quick else ()), *changes), quick, threads, device)
    rows = [with_intervals(row, stage, out) | {"weight": stage.entry["weight"]} for row, stage in zip(table(stages, out), stages)]
    click.echo(write_table(rows, out, EXTRA))
    draw(rows, out / "trade_off.png")
    settle(FOLDER, accuracies(rows), quick=quick, record=record, check=check)


def draw(rows: list[dict], path: Path) -> None:
    """Robust over clean accuracy, a line an objective, with intervals both ways."""
    from speechadv.report import style

    with style.styled():
        figure = style.new_figure(5.5, 4.0)
        axes = figure.subplots()
        for number, kind in enumerate(("at", "trades")):
            mine = [row for row in rows if row["stage"].startswith(kind)]
            x, y = ([row[rate] for row in mine] for rate in RATES)
            across, along = ([[row[rate] - row[f"{rate}_low"] for row in mine], [row[f"{rate}_high"] - row[rate] for row in mine]] for rate in RATES)
            axes.errorbar(x, y, xerr=across, yerr=along, label=kind.upper(), marker=style.MARKERS[number], capsize=2, **style.look(number))
            for row in mine:
                axes.annotate(row["weight"], (row["accuracy"], row["robust_accuracy"]), textcoords="offset points", xytext=(5, 5), fontsize=7)
        axes.set(xlabel=f"clean accuracy on validation, {rows[0]['clips']} clips", ylabel=f"robust accuracy, {rows[0]['budget']}, {rows[0]['attacked_clips']} clips")
        style.percent(axes)
        style.percent(axes, "x")
        style.legend_below(figure, *style.handles_of((axes,)))
        style.save(figure, path)


if __name__ == "__main__":
    started(recipe)
