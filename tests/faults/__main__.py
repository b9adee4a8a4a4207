"""python -m tests.faults --moments 100: kill -9 at random moments in seven commands; a table in results/faults.md and a line a kill in faults.csv."""
import csv
import dataclasses
import multiprocessing
import os
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a fork keeps no threads

import click
import torch

from tests.conftest import small_data, tiny_model

from .cases import cases, report
from .harness import Harness, Moment, warmed

ORDER = ("evaluate", "train", "attack", "download", "report", "defend", "certify")
WARM = ("evaluate", "train", "attack")


_harnesses: dict[str, Harness] = {}  # by case; processes that do the killing are forks and find them here


@click.command()
@click.option("--moments", default=100, show_default=True, help="Kills in each command.")
@click.option("--command", "chosen", multiple=True, help=f"Only these: {', '.join(ORDER)}.")
@click.option("--seed", default=0, show_default=True)
@click.option("--jobs", default=1, show_default=True, help="Commands that are tried side by side; the moments are the same.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for faults.csv and faults.md; none are written without it.")
def main(moments: int, chosen: tuple[str, ...], seed: int, jobs: int, out: Path | None) -> None:
    """Kill -9 at random moments. Exit status 1 where a restart did not end as an undisturbed run."""
    torch.set_num_threads(1)
    rows, lines = [], []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as scratch:
        prepare(Path(scratch), seed)
        names = [name for name in ORDER if not chosen or name in chosen]
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
            for name, found in zip(names, pool.map(moments_of, names, repeat(moments))):
                rows += found
                lines.append(line(_harnesses[name], found))
                click.echo(lines[-1])
                for problem, times in Counter(problem for moment in found for problem in moment.problems).items():
                    click.echo(f"  {times} times: {problem}")
    if out:
        write(out, rows, lines, moments, seed)
    raise SystemExit(any(moment.problems for moment in rows))


def moments_of(name: str, count: int) -> list[Moment]:
    """The kills of one case."""
    return list(_harnesses[name].moments(count))


def prepare(scratch: Path, seed: int) -> None:
    """The cases with their undisturbed runs; what can be loaded and drawn beforehand is, by a run in this process."""
    data = scratch / "data"
    data.mkdir()
    found = cases(tiny_model(scratch / "weights"), small_data(data), scratch / "needed")
    for name in WARM:
        warmed(found[name], scratch / "warm" / name)
    _harnesses.update((name, Harness(case, scratch / "tries", seed)) for name, case in found.items())
    _harnesses["report"] = Harness(report(_harnesses["evaluate"]), scratch / "tries", seed)


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
(all files but `timing.jsonl` and `environment.json`). `evaluate` is tried without drawing its page, which is what `report` makes. `faults.csv` has a line for each
kill.

""" + "\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
