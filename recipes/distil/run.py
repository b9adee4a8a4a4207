"""A student with all ingredients, and without each of them: see README.md beside this file."""
import sys
from pathlib import Path
from typing import Callable

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
import click
from _evaluating import settle
from _files import started
from _stages import Stage, accuracies, stages_of, table, train_all, training_options, use_threads, with_voices, write_table

FOLDER = Path(__file__).resolve().parent
COMMAND = "python recipes/distil/run.py --out runs/distil --voices runs/voices"
QUICK_TEACHER = ("teaching.models=['resnet']",)  # of the package: whoever has no teacher at hand can rehearse as well


@click.command(epilog="Example: python recipes/distil/run.py --out runs/distil --quick")
@training_options("Folder of all runs; what is finished is skipped, what was stopped goes on.", "`resnet` teaches", "Override a key of all rows.")
@click.option("--voices", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Synthetic voices of data/make_training_voices.py, for the rows that learn from them; without it these are left out.")
@click.option("--only", multiple=True, metavar="ROW", help="Train this row alone, from what is there; may be given several times.")
def recipe(out, quick, voices, only, changes, threads, device, check, record):
    """Train the rows of config.toml and print what each reached on validation, beside the row with all ingredients."""
    from student import learn as learn_row

    from speechadv import config as configs
    from speechadv.cli.common import Voice
    from speechadv.errors import ConfigError

    share = configs.read(FOLDER / "config.toml")["share"]
    stages = stages_of(FOLDER, out, (*(QUICK_TEACHER if quick else ()), *changes), quick)
    stages = [with_voices(stage, voices) for stage in stages if voices or not stage.entry.get("voices")]
    if unknown := set(only) - {stage.folder for stage in stages}:
        raise ConfigError(f"--only: no row '{sorted(unknown)[0]}'")
    use_threads(threads)

    def learn(stage: Stage, folder: Path, progress: Callable) -> Path:
        click.echo(f"{stage.folder}:", err=True)
        return learn_row(stage.settings, folder, share=1.0 if quick else share, hears=stage.entry.get("hears", "view"), device=device, command=COMMAND,
                         progress=progress, say=lambda line: click.echo(line, err=True))

    train_all([stage for stage in stages if not only or stage.folder in only], out, learn, Voice().progress)
    rows = compared(table(stages, out))
    click.echo(write_table(rows, out, ("points_lost",)))
    settle(FOLDER, accuracies(rows), quick=quick, record=record, check=check, options="--voices runs/voices" if voices and not quick else "")


def compared(rows: list[dict]) -> list[dict]:
    """The rows with the points that each lost against the one with all ingredients: robust accuracy for robust students, else clean accuracy."""
    whole = {row["network"]: row for row in rows if row["stage"].endswith("all")}
    for row in rows:
        key = "accuracy" if row["robust_accuracy"] is None else "robust_accuracy"
        row["points_lost"] = "" if row["network"] not in whole else f"{100 * (whole[row['network']][key] - row[key]):+.2f}"
    return rows


if __name__ == "__main__":
    started(recipe)
