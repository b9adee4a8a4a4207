"""Every input defense, what it costs and what is left of it: see README.md beside this file."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _files import command, judged, overrides, started

FOLDER = Path(__file__).resolve().parent
RUNS = {"input_defenses": "config.toml", "input_defenses_ensemble": "ensemble.toml"}
BUNDLED = ("data=['bundled']", "models=['resnet']", "clips=3", "draws=2", "audio='all'")
QUICK = {"input_defenses": ("defenses=['none', 'opus:16', 'bits:6', 'noise:10']", "attacks=[{name='pgd', steps=4, loss='margin'}]"),
         "input_defenses_ensemble": ("defenses=['none', 'bits:6']", "attacks=[{name='ensemble', steps=4, targets=1, queries=8}, {name='pgd', steps=8, optimizer='adam', loss='margin'}]", "skip=[]")}


@click.command(epilog="Example: python recipes/input_defenses/run.py --out runs/input_defenses --quick")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the two runs; what was stopped goes on.")
@click.option("--quick", is_flag=True, help="A rehearsal: a few defenses and bundled clips.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Override a key of both configs.")
@click.option("--pgd-only", is_flag=True, help="Leave the stronger attacks out.")
@click.option("--threads", type=int, default=1, show_default=True, help="Threads of torch.")
@click.option("--check", is_flag=True, help="Compare with expected.json; exit status 1 where a number is farther away than its tolerance.")
@click.option("--record", is_flag=True, help="Write the numbers of these runs into expected.json.")
def recipe(out, quick, changes, pgd_only, threads, check, record):
    """PGD through every defense, stronger attacks through some, and defenses.md: a line a defense."""
    import summary

    runs = [out / name for name in list(RUNS)[: 1 if pgd_only else None]]
    for run in runs:
        changed = overrides([*((*BUNDLED, *QUICK[run.name]) if quick else ()), *changes])
        command("evaluate", FOLDER / RUNS[run.name], "--out", run, "--threads", threads, *changed)
    click.echo(summary.write(*runs))
    judged(FOLDER, runs, "--pgd-only" * pgd_only, quick, record, check)


if __name__ == "__main__":
    started(recipe)
