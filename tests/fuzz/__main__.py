"""python -m tests.fuzz --inputs 200000: broken files into every reader; a table in results/fuzz.md and .csv."""
import csv
import dataclasses
import json
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import click

from speechadv.errors import SpeechAdvError
from tests.conftest import tiny_model

from .mutations import mutated
from .of_runs import of_folders, of_runs
from .targets import Target, targets

ROOM = 2**30  # bytes that a reader may take beyond what the process has
SECONDS = 5.0  # of the processor, for one input
COLUMNS = ("reader", "inputs", "read", "refused", "other errors", "slowest CPU s", "grown MB", "seconds")


@dataclasses.dataclass
class Tally:
    """What became of the inputs of a reader. `bad`: errors that are none of ours, and inputs that took too long, each with its first input."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    grown: float = 0.0
    bad: dict[str, str] = dataclasses.field(default_factory=dict)


def fuzz(target: Target, inputs: int, seed: int, folder: Path, seconds: float = 1e9) -> Tally:
    """Broken files into one reader, in this process, until so many were read or the time is over."""
    chance, tally = random.Random(f"{seed} {target.name}"), Tally()
    path = folder / "input"
    limit, before = time.monotonic() + seconds, _peak()
    for number in range(inputs):
        content = target.good[number] if number < len(target.good) else mutated(target.good, chance)
        path.write_bytes(content)
        started = time.process_time()
        try:
            target.read(path)
            tally.read += 1
        except SpeechAdvError as problem:
            tally.refused += 1
            if len(str(problem).splitlines()) != 1 or not str(problem).isprintable():
                tally.bad.setdefault(f"a message that is not one line: {str(problem)[:80]!r}", content[:4000].hex())
        except BaseException as problem:
            where = traceback.extract_tb(problem.__traceback__)[-1]
            tally.bad.setdefault(f"{type(problem).__name__} in {Path(where.filename).name}:{where.lineno}: {str(problem)[:120]}", content[:4000].hex())
        tally.inputs, took = tally.inputs + 1, time.process_time() - started
        tally.slowest = max(tally.slowest, took)
        if took > SECONDS:
            tally.bad.setdefault(f"took {took:.1f} s", content[:4000].hex())
        if time.monotonic() > limit:
            break
    tally.grown = (_peak() - before) / 1024
    if not tally.read:
        tally.bad["not one input could be read"] = ""
    return tally


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KB


def apart(target: Target, inputs: int, seed: int, seconds: float = 1e9) -> Tally:
    """The same in a fork whose memory is bounded: what crashes or takes too much ends the fork alone."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        result = Path(folder) / "tally"
        sys.stdout.flush()
        child = os.fork()
        if not child:
            try:
                warnings.simplefilter("ignore")
                taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))
                (Path(folder) / "work").mkdir()
                result.write_text(json.dumps(dataclasses.asdict(fuzz(target, inputs, seed, Path(folder) / "work", seconds))))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if result.exists():
            return Tally(**json.loads(result.read_text()))
        crashed = (Path(folder) / "work" / "input").read_bytes()
        return Tally(bad={f"the process ended with {os.waitstatus_to_exitcode(status)}": crashed[:4000].hex()})


@click.command()
@click.option("--inputs", default=200_000, show_default=True, help="In all; readers have fixed shares of it.")
@click.option("--seconds", type=float, help="Stop after so many, in all.")
@click.option("--reader", "chosen", multiple=True, help="Only readers with this word in their name.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for fuzz.csv and fuzz.md; none are written without it.")
def main(inputs: int, seconds: float | None, chosen: tuple[str, ...], seed: int, out: Path | None) -> None:
    """Exit status 1 where anything but an error of ours came out, or memory or time were not bounded."""
    rows, problems = [], Counter()
    with tempfile.TemporaryDirectory() as folder:
        readers = [t for t in [*targets(tiny_model(Path(folder))), *of_runs(), *of_folders(Path(folder) / "hf")] if not chosen or any(word in t.name for word in chosen)]
        total = sum(target.share for target in readers)
        for target in readers:
            started = time.monotonic()
            tally = apart(target, -int(-inputs * target.share // total), seed, seconds * target.share / total if seconds else 1e9)
            rows.append([target.name, tally.inputs, tally.read, tally.refused, len(tally.bad), f"{tally.slowest:.2f}", f"{tally.grown:.0f}", f"{time.monotonic() - started:.0f}"])
            click.echo("  ".join(map(str, rows[-1])))
            for problem, content in tally.bad.items():
                click.echo(f"    {problem}\n      input {content[:200]}")
            problems.update(tally.bad.keys())
    click.echo(f"{sum(row[1] for row in rows):,} inputs, {len(problems)} problems")
    if out:
        write(out, rows, inputs, seed)
    raise SystemExit(bool(problems))


def write(out: Path, rows: list[list], inputs: int, seed: int) -> None:
    """results/fuzz.csv and fuzz.md."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "fuzz.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    table = ["| " + " | ".join(map(str, row)) + " |" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    (out / "fuzz.md").write_text(f"""# Broken files into every reader

`python -m tests.fuzz --inputs {inputs} --seed {seed} --out results`

Good files are changed in one to four ways (bits, extreme numbers, pieces cut, left out, doubled, crossed; words that readers stumble over). "Read" inputs were
still good enough, "refused" ones ended in one line of ours; anything else would stand under "other errors". Each reader has a process whose memory is bounded
to 1 GB beyond what it began with; "grown" is what its peak rose by. {sum(row[1] for row in rows):,} inputs in all.

""" + "\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
