"""Clean against robust accuracy over the weight that is given to each: see README.md beside this file."""
import sys
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _files import started
from _stages import Stage, judge, stages_of, table, train_all, write_table

FOLDER = Path(__file__).resolve().parent
COMMAND = "python recipes/trade_off/run.py --out runs/trade_off"
QUICK = ("start_from=''", "training_clips=24")
RATES = {"accuracy": "clips", "robust_accuracy": "attacked_clips"}  # and what they are of
EXTRA = ("weight", "clips", *(f"{rate}_{end}" for rate in RATES for end in ("low", "high")))


@click.command(epilog="Example: python recipes/trade_off/run.py --out runs/trade_off --quick")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of all runs; what is finished is skipped, what was stopped goes on.")
@click.option("--quick", is_flag=True, help="A rehearsal on the bundled synthetic clips with tiny networks; the curve says nothing.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Override a key of all fine-tunings.")
@click.option("--threads", type=int, help="Threads of torch.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--check", is_flag=True, help="Compare with expected.json; exit status 1 where a number is farther away than its tolerance.")
@click.option("--record", is_flag=True, help="Write the numbers of this run into expected.json.")
def recipe(out, quick, changes, threads, device, check, record):
    """Fine-tune with several weights, print the table and draw the curve."""
    from speechadv.cli.common import Voice
    from speechadv.training.run import train

    stages = stages_of(FOLDER, out, (*(QUICK if quick else ()), *changes), quick)
    if threads:
        import torch

        torch.set_num_threads(threads)

    def learn(stage: Stage, folder: Path, progress: Callable) -> Path:
        return train(stage.settings, folder, device=device, command=COMMAND, progress=progress, say=lambda line: click.echo(f"{stage.folder}: {line}", err=True))

    train_all(stages, out, learn, Voice().progress)
    rows = [with_intervals(row, stage, out) for row, stage in zip(table(stages, out), stages)]
    click.echo(write_table(rows, out, EXTRA))
    draw(rows, out / "trade_off.png")
    judge(FOLDER, rows, COMMAND, quick, record, check)


def with_intervals(row: dict, stage: Stage, out: Path) -> dict:
    """A row of the table with its weight and the 95 % intervals of its two rates, fractions of 1."""
    from speechadv.evaluation.statistics import wilson
    from speechadv.models.pretrained import read_card

    row = row | {"weight": stage.entry["weight"], "clips": read_card(stage.weights(out))["results"]["validation"]["clips"]}
    for rate, clips in RATES.items():
        row[f"{rate}_low"], row[f"{rate}_high"] = wilson(round(row[rate] * row[clips]), row[clips])
    return row


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
