"""speechadv export-rows"""
from pathlib import Path

import click

from .common import Voice, json_option, quiet_option


@click.command("export-rows", epilog="Example: speechadv export-rows runs/table --out rows.parquet")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True, help="Parquet needs the extra parquet.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Replaced where it exists.")
@json_option
@quiet_option
def command(run, form, out, as_json, quiet):
    """Write the rows of RUN as one Parquet or CSV file, a column a key.

    Memory does not grow with the number of rows. docs/scale.md has the query that makes the table of a run from the file, with DuckDB.
    """
    from ..errors import InputError, shown
    from .common import check_writable

    if out.is_dir():
        raise InputError(f"--out '{shown(out)}': expected a file, got a folder")
    check_writable(out.parent)
    from ..report.export_rows import export_rows

    voice = Voice(as_json, quiet)
    count = export_rows(run, out, form)
    voice.say(f"{shown(out)}: {count:,} rows, {out.stat().st_size / 1e6:.1f} MB")
    voice.document({"file": str(out), "rows": count, "bytes": out.stat().st_size})
