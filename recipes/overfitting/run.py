"""Robust overfitting as a curve: see README.md beside this file."""
import csv
import sys
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _files import command, started
from _stages import Stage, judge, stages_of, table, train_all, write_table

FOLDER = Path(__file__).resolve().parent
COMMAND = "python recipes/overfitting/run.py --out runs/overfitting"
SHARES = ("accuracy", "robust_accuracy", "train_accuracy", "train_robust_accuracy")
QUICK = ("watched_clips=6", "training_clips=24")


@click.command(epilog="Example: python recipes/overfitting/run.py --out runs/overfitting --quick")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run; what was stopped goes on.")
@click.option("--quick", is_flag=True, help="A rehearsal on the bundled synthetic clips; the curve says nothing.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Override a key of network.toml.")
@click.option("--threads", type=int, help="Threads of torch.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--check", is_flag=True, help="Compare with expected.json; exit status 1 where a number is farther away than its tolerance.")
@click.option("--record", is_flag=True, help="Write the numbers of this run into expected.json.")
def recipe(out, quick, changes, threads, device, check, record):
    """Train for too long under attack; draw and print robustness on training and validation clips over the epochs."""
    from speechadv.cli.common import Voice
    from speechadv.report.saved import read_lines
    from speechadv.training.run import train

    stages = stages_of(FOLDER, out, (*(QUICK if quick else ()), *changes), quick)
    if threads:
        import torch

        torch.set_num_threads(threads)

    def learn(stage: Stage, folder: Path, progress: Callable) -> Path:
        return train(stage.settings, folder, device=device, command=COMMAND, progress=progress, say=lambda line: click.echo(line, err=True))

    train_all(stages, out, learn, Voice().progress)
    run = out / stages[0].folder
    command("plot", "training", run, "--out", out / "overfitting.png")
    rows = table(stages, out)
    write_table(rows, out)
    lines = read_lines(run / "history.jsonl")
    curve = [line for line in lines if "score" in line]
    write_curve(curve, out / "curve.csv")
    click.echo(passage(curve, stages[0].settings))
    judge(FOLDER, rows, COMMAND, quick, record, check)


def write_curve(curve: list[dict], path: Path) -> None:
    """The shares by epoch, as CSV."""
    with open(path, "w", newline="", encoding="ascii") as file:
        writer = csv.DictWriter(file, ("epoch", "loss", *SHARES), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(curve)


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
