"""Rows of a measurement: printed, and kept as CSV."""
import csv
from pathlib import Path

import click


def keep(rows: list[dict], out: Path) -> None:
    """Print the rows and write them to `out`, with their keys as the header; the folder is made."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        click.echo(", ".join(f"{key} {value}" for key, value in row.items()))
