"""Whether the rows are those that the config asks for."""
from typing import Any, Iterator

from ...data import task as named_task
from ...errors import shown
from ...randomness import derived_seed
from ..cells import cells
from ..folder import ROWS
from ..rows import Row
from ..settings import EvaluationConfig
from .counts import KEYS
from .verdict import Verdict


class Grid:
    """Whether the rows are those that the config asks for."""

    def __init__(self, config: EvaluationConfig, about: dict[str, Any], verdict: Verdict):
        self.config, self.about, self.verdict = config, about, verdict
        self.cells = {cell.key: cell for cell in cells(config)}
        self.of_attack = "command" in about

    def check(self, numbered: list[tuple[int, Row]]) -> None:
        first: dict[str, tuple[int, Row]] = {}
        for number, row in numbered:
            before, other = first.setdefault(row["clip"], (number, row))
            for problem in (*self._row(row), *_disagreements(row, other, before)):
                self.verdict.differs(f"{ROWS}:{number}", problem)
        self._count(len(numbered), len(first))

    def _count(self, rows: int, clips: int) -> None:
        """Whether all clips are in all cells."""
        expected = self.about.get("clips", {}).get("number")
        if not isinstance(expected, int):
            return
        if rows < expected * len(self.cells):
            self.verdict.cannot_judge(f"the run is not finished: {rows} of {expected * len(self.cells)} rows are there")
        elif clips != expected:
            self.verdict.differs(ROWS, f"{clips} clips, the run was begun with {expected}")

    def _row(self, row: Row) -> Iterator[str]:
        cell = self.cells.get(tuple(row[key] for key in KEYS))
        if cell is None:
            yield f"the config has no cell {shown(', '.join(str(row[key]) for key in KEYS))}"
        elif row["adaptive"] != cell.adaptive:
            yield f"adaptive: the config says {cell.adaptive}, the row {row['adaptive']}"
        wanted = self._target(row)
        if row["target"] != wanted:
            yield f"target: the config says {shown(wanted)}, the row {shown(row['target'])}"

    def _target(self, row: Row) -> str | None:
        if not self.config.targeted:
            return None
        if self.of_attack:
            return self.about["command"].get("target")
        others = [label for label in named_task(self.config.task).labels if label != row["label"]]
        return others[derived_seed(row["seed"], "target", row["clip"]) % len(others)]


def _disagreements(row: Row, other: Row, number: int) -> Iterator[str]:
    """What two rows of one clip cannot disagree about."""
    for key in ("label", "clean_audio"):
        if row[key] != other[key] and None not in (row[key], other[key]):
            yield f"{key}: '{shown(row[key])}', line {number} of the same clip says '{shown(other[key])}'"
