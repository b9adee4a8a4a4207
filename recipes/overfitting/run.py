"""Robust overfitting as a curve: see README.md beside this file."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _evaluating import settle
from _files import command, started
from _stages import accuracies, table, trained, training_options, write_table

FOLDER = Path(__file__).resolve().parent
COMMAND = "python recipes/overfitting/run.py --out runs/overfitting"
SHARES = ("accuracy", "robust_accuracy", "train_accuracy", "train_robust_accuracy")
QUICK = ("watched_clips=6", "training_clips=24")


@click.command(epilog="Example: python recipes/overfitting/run.py --out runs/overfitting --quick")
@training_options("Folder of the run; what was stopped goes on.", "the curve says nothing", "Override a key of network.toml.")
def recipe(out, quick, changes, threads, device, check, record):
    """Train for too long under attack; draw and print robustness on training and validation clips over the epochs."""
    from speechadv.report.saved import read_lines
    from speechadv.report.tables import csv_text

    stages = trained(FOLDER, out, COMMAND, (*(QUICK if quick else ()), *changes), quick, threads, device)
    run = out / stages[0].folder
    command("plot", "training", run, "--out", out / "overfitting.png")
    rows = table(stages, out)
    write_table(rows, out)
    lines = read_lines(run / "history.jsonl")
    curve = [line for line in lines if "score" in line]
    columns = ("epoch", "loss", *SHARES)
    (out / "curve.csv").write_text(csv_text(columns, [{name: line.get(name) for name in columns} for line in curve]), encoding="ascii")
    click.echo(passage(curve, stages[0].settings))
    settle(FOLDER, accuracies(rows), quick=quick, record=record, check=check)


def passage(curve: list[dict], settings) -> str:
    """What the curve says, with intervals."""
    best = max(curve, key=lambda row: (row["robust_accuracy"], -row["epoch"]))
    return "\n".join(f"epoch {row['epoch']} ({name}): robust on validation {share(row['robust_accuracy'], settings.validation_clips)}, "
                     f"on training clips {share(row['train_robust_accuracy'], settings.watched_clips)}" for name, row in (("best", best), ("last", curve[-1])))


def share(rate: float, clips: int) -> str:
    """A rate in percent with its 95 % interval."""
    from speechadv.evaluation.statistics import wilson

    low, high = wilson(round(rate * clips), clips)
    return f"{100 * rate:.1f} % of {clips} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    started(recipe)
