"""python -m tests.faults --moments 100: kill -9 at random moments in five commands; a table in results/faults.md and a line a kill in faults.csv."""
import csv
import dataclasses
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a fork keeps no threads

import click
import torch

from tests.conftest import small_data, tiny_model

from .cases import cases, report
from .harness import Harness, Moment


@click.command()
@click.option("--moments", default=100, show_default=True, help="Kills in each command.")
@click.option("--command", "chosen", multiple=True, help="Only these: evaluate, train, attack, download, report.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for faults.csv and faults.md; none are written without it.")
def main(moments: int, chosen: tuple[str, ...], seed: int, out: Path | None) -> None:
    """Kill -9 at random moments. Exit status 1 where a restart did not end as an undisturbed run."""
    torch.set_num_threads(1)
    torch.ones(2, requires_grad=True).sum().backward()
    rows, lines = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for harness in harnesses(Path(scratch), seed):
            if chosen and harness.case.name not in chosen:
                continue
            started = time.monotonic()
            found = list(harness.moments(moments))
            rows += found
            lines.append(line(harness, found))
            click.echo(f"{lines[-1]}  ({time.monotonic() - started:.0f} s)")
            for problem in Counter(problem for moment in found for problem in moment.problems).items():
                click.echo(f"  {problem[1]} times: {problem[0]}")
    if out:
        write(out, rows, lines, moments, seed)
    raise SystemExit(any(moment.problems for moment in rows))


def harnesses(scratch: Path, seed: int):
    """One a command; each makes its undisturbed run when it is asked for."""
    data = scratch / "data"
    data.mkdir()
    all_cases = cases(tiny_model(scratch / "weights"), small_data(data), scratch / "needed")
    evaluation = Harness(all_cases.pop("evaluate"), scratch / "tries", seed)
    yield evaluation
    yield from (Harness(case, scratch / "tries", seed) for case in all_cases.values())
    yield Harness(report(evaluation), scratch / "tries", seed)


def line(harness: Harness, found: list[Moment]) -> str:
    """A row of the table."""
    good = sum(not moment.problems for moment in found)
    return (f"| {harness.case.name} | {harness.seconds:.2f} | {harness.events} | {len(found)} | {sum(m.kind == 'time' for m in found)} | "
            f"{sum(m.again for m in found)} | {sum(m.whole for m in found):,} | {good} of {len(found)} |")


def write(out: Path, rows: list[Moment], lines: list[str], moments: int, seed: int) -> None:
    """results/faults.csv and faults.md."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "faults.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["command", "kind", "at", "kills before", "files whole", "problems"])
        for moment in rows:
            case, kind, at, again, whole, problems = dataclasses.astuple(moment)
            writer.writerow([case, kind, f"{at:.4f}" if kind == "time" else int(at), again, whole, "; ".join(problems)])
    head = ["command", "seconds undisturbed", "file operations", "kills", "of them at a time", "of them in a restart", "files found whole", "went on and ended the same"]
    table = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *lines]
    (out / "faults.md").write_text(f"""# Killed at random moments

`python -m tests.faults --moments {moments} --seed {seed} --out results`

Each command is begun, killed with signal 9 at a random moment, and begun again. "At a time": uniform over the seconds of the undisturbed run; the others
strike right before a random one of its file operations (a file opened for writing, renamed, made or removed). Right after a kill every file that stands under
its own name must be whole: the bytes of the undisturbed run. In the end rows, tables, sound, page, weights and card must be the same bytes
(all files but `timing.jsonl` and `environment.json`). `faults.csv` has a line for each kill.

""" + "\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
