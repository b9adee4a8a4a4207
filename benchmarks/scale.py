"""What a cluster costs and gains here, and how many rows the process that writes takes, in how much memory: `python -m benchmarks --only scale`.

Writes results/scale.csv (a line a figure), scale.json (every round, with machine and load) and scale.md. Needs two cores, the extra `ray` and about 25 minutes,
a third of them for a million rows; `python -m benchmarks.scale --part speed` measures a part again.
"""
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Callable, Iterator, Sequence
from unittest import mock

import click

from speechadv.evaluation import run
from speechadv.evaluation.cluster import OnRay
from speechadv.evaluation.engine import Engine, Local
from speechadv.evaluation.settings import EvaluationConfig

from . import empty
from .cluster_demo import Nodes
from .rows import keep

SIZES = (1_000, 10_000, 100_000, 1_000_000)  # rows, of the memory
WITH_PAGE = 100_000
MOST_ROUNDS = 3  # of about five minutes
BUSY = 2.0  # waiting threads a core, before the rounds begin
FLAT = 1.1  # times the memory of a thousand rows
PARTS = ("memory", "writing", "speed")
AIMS = {"overhead": 1.05, "speedup": 1.8, "rows_a_second": 2000}


def measure(quick: bool, rounds: int, out: Path, machine: dict, parts: Sequence[str] = PARTS) -> None:
    """Measure these parts, take the others from OUT/scale.json, and write all files. `quick`: a rehearsal whose figures mean nothing; `machine`: what is told of it."""
    path = out / "scale.json"
    found = json.loads(path.read_text("utf-8")) if path.is_file() and set(parts) < set(PARTS) else {}
    if "memory" in parts:
        found["memory"] = [of_process(rows) for rows in (SIZES[:2] if quick else SIZES)] + [of_process(SIZES[0] if quick else WITH_PAGE, "--page")]
    if "writing" in parts:
        found["writing"] = taken(quick)
    if "speed" in parts:
        load = os.getloadavg()[0]
        found["speed"] = speeds(quick, 1 if quick else min(rounds, MOST_ROUNDS))
        found["machine"] = machine | {"load": round(load, 2), "load_after": round(os.getloadavg()[0], 2), "niceness": os.nice(0)}
    found["figures"] = figures(found["speed"], found["writing"], found["memory"], busy(found["machine"]))
    keep(found["figures"], out / "scale.csv")
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "scale.md").write_text(page(found), encoding="utf-8")


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS, show_default=True, help="What is measured again; the others stay as they are.")
@click.option("--rounds", default=MOST_ROUNDS, show_default=True, type=click.IntRange(1, MOST_ROUNDS))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), show_default=True)
def main(parts, rounds, out):
    """Measure some of it again."""
    from .__main__ import machine

    measure(False, rounds, out, machine(), parts)


class Clocked:
    """An engine with clocks.

    Attributes:
        rows: that came.
        seconds: of the wall, from the first block that is asked for to the last row that is written.
        busy, all_busy: processor seconds meanwhile, of this process and of all that it has begun.
    """

    def __init__(self, engine: Engine):
        self.engine, self.seconds, self.rows, self.busy, self.all_busy = engine, 0.0, 0, 0.0, 0.0
        self.ready, self.status = engine.ready, engine.status

    def run(self, items, worker):
        """What the engine does."""
        started, busy = time.perf_counter(), time.process_time()
        with contextlib.closing(self.engine.run(items, worker)) as outcomes, Processors() as processors:
            for done in outcomes:
                yield done
                self.rows += len(done.rows)
        self.seconds, self.busy, self.all_busy = time.perf_counter() - started, time.process_time() - busy, processors.seconds


class Processors(threading.Thread):
    """Counts the processor seconds of this process and of all that it has begun, twice a second: some end meanwhile. Linux."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._before, self._last, self._over = running(), {}, threading.Event()

    def __enter__(self) -> "Processors":
        self.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        self.join()
        self._last |= running()

    def run(self) -> None:
        """The thread."""
        while not self._over.wait(0.5):
            self._last |= running()

    @property
    def seconds(self) -> float:
        """All of them since it began."""
        return sum(value - self._before.get(key, 0.0) for key, value in self._last.items())


def running() -> dict[tuple[int, int], float]:
    """Processor seconds of this process and of those that it has begun, and they again, by number and time of their start."""
    found, mine = {}, {os.getpid()}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            words = path.read_text("utf-8", "replace").rpartition(")")[2].split()
            found[int(path.parent.name)] = int(words[1]), int(words[19]), (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    while more := {number for number, (parent, _, _) in found.items() if parent in mine} - mine:
        mine |= more
    return {(number, found[number][1]): found[number][2] for number in mine if number in found}


def work(quick: bool) -> EvaluationConfig:
    """An evaluation of about two minutes of one core, all of its sound kept: what has to travel is as large as it gets."""
    return EvaluationConfig(attacks=[{"name": "pgd", "steps": 40, "full": True}], budgets=["linf:0.001", "linf:0.002"], models=["resnet"], defenses=["none"],
                            threats=["adaptive"], data=["bundled"], clips=4 if quick else 60, seeds=list(range(1 if quick else 14)), batch_size=5)


def speeds(quick: bool, rounds: int) -> list[dict[str, float]]:
    """Wall and processor seconds of an evaluation, in turn: two processes here, one node, two nodes. The cluster is there before, its workers are not."""
    found = []
    for _ in range(rounds):
        clocks, starts = {"two_processes": timed(work(quick), Local(2, 1))}, {}
        for number, name in ((1, "one_node"), (2, "two_nodes")):
            started = time.perf_counter()
            with nodes(number) as engine:
                starts[f"start_of_{name}"] = round(time.perf_counter() - started, 2)
                clocks[name] = timed(work(quick), engine)
        found.append({name: round(clock.seconds, 2) for name, clock in clocks.items()} | {f"{name}_busy": round(clock.all_busy, 2) for name, clock in clocks.items()}
                     | starts)
        click.echo(json.dumps(found[-1]), err=True)
    return found


@contextlib.contextmanager
def nodes(number: int) -> Iterator[OnRay]:
    """The engine on a cluster of so many nodes of a core each."""
    with Nodes() as those:
        for _ in range(number):
            those.add()
        those.wait_for(number)
        yield OnRay(those.address)


def timed(config: EvaluationConfig, engine: Engine) -> Clocked:
    """The engine's clocks after an evaluation: tables and page are the same for all and not in them."""
    clock = Clocked(engine)
    with tempfile.TemporaryDirectory() as folder, mock.patch("speechadv.report.page.write_page"):
        result = run.evaluate(config, Path(folder) / "run", engine=clock)
    if not result["finished"]:
        raise click.ClickException("a run did not come to its end")
    return clock


def taken(quick: bool) -> list[dict[str, float]]:
    """Rows that nobody worked for, from two nodes: in tasks as large as they get, and in tasks of one row; what each row and each task costs."""
    found = []
    with nodes(2) as engine:
        for clips, rows in ((512, 4_000 if quick else 60_000), (1, 1_000 if quick else 4_000)):
            # The first task finds out how fast it is, and processes begin: so a run before the one that counts.
            for name, number in (("warm", 1000), ("counted", rows)):
                clock = Clocked(engine)
                with tempfile.TemporaryDirectory() as folder, empty.many_clips(), mock.patch("speechadv.evaluation.tasks.MOST_CLIPS", clips), \
                        mock.patch.object(run, "Worker", empty.Empty):
                    run.evaluate(empty.config_of(number, min(clips, empty.BLOCK)), Path(folder) / "run", engine=clock)
            found.append({"clips_a_task": clips, "rows": clock.rows, "seconds": round(clock.seconds, 3), "rows_a_second": round(clock.rows / clock.seconds),
                          "driver_cpu_seconds": round(clock.busy, 3)})
            click.echo(json.dumps(found[-1]), err=True)
    return found


def of_process(rows: int, *options: str) -> dict[str, float]:
    """What `python -m benchmarks.empty ROWS` says, a process of its own."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.empty", str(rows), *options], check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout) | {"page": "--page" in options}
    click.echo(json.dumps(found), err=True)
    return found


def busy(machine: dict) -> bool:
    """Whether the machine had so much else to do that times of the wall say nothing."""
    return machine["load"] > BUSY * machine["cores"]


def figures(speed: list[dict], writing: list[dict], memory: list[dict], shared: bool = False) -> list[dict]:
    """A line a figure, with what it should be. `shared`: by a busy machine, on which times of the wall are not judged."""
    def ratio(name: str, above: str, below: str, good: Callable[[float], bool], aim: str) -> dict:
        values = [one[above] / one[below] for one in speed]
        middle = statistics.median(values)
        line = figure(name, round(middle, 3), f"{min(values):.3f} to {max(values):.3f}, rounds: {len(values)}", aim, good(middle))
        return line | ({"reached": "not judged: the machine was busy"} if shared and not above.endswith("_busy") else {})

    large, small = writing
    row, task = costs(writing)
    without = [one for one in memory if not one["page"]]
    growth = without[-1]["peak_mb"] - without[0]["peak_mb"]
    return [
        ratio("Ray over local, two workers each", "two_nodes", "two_processes", lambda x: x <= AIMS["overhead"], f"at most {AIMS['overhead']}"),
        ratio("the same in processor seconds", "two_nodes_busy", "two_processes_busy", lambda x: x <= AIMS["overhead"], f"at most {AIMS['overhead']}"),
        ratio("one node over two nodes", "one_node", "two_nodes", lambda x: x >= AIMS["speedup"], f"at least {AIMS['speedup']}"),
        figure("seconds until a cluster of two nodes is there", statistics.median(one["start_of_two_nodes"] for one in speed), "", "", True),
        figure("rows a second from Ray that the driver takes", large["rows_a_second"], f"{large['rows']} rows, tasks of up to {large['clips_a_task']}",
               f"at least {AIMS['rows_a_second']}", large["rows_a_second"] >= AIMS["rows_a_second"]),
        figure("tasks of one row a second", small["rows_a_second"], f"{small['rows']} rows", "", True),
        figure("milliseconds of the driver a row", round(1000 * row, 4), "", "", True),
        figure("milliseconds of the driver a task", round(1000 * task, 4), "", "", True),
        figure(f"peak memory of {without[-1]['rows']} rows over that of {without[0]['rows']}", round(without[-1]["peak_mb"] / without[0]["peak_mb"], 3),
               f"{without[0]['peak_mb']} MB and {without[-1]['peak_mb']} MB", f"at most {FLAT}", without[-1]["peak_mb"] <= FLAT * without[0]["peak_mb"]),
        figure("bytes a row while rows come", round(1e6 * (without[-1]["peak_of_rows_mb"] - without[0]["peak_of_rows_mb"]) / without[-1]["rows"], 1), "", "", True),
        figure("bytes a row in all", round(1e6 * growth / without[-1]["rows"], 1), "", "", True)]


def figure(name: str, value: float, more: str, aim: str, reached: bool) -> dict:
    """A line of scale.csv."""
    return {"what": name, "value": value, "more": more, "aim": aim, "reached": "" if not aim else "yes" if reached else "no"}


def costs(writing: list[dict]) -> tuple[float, float]:
    """Seconds of the driver for a row and for a task.

    A row: wall time where tasks are large, waiting for the disk included. A task: the processor time that one row a task takes more; the wall time of so
    small tasks is that of their way there and back, during which a driver with more workers does something else.
    """
    large, small = writing
    return large["seconds"] / large["rows"], small["driver_cpu_seconds"] / small["rows"] - large["driver_cpu_seconds"] / large["rows"]


def page(found: dict) -> str:
    """scale.md"""
    about = found["machine"]
    lines = ["# What a cluster costs and gains", "",
             f"`python -m benchmarks --only scale` on {about['processor']}, {about['cores']} cores; load before the rounds {about['load']}, after them {about['load_after']}, "
             f"niceness {about['niceness']}.", "", "| what | | | aim | |", "|---|---|---|---|---|"]
    lines += [f"| {one['what']} | {one['value']:,} | {one['more']} | {one['aim']} | {one['reached']} |" for one in found["figures"]]
    lines += ["", "Seconds from the first block of work to the last row, each round in turn: two processes, a node of one core, two nodes of one core; in brackets processor "
              "seconds of all processes together, which other work on the machine hardly touches."
              + (" It had so much of it that times of the wall say nothing." if busy(about) else ""), "",
              "| two processes | one node | two nodes |", "|---|---|---|"]
    names = ("two_processes", "one_node", "two_nodes")
    lines += ["| " + " | ".join(f"{one[name]} ({one[f'{name}_busy']})" for name in names) + " |" for one in found["speed"]]
    lines += ["", "Whole runs of rows that nobody worked for, each in a process of its own: written, brought into order, read again for the tables.", "",
              "| rows | page | peak before the first row, MB | after the last one | in all | seconds | rows a second |", "|---|---|---|---|---|---|---|"]
    lines += [f"| {one['rows']:,} | {'yes' if one['page'] else 'no'} | {one['peak_before_mb']} | {one['peak_of_rows_mb']} | {one['peak_mb']} | {one['seconds']} | "
              f"{one['rows_a_second']:,} |" for one in found["memory"]]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
