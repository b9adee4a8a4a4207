"""Every objective, adversary and way through a defense that the training loop knows, each for a moment: see README.md beside this file."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _evaluating import settle
from _files import started
from _stages import INTERVALS, Stage, accuracies, table, trained, training_options, with_intervals, write_table

FOLDER = Path(__file__).resolve().parent
COMMAND = "python recipes/objectives/run.py --out runs/objectives"
QUICK = ("start_from=''", "training_clips=24")
EXTRA = ("what", "inner_steps", *INTERVALS)


@click.command(epilog="Example: python recipes/objectives/run.py --out runs/objectives --quick")
@training_options("Folder of all runs; what is finished is skipped, what was stopped goes on.", "the table says nothing", "Override a key of all trainings.")
def recipe(out, quick, changes, threads, device, check, record):
    """Train in each way, and print the table."""
    stages = trained(FOLDER, out, COMMAND, (*(QUICK if quick else ()), *changes), quick, threads, device)
    rows = [with_intervals(row, stage, out) | {"what": stage.entry["what"], "inner_steps": taken(stage, out)} for row, stage in zip(table(stages, out), stages)]
    click.echo(write_table(rows, out, EXTRA))
    settle(FOLDER, accuracies(rows), quick=quick, record=record, check=check)


def taken(stage: Stage, out: Path) -> str:
    """The inner steps that a guarded training ended with, which are more than it began with where the guard went back; else nothing."""
    from speechadv.report.saved import read_lines

    steps = [row["inner_steps"] for row in read_lines(out / stage.folder / "history.jsonl") if "inner_steps" in row]
    return f"{steps[0]} to {steps[-1]}" if steps else ""


if __name__ == "__main__":
    started(recipe)
