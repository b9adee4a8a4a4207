"""Copy what is kept of finished runs, tables, config, environment and figures, into results/.

    python recipes/collect.py runs/codec_and_bandpass runs/targeted_pgd
"""
import shutil
from pathlib import Path

import click

KEPT = ("config.toml", "environment.json", "table.csv", "table.md", "result.json")
MEASURED = ("theory.md", "theory.jsonl", "strength.md", "strength.csv", "sizes.md", "sizes.csv", "corruptions.csv", "defenses.md", "defenses.csv", "loudness.md",
            "loudness.csv")  # of single runs
FIGURES = (".svg", ".png")


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--results", type=click.Path(path_type=Path), default=Path(__file__).resolve().parents[1] / "results", help="Default: results/ of the project.")
def collect(runs, results):
    """Copy tables, config, environment and figures of RUNS into results/NAME."""
    for run in runs:
        target = results / run.name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in (*KEPT, *(name for name in MEASURED if (run / name).exists())):
            shutil.copy(run / name, target / name)
        for figure in sorted((run / "figures").glob("*")):
            if figure.suffix in FIGURES:
                shutil.copy(figure, target / figure.name)
        click.echo(f"{target}: {', '.join(sorted(path.name for path in target.iterdir()))}")


if __name__ == "__main__":
    collect()
