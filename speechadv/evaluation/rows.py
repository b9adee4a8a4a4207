"""Rows: one clip in one cell a line of rows.jsonl, each with a checksum, so that a torn line is never taken for a whole one."""
import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO, Iterable, Iterator, Sequence

from ..audio import write_pieces
from ..errors import DataError, SpeechAdvError, shown
from . import hearing, quality, shapes
from .cells import CELL_KEYS

ROW_KEYS = (
    "model", "defense", "attack", "threat", "adaptive", "budget", "seed", "clip", "label", "target", "clean_prediction", "adversarial_prediction",
    "linf", "snr_db", "masking_excess_db", "passes", "queries", "clean_audio", "adversarial_audio", "perturbation_audio", "defended_audio",
    "perturbation_gain_db", "reached",
)
AUDIO_KEYS = tuple(key for key in ROW_KEYS if key.endswith("_audio"))
CHECK = "check"  # after the probabilities and the measures of the config's `quality`, with the reasons for those that are null
BROKEN = "line {} is broken or was changed (its checksum differs); run `speechadv evaluate` again to mend it"
Row = dict[str, Any]


def encode(row: Row) -> str:
    """A row as a line: the keys in their order, then the checksum."""
    return sealed({key: row[key] for key in keys(row)})


def sealed(row: Row) -> str:
    """Anything that JSON can hold as a line that ends in its checksum."""
    content = json.dumps(row, allow_nan=False)
    return f'{content[:-1]}, "{CHECK}": "{_sum(content)}"}}\n'


def decode(line: str) -> Row | None:
    """The row of a line without its checksum; None where the line is torn or changed."""
    row = unsealed(line)
    try:
        return row if row is not None and tuple(row) == keys(row) and _fits(row) else None
    except (KeyError, TypeError, AttributeError):
        return None


def _fits(row: Row) -> bool:
    """Whether each value is of its kind: a forger can make checksums."""
    extra = {**dict.fromkeys(hearing.PROBABILITIES, shapes.PROBABILITIES), **dict.fromkeys(quality.MEASURES, shapes.MEASURE), quality.GAPS: shapes.GAPS}
    return shapes.fits(row, shapes.ROW) and shapes.fits_where_there(row, extra)


def unsealed(line: str) -> Row | None:
    """What `sealed` made a line of; None where the line is torn or changed."""
    try:
        row = json.loads(line)
        check = row.pop(CHECK)
        whole = line.endswith("\n") and check == _sum(json.dumps(row, allow_nan=False))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return row if whole else None


def keys(row: Row) -> tuple[str, ...]:
    """The keys of a row in the order of its line: `ROW_KEYS`, probabilities, then the measures of quality that it has and why some are null."""
    return (*ROW_KEYS, *hearing.part_of(row), *quality.part_of(row))


def _sum(content: str) -> str:
    return hashlib.blake2b(content.encode("ascii"), digest_size=6).hexdigest()


def cell_key(row: Row) -> tuple:
    """(model, defense, attack, threat, budget, seed)"""
    return tuple([row[k] for k in CELL_KEYS])


def key(row: Row) -> tuple:
    """(model, defense, attack, threat, budget, seed, clip): what a row is found by."""
    return (*cell_key(row), row["clip"])


def each(path: Path) -> Iterator[tuple[int, Row | None]]:
    """(offset of its line, row) one after the other, None for a line that is torn or changed. A missing file has none. Raises DataError where it cannot be read."""
    try:
        if path.exists():
            with open(path, "rb") as file:
                offset = 0
                for line in file:
                    yield offset, decode(line.decode("ascii", "replace"))
                    offset += len(line)
    except OSError as problem:
        raise DataError(f"'{shown(path)}': {problem.strerror}") from None


def each_finished(path: Path) -> Iterator[tuple[int, Row]]:
    """The same for a report: a torn last line is left out, any other broken one is an error. Raises DataError."""
    torn = None
    for number, (offset, row) in enumerate(each(path), 1):
        if torn:
            raise DataError(f"'{shown(path)}': {BROKEN.format(torn)}")
        if row is None:
            torn = number
        else:
            yield offset, row


def at(path: Path, offsets: Iterable[int]) -> Iterator[Row]:
    """The rows of lines that `each` has found whole, in the order of their offsets here."""
    with open(path, "rb") as file:
        for offset in offsets:
            yield row_at(file, offset)


def row_at(file: BinaryIO, offset: int) -> Row:
    """One of them."""
    file.seek(offset)
    row = json.loads(file.readline())
    del row[CHECK]
    return row


def read(path: Path) -> tuple[list[Row], list[int]]:
    """The whole rows of a file, the first of each key, and the numbers (from 1) of lines that are torn or changed.

    A missing file has none. Raises DataError where it cannot be read.
    """
    try:
        # Binary lines: text mode would also split at other line ends and refuse foreign bytes.
        lines = [line.decode("ascii", "replace") for line in path.read_bytes().splitlines(keepends=True)] if path.exists() else []
    except OSError as problem:
        raise DataError(f"'{shown(path)}': {problem.strerror}") from None
    found: dict[tuple, Row] = {}
    broken = []
    for number, line in enumerate(lines, 1):
        row = decode(line)
        if row is None:
            broken.append(number)
        else:
            found.setdefault(key(row), row)
    return list(found.values()), broken


def read_finished(path: Path) -> list[Row]:
    """The rows of a run for a report: a torn last line is left out, any other broken one is an error. Raises DataError."""
    rows, broken = read(path)
    if broken and (len(broken) > 1 or broken[0] != len(path.read_bytes().splitlines())):
        raise DataError(f"'{shown(path)}': {BROKEN.format(broken[0])}")
    return rows


def rewrite(path: Path, rows: Iterable[Row]) -> None:
    """All rows of a file at once, all or nothing."""
    write_pieces(path, (encode(row).encode("ascii") for row in rows))


def append(path: Path, rows: Sequence[Row]) -> None:
    """Further rows, flushed to the disk. Raises SpeechAdvError where that fails; no part of a row stays then."""
    append_lines(path, "".join(map(encode, rows)))


def append_lines(path: Path, lines: str, flushed: bool = True) -> None:
    """Whole lines at the end of a file, flushed to the disk unless that is not asked for, or none of them. Raises SpeechAdvError where that fails."""
    try:
        with open(path, "ab", buffering=0) as file:
            before, content = file.tell(), memoryview(lines.encode("ascii"))
            try:
                while content:  # a disk that becomes full takes a part
                    content = content[file.write(content) :]
                if flushed:
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise
    except OSError as problem:
        raise SpeechAdvError(f"cannot write '{shown(path)}': {problem.strerror or problem}; what is finished is kept") from None
