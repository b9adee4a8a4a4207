"""Rows that nobody worked for, to see what they cost the process that writes them; `python -m benchmarks.empty ROWS` says it of one run as JSON.

Everything but the attack and the scoring is that of `evaluate`: its plan, its items, the checks of each row, the writing, the order, the tables.
"""
import contextlib
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator
from unittest import mock

import click
import numpy as np

from speechadv.evaluation import run
from speechadv.evaluation.blocks import Block, Doing, Done
from speechadv.evaluation.clips import ClipSet, load_clips
from speechadv.evaluation.rows import ROW_KEYS
from speechadv.evaluation.settings import EvaluationConfig
from speechadv.evaluation.work import Worker

CLIPS = 1000  # of the made-up data, so that a million rows are a thousand cells; the leaderboard of docs/scale.md has 725 of 4,890
BLOCK = 32  # clips, as without a batch size in the config
KEPT = {"clean_probabilities": {"yes": 0.962, "no": 0.031, "up": 0.004}, "adversarial_probabilities": {"no": 0.871, "yes": 0.102, "go": 0.02},
        "segmental_snr_db": 21.70351, "log_spectral_distance_db": 8.93171, "quality_gaps": None}  # beside ROW_KEYS, as in any run


class Idle:
    """An engine that gives rows at once.

    Attributes:
        made: seconds that it took to make them up.
        rows: how many there are.
        first, last: peak memory of this process in MB, before the first row and after the last one.
    """

    def __init__(self) -> None:
        self.made, self.rows, self.first, self.last = 0.0, 0, 0.0, 0.0

    def ready(self) -> None:
        """Nothing can be missing."""

    def run(self, items: Iterable[Block], worker: Doing) -> Iterator[Done]:
        """The rows of each item."""
        self.first = peak()
        for item in items:
            started = time.perf_counter()
            rows = made_up(item)
            self.made += time.perf_counter() - started
            self.rows += len(rows)
            yield Done(item, rows)
        self.last = peak()

    def status(self) -> str:
        """Nothing."""
        return ""


class Empty(Worker):
    """Gives rows at once, on any engine."""

    def do(self, item: Block) -> Done:
        """The rows of an item."""
        return Done(item, made_up(item))


def made_up(item: Any) -> list[dict[str, Any]]:
    """The rows of an item with one cell, without sound."""
    (cell,) = item.cells
    same = dict.fromkeys(ROW_KEYS) | KEPT | {
        "model": cell.model, "defense": cell.defense, "attack": cell.attack, "threat": cell.threat, "adaptive": cell.adaptive, "budget": cell.budget,
        "seed": cell.seed, "clean_prediction": "yes", "adversarial_prediction": "no", "passes": 0, "queries": 10, "reached": False}
    return [same | {"clip": name, "label": label, "linf": 0.002 - 1e-9 * place, "snr_db": 30.0 + 1e-6 * place, "masking_excess_db": 1.0 + 1e-6 * place}
            for name, label, place in zip(item.names, item.labels, item.places)]


@contextlib.contextmanager
def many_clips(number: int = CLIPS, page: bool = False) -> Iterator[None]:
    """Let `evaluate` find so many clips: the bundled ones over and over, by other names; and write no page, unless it is asked for."""
    def found(config: EvaluationConfig, rate: int, notice: Callable[[str], None]) -> ClipSet:
        few = load_clips(config, rate, notice)
        part = few.part([place % len(few) for place in range(number)])
        return ClipSet([f"{label}/{place:06d}_nohash_0.wav" for place, label in enumerate(part.labels)], part.labels, np.ascontiguousarray(part.pcm), rate,
                       few.source, few.labels_of_task)

    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(run, "load_clips", found))
        if not page:
            patches.enter_context(mock.patch("speechadv.report.page.write_page"))
        yield


def config_of(rows: int, block: int = BLOCK) -> EvaluationConfig:
    """A run of so many rows, of one attack with as many seeds as it takes."""
    return EvaluationConfig(attacks=["noise"], budgets=["linf:0.002"], data=["bundled"], seeds=list(range(max(1, rows // CLIPS))), batch_size=block, audio="sample:1")


def peak() -> float:
    """The most memory that this process has had, MB. Linux: what `getrusage` says may be that of the process that began it."""
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text("ascii"))[1]) / 1024


@click.command()
@click.argument("rows", type=click.IntRange(1))
@click.option("--page", is_flag=True, help="Write the page too.")
def main(rows, page):
    """One run of ROWS empty rows in a temporary folder."""
    engine = Idle()
    with tempfile.TemporaryDirectory() as folder, many_clips(min(rows, CLIPS), page):
        started = time.perf_counter()
        result = run.evaluate(config_of(rows), Path(folder) / "run", engine=engine, notice=lambda line: click.echo(line, err=True))
        whole = time.perf_counter() - started - engine.made
    if not result["finished"] or result["rows"] != engine.rows:
        raise click.ClickException(f"{result['rows']} of {engine.rows} rows are in the tables")
    click.echo(json.dumps({"rows": engine.rows, "peak_before_mb": round(engine.first, 1), "peak_of_rows_mb": round(engine.last, 1), "peak_mb": round(peak(), 1),
                           "seconds": round(whole, 1), "rows_a_second": round(engine.rows / whole)}))


if __name__ == "__main__":
    main()
