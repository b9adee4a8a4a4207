"""A run's rows as one Parquet or CSV file, for other programs. Memory does not grow with the number of rows."""
import csv
import itertools
import json
import secrets
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

from ..audio import ASIDE
from ..errors import ConfigError, DataError, InputError, shown
from ..evaluation import rows as row_files
from ..evaluation.folder import ROWS, read_config
from ..evaluation.hearing import PROBABILITIES
from ..evaluation.quality import MEASURES
from ..evaluation.rows import Row

GROUP = 20_000  # rows of a group of Parquet: what is in memory at a time
TRUTHS, WHOLES = ("adaptive", "reached"), ("seed", "passes", "queries")
NUMBERS = ("linf", "snr_db", "masking_excess_db", "perturbation_gain_db", *MEASURES)


def export_rows(run: str | Path, out: str | Path, form: str) -> int:
    """Write the rows of a run into one file, in their order; it is whole or not there.

    Args:
        run: a folder of `evaluate`, `demo` or `attack`.
        out: the file; replaced where it exists.
        form: "parquet" (needs pyarrow) or "csv".

    Returns:
        The number of rows.

    Raises:
        InputError: no run, or no rows. DataError: a row is broken. ConfigError: pyarrow is not installed.
    """
    run, out = Path(run), Path(out)
    write = FORMS[form]
    if form == "parquet":
        pyarrow_parts()
    read_config(run)
    if not (run / ROWS).is_file():
        raise InputError(f"'{shown(run)}': expected the folder of a run, there is no {ROWS}")
    rows = each_row(run / ROWS)
    first = next(rows, None)
    if first is None:
        raise InputError(f"'{shown(run)}': has no rows yet; go on with `speechadv evaluate`")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.parent / f"{ASIDE}{secrets.token_hex(8)}"
    try:
        count = write(itertools.chain([first], rows), row_files.keys(first), aside)
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
    return count


def each_row(path: Path) -> Iterator[Row]:
    """The rows of a file, one at a time. Raises DataError: a line before the last is broken."""
    torn = None
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if torn:
                raise DataError(f"'{shown(path)}': line {torn} is broken or was changed (its checksum differs); run `speechadv evaluate` again to mend it")
            row = row_files.decode(line.decode("ascii", "replace"))
            if row is None:
                torn = number
            else:
                yield row


def pyarrow_parts() -> tuple[Any, Any]:
    """pyarrow and its Parquet part. Raises ConfigError naming the extra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError("--format parquet: needs pyarrow: pip install 'speechadv[parquet]'") from None
    return pyarrow, pyarrow.parquet


def as_parquet(rows: Iterator[Row], columns: Sequence[str], path: Path) -> int:
    """A group of rows at a time. Probabilities are maps from word to number."""
    arrow, parquet = pyarrow_parts()
    schema = arrow.schema([(name, _type(arrow, name)) for name in columns])
    count = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows, GROUP)):
            lists = {name: [_entries(row[name]) for row in group] if name in PROBABILITIES else [row[name] for row in group] for name in columns}
            writer.write_table(arrow.table(lists, schema), row_group_size=GROUP)
            count += len(group)
    return count


def _type(arrow: Any, name: str) -> Any:
    if name in PROBABILITIES:
        return arrow.map_(arrow.string(), arrow.float64())
    return arrow.bool_() if name in TRUTHS else arrow.int64() if name in WHOLES else arrow.float64() if name in NUMBERS else arrow.string()


def _entries(probabilities: dict[str, float] | None) -> list[tuple[str, float]] | None:
    return None if probabilities is None else list(probabilities.items())


def as_csv(rows: Iterator[Row], columns: Sequence[str], path: Path) -> int:
    """A line a row: null is empty, truth is true or false, probabilities are JSON."""
    count = 0
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_plain(row[name]) for name in columns])
            count += 1
    return count


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (bool, dict)) else value


FORMS: dict[str, Callable[[Iterator[Row], Sequence[str], Path], int]] = {"parquet": as_parquet, "csv": as_csv}
