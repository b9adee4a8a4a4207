"""The rows of a run by cell, read from its file when a cell is asked for: what stays in memory is where each row stands."""
from array import array
from pathlib import Path
from typing import Iterator, Mapping

from . import rows as row_files
from .aggregate import grouped, worst_rows
from .quality import gaps
from .rows import Row


class Stored(Mapping[tuple, list[Row]]):
    """What `aggregate.by_cell` gives of the same rows, with one line of the table in memory at a time.

    Args:
        path: of the rows; a torn last line is left out.

    Attributes:
        rows: how many there are, each key once.
        gaps: as of `quality.gaps`.
        adaptive: of the first row of each cell.

    Raises:
        DataError: another line is broken.
    """

    def __init__(self, path: Path):
        self.path, self.rows, self.gaps, self.adaptive = path, 0, {}, {}
        self._offsets: dict[tuple, array] = {}
        self._index()
        self._lines = grouped(self._offsets)

    def _index(self) -> None:
        clips: dict[str, int] = {}
        seen: dict[tuple, bytearray] = {}  # by cell: which clips have a row
        for offset, row in row_files.each_finished(self.path):
            cell, clip = row_files.cell_key(row), clips.setdefault(row["clip"], len(clips))
            there = seen.setdefault(cell, bytearray())
            there.extend(bytes(max(0, clip + 1 - len(there))))
            if there[clip]:
                continue
            there[clip] = 1
            self._offsets.setdefault(cell, array("Q")).append(offset)
            self.adaptive.setdefault(cell, row["adaptive"])
            self.rows += 1
            for why, count in gaps([row]).items():
                self.gaps[why] = self.gaps.get(why, 0) + count

    def __getitem__(self, key: tuple) -> list[Row]:
        cells = [list(row_files.at(self.path, self._offsets[cell])) for cell in self._lines[key]]
        return cells[0] if key in self._offsets else worst_rows(cells)

    def __iter__(self) -> Iterator[tuple]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)
