"""Coverage of lines and branches after `pytest --cov`: `python -m benchmarks.coverage_report`. Exit status 1 below the aims."""
import json
import sys
import tempfile
from pathlib import Path

import click


@click.command()
@click.option("--total", default=90.0, show_default=True, help="Percent of all lines and branches together that tests must run.")
@click.option("--module", default=80.0, show_default=True, help="The same of each module.")
def main(total, module):
    """Name the modules below the aim, with the lines that no test runs, then the whole."""
    import coverage

    data = coverage.Coverage()
    data.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        whole = data.json_report(outfile=str(report))
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    low = {name: entry for name, entry in files.items() if entry["summary"]["percent_covered"] < module}
    for name, entry in sorted(low.items(), key=lambda item: item[1]["summary"]["percent_covered"]):
        click.echo(f"{name}: {entry['summary']['percent_covered']:.1f} %, without lines {spans(entry['missing_lines'])}")
    click.echo(f"{len(files)} modules, {len(low)} below {module:g} %; lines and branches together {whole:.1f} %")
    sys.exit(bool(low) or whole < total)


def spans(lines: list[int]) -> str:
    """"3-5, 9": the numbers with runs joined."""
    found: list[list[int]] = []
    for line in lines:
        if found and line == found[-1][1] + 1:
            found[-1][1] = line
        else:
            found.append([line, line])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in found) or "none (branches alone)"


if __name__ == "__main__":
    main()
