"""A run judged anew: every distance and verdict from its sound, config and weights, every number of its tables from its rows."""
from pathlib import Path
from typing import Iterator

from ...errors import InputError, shown
from ..folder import CONFIG, ROWS, read_config, read_environment
from ..rows import CHECK, Row, decode
from ..run import Bar, no_bar
from .counts import KEYS
from .damage import check_damage
from .grid import Grid
from .scorer import Scorer
from .tables import check_tables
from .verdict import Verdict


def verify(run: str | Path, *, device: str = "cpu", trust: bool = False, bar: Bar = no_bar) -> Verdict:
    """Judge a run of `evaluate`, `demo` or `attack` anew.

    Args:
        run: its folder; nothing in it is changed.
        device: torch device.
        trust: load models that are programs.
        bar: makes a progress bar from (total, label).

    Raises:
        InputError: the folder is no run. SpeechAdvError: a model cannot be loaded.
    """
    run = Path(run)
    config = read_config(run)
    if not (run / ROWS).is_file():
        raise InputError(f"'{shown(run)}': expected the folder of a run (with {CONFIG} and {ROWS}), there is no {ROWS}")
    verdict = Verdict()
    numbered = list(_whole_rows(run / ROWS, verdict))
    verdict.rows = len(numbered)
    about = read_environment(run)
    Grid(config, about, verdict).check(numbered)
    scorer = Scorer(run, config, about, verdict, device, trust)
    scorer.check(numbered, bar)
    check_tables(run, config, [row for _, row in numbered], verdict)
    check_damage(run, config, verdict, scorer)
    return verdict


def _whole_rows(path: Path, verdict: Verdict) -> Iterator[tuple[int, Row]]:
    """Line numbers and rows of the file; what is broken, changed or there twice becomes a difference."""
    seen: dict[tuple, int] = {}
    for number, content in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        row = decode(content.decode("ascii", "replace"))
        if row is None:
            verdict.differences.append(f"{ROWS}:{number}: broken, or changed: its checksum '{CHECK}' is another, or a value is of another kind")
            continue
        key = (*(row[k] for k in KEYS), row["clip"])
        if key in seen:
            verdict.differences.append(f"{ROWS}:{number}: the same cell and clip as line {seen[key]}")
            continue
        seen[key] = number
        yield number, row
