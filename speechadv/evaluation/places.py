"""Which rows of a run there are, in little memory: a place a row instead of its key, eight bytes a file name."""
from array import array
from dataclasses import dataclass
from functools import cached_property
from typing import Sequence

import numpy as np

from .cells import Cell
from .rows import Row, cell_key


@dataclass
class Places:
    """The places of a run's rows, (cell, clip): the order of the finished rows.jsonl.

    Args:
        grid: the cells.
        names: of the clips.
    """

    grid: Sequence[Cell]
    names: Sequence[str]

    @cached_property
    def cells(self) -> dict[tuple, int]:
        """The place of each cell, by its key."""
        return {cell.key: place for place, cell in enumerate(self.grid)}

    @cached_property
    def clips(self) -> dict[str, int]:
        """The place of each clip."""
        return {name: place for place, name in enumerate(self.names)}

    def of(self, row: Row) -> tuple[int, int] | None:
        """Where a row belongs; None for one that is not the run's."""
        cell, clip = self.cells.get(cell_key(row)), self.clips.get(row["clip"])
        return None if cell is None or clip is None else (cell, clip)

    def filled(self, value: int | bool) -> np.ndarray:
        """(cells, clips): this value for each row."""
        return np.full((len(self.grid), len(self.names)), value)

    def __len__(self) -> int:
        return len(self.grid) * len(self.names)


class Names:
    """Words of which is only asked whether one is among them; of two million words another is taken for one of them once in a million million times."""

    def __init__(self) -> None:
        self._hashes, self._sorted = array("q"), np.empty(0, np.int64)

    def add(self, word: str) -> None:
        """One more."""
        self._hashes.append(hash(word))

    def __contains__(self, word: str) -> bool:
        if len(self._hashes):
            self._sorted, self._hashes = np.union1d(self._sorted, np.frombuffer(self._hashes, np.int64)), array("q")
        wanted = hash(word)
        place = int(np.searchsorted(self._sorted, wanted))
        return place < len(self._sorted) and int(self._sorted[place]) == wanted
