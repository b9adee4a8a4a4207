"""Two sides on the same clips: how much better one is, and whether chance explains it."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Sequence

from ..errors import ConfigError, InputError, shown
from ..registry import closest
from . import rows as row_files
from .aggregate import by_cell, table
from .cells import CELL_KEYS
from .folder import ROWS, read_config
from .metrics import right_before, robust, succeeded
from .rows import Row
from .statistics import mcnemar, paired_bootstrap

MEASURES: dict[str, tuple[Callable[[Row], bool], Callable[[Row], bool]]] = {  # column of the table: what counts, among which clips
    "clean_accuracy": (right_before, lambda row: True),
    "robust_accuracy": (robust, lambda row: True),
    "targeted_success": (succeeded, right_before),
}


@dataclass(frozen=True)
class Paired:
    """Clips that both sides have: `both` good on both, `only_a` and `only_b` on one, `neither` on none."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def clips(self) -> int:
        return self.both + self.only_a + self.only_b + self.neither

    def figures(self) -> dict[str, Any]:
        """Counts, the difference of b's rate less a's with its 95 % interval by the paired bootstrap, and McNemar's exact p; None without clips."""
        low, high = paired_bootstrap(self.only_b, self.only_a, self.both + self.neither) or (None, None)
        return {"clips": self.clips, "a": self.both + self.only_a, "b": self.both + self.only_b, "only_a": self.only_a, "only_b": self.only_b,
                "difference": (self.only_b - self.only_a) / self.clips if self.clips else None, "difference_low": low, "difference_high": high,
                "p": mcnemar(self.only_a, self.only_b)}


def paired(a: Iterable[Row], b: Iterable[Row], good: Callable[[Row], bool], among: Callable[[Row], bool] = lambda row: True) -> Paired:
    """Count clip by clip. Clips that one side lacks, or that are not `among` those of both sides, are left out."""
    of_a, of_b = ({row["clip"]: good(row) for row in rows if among(row)} for rows in (a, b))
    outcomes = [(of_a[clip], of_b[clip]) for clip in of_a.keys() & of_b.keys()]
    return Paired(*(outcomes.count(outcome) for outcome in ((True, True), (True, False), (False, True), (False, False))))


class Side:
    """The cells of one side.

    Args:
        run: folder of an evaluation.
        chosen: "KEY=VALUE" each, with the keys of a cell; a cell must have all of them.

    Raises:
        ConfigError: no KEY=VALUE, an unknown key, or a key twice. InputError: no run, no rows, or no such cell.
    """

    def __init__(self, run: Path, chosen: Sequence[str]):
        self.run, self.chosen = run, _parsed(chosen)
        self.targeted, rows = read_config(run).targeted, row_files.read_finished(run / ROWS)
        self.lines = {tuple(line[key] for key in CELL_KEYS): line for line in table(rows, self.targeted)}
        self.cells = {key: those for key, those in by_cell(rows).items() if all(str(dict(zip(CELL_KEYS, key))[k]) == v for k, v in self.chosen.items())}
        if not self.cells:
            raise InputError(f"'{shown(run)}': no cell has {shown(' '.join(chosen)) or 'rows'}; table.md names those that there are")

    def measured(self, key: tuple, measure: str) -> bool:
        """Whether the cell has this measure: no robust accuracy without an attack that knew the defense."""
        return self.lines[key][measure] is not None


def compare(a: Side, b: Side) -> list[dict[str, Any]]:
    """Every cell of `a` beside the cell of `b` that is the same in all that was not chosen: one dictionary a measure.

    The clean accuracy of a model behind a defense is compared once, not again for each attack and budget. Raises ConfigError: the sides choose different
    keys. InputError: no two cells fit, or they share no clip.
    """
    if a.chosen.keys() != b.chosen.keys():
        raise ConfigError(f"expected the same keys on both sides, got {_said(a.chosen)} and {_said(b.chosen)}")
    if a.run == b.run and a.chosen == b.chosen:
        raise ConfigError("expected two sides that differ: name what they differ in on both, or two runs")
    free = [index for index, name in enumerate(CELL_KEYS) if name not in a.chosen]
    pairs = [(one, other) for one in a.cells for other in b.cells if all(one[index] == other[index] for index in free)]
    found, seen = [], set()
    for one, other in pairs:
        for measure in MEASURES:
            place = (measure, one[:2], other[:2]) if measure == "clean_accuracy" else (measure, one, other)
            if place not in seen and a.measured(one, measure) and b.measured(other, measure):
                seen.add(place)
                cells = {f"{side}_cell": dict(zip(CELL_KEYS, key)) for side, key in (("a", one), ("b", other))}
                found.append({"measure": measure} | cells | paired(a.cells[one], b.cells[other], *MEASURES[measure]).figures())
    if not any(entry["clips"] for entry in found):
        raise InputError(f"'{shown(b.run)}': has no cell on the same clips beside '{shown(a.run)}' that agrees in all but {_said(a.chosen)}")
    return found


def _parsed(chosen: Sequence[str]) -> Mapping[str, str]:
    result: dict[str, str] = {}
    for word in chosen:
        key, sign, value = word.partition("=")
        if key not in CELL_KEYS or not sign:
            raise ConfigError(f"'{shown(word)}': expected KEY=VALUE with a key of {', '.join(CELL_KEYS)}{closest(key, CELL_KEYS)}")
        if key in result:
            raise ConfigError(f"'{shown(word)}': expected each key once a side")
        result[key] = value
    return result


def _said(chosen: Mapping[str, str]) -> str:
    return shown(", ".join(chosen) or "none")
