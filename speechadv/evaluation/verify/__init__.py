"""A run judged anew: every distance and verdict from its sound, config and weights, every number of its tables from its rows."""
from pathlib import Path
from typing import Any, Callable, Iterator

from ...errors import InputError, shown
from .. import certificates, detection_rows
from ..certification import CERTIFICATES
from ..folder import CONFIG, ROWS, read_config, read_environment
from ..rows import CHECK, Row, decode
from ..run import Bar, no_bar
from .certified import check_certificates
from .counts import KEYS
from .damage import check_damage
from .detection import check_detection
from .grid import Grid
from .scorer import Scorer
from .tables import check_tables
from .verdict import Verdict

OTHERS = ((detection_rows.ROWS, detection_rows.decode, detection_rows.key, check_detection),  # runs that are no grid of `evaluate`
          (CERTIFICATES, certificates.decode, lambda line: line["clip"], check_certificates))


def verify(run: str | Path, *, device: str = "cpu", trust: bool = False, bar: Bar = no_bar) -> Verdict:
    """Judge a run of `evaluate`, `demo` or `attack` anew, or one of `certify` or of detectors, whose clean clips are taken from the data that their configs name.

    Args:
        run: its folder; nothing in it is changed.
        device: torch device.
        trust: load models that are programs.
        bar: makes a progress bar from (total, label).

    Raises:
        InputError: the folder is no run. SpeechAdvError: a model, or the clips of a run that does not hold them, cannot be loaded.
    """
    run, verdict = Path(run), Verdict()
    for name, decoded, key_of, check in OTHERS:
        if (run / name).is_file():
            numbered = list(_whole_rows(run / name, verdict, decoded, key_of))
            verdict.rows = len(numbered)
            check(run, numbered, verdict, device, trust, bar)
            return verdict
    config = read_config(run)
    if not (run / ROWS).is_file():
        raise InputError(f"'{shown(run)}': expected the folder of a run (with {CONFIG} and {ROWS}), there is no {ROWS}")
    numbered = list(_whole_rows(run / ROWS, verdict, decode, lambda row: (*(row[k] for k in KEYS), row["clip"])))
    verdict.rows = len(numbered)
    about = read_environment(run)
    Grid(config, about, verdict).check(numbered)
    scorer = Scorer(run, config, about, verdict, device, trust)
    scorer.check(numbered, bar)
    check_tables(run, config, [row for _, row in numbered], verdict)
    check_damage(run, config, verdict, scorer)
    return verdict


def _whole_rows(path: Path, verdict: Verdict, decoded: Callable[[str], Row | None], key_of: Callable[[Row], Any]) -> Iterator[tuple[int, Row]]:
    """Line numbers and rows of the file; what is broken, changed or there twice becomes a difference."""
    seen: dict[Any, int] = {}
    for number, content in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        row = decoded(content.decode("ascii", "replace"))
        if row is None:
            verdict.differences.append(f"{path.name}:{number}: broken, or changed: its checksum '{CHECK}' is another, or a value is of another kind")
            continue
        key = key_of(row)
        if key in seen:
            verdict.differences.append(f"{path.name}:{number}: the same cell and clip as line {seen[key]}")
            continue
        seen[key] = number
        yield number, row
