"""The score of the last `mutmut run`, by file, and the mutants that survived: `python -m benchmarks.mutation_score [--out FILE]`."""
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click

KILLED = ("killed", "timeout", "segfault")


@click.command()
@click.option("--mutants", type=click.Path(path_type=Path, exists=True), default=Path("mutants"), show_default=True, help="The folder that mutmut wrote.")
@click.option("--least", default=85.0, show_default=True, help="Exit with status 1 below this score in percent.")
@click.option("--survivors", is_flag=True, help="Show what the survivors changed.")
def main(mutants, least, survivors):
    """Count killed mutants, those that made tests run out of time among them."""
    from mutmut.stats import status_by_exit_code

    outcomes = {file: json.loads(file.read_text())["exit_code_by_key"] for file in sorted(mutants.rglob("*.meta"))}
    total, unchecked = Counter(), 0
    for file, codes in outcomes.items():
        counts = Counter(status_by_exit_code[code] for code in codes.values())
        unchecked += counts.pop("not checked", 0)
        total += counts
        if counts:
            click.echo(f"{file.relative_to(mutants).with_suffix('')}: {said(counts)}")
    click.echo(f"all: {said(total)}" + (f"; {unchecked} not checked yet" if unchecked else ""))
    for name in (name for codes in outcomes.values() for name, code in codes.items() if survivors and status_by_exit_code[code] in ("survived", "no tests")):
        shown = subprocess.run([sys.executable, "-m", "mutmut", "show", name], capture_output=True, text=True).stdout.splitlines()
        click.echo(name + "".join(f"\n  {line}" for line in shown if line[:1] in "+-" and not line.startswith(("+++", "---"))))
    sys.exit(score(total) < least or unchecked > 0)


def said(counts: Counter) -> str:
    return f"{sum(counts[key] for key in KILLED)} of {counts.total()} killed, {score(counts):.1f} %"


def score(counts: Counter) -> float:
    return 100 * sum(counts[key] for key in KILLED) / max(counts.total(), 1)


if __name__ == "__main__":
    main()
