"""speechadv plot"""
from pathlib import Path

import click

from .common import Voice, json_option, quiet_option

KINDS = ("spectrograms", "masking", "security", "success", "matrix", "queries", "minimum", "certified", "roc", "leaderboard", "training")
FORMATS = ("png", "svg", "pdf")


@click.command("plot", epilog="Example: speechadv plot security runs/table --over eps --format pdf --format png")
@click.argument("kind", metavar="KIND", type=click.Choice(KINDS))
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file: .png, .svg or .pdf.  [default: RUN/figures/KIND.png]")
@click.option("--format", "formats", type=click.Choice(FORMATS), multiple=True, help="Instead of --out: RUN/figures/KIND.FORMAT; may be given several times.")
@click.option("--row", type=click.IntRange(1), help="Of spectrograms and masking: the clip's line in rows.jsonl, from 1; default: the first that was fooled.")
@click.option("--over", type=click.Choice(("eps", "snr", "margin", "bitrate")), help="Of security: the x axis; default: the one with most values.")
@click.option("--cell", type=click.IntRange(1), help="Of matrix: the line of table.csv, from 1; default: the one with most successes.")
@json_option
@quiet_option
def command(kind, run, out, formats, row, over, cell, as_json, quiet):
    """Draw one figure from the saved files of RUN.

    \b
    spectrograms  clean, adversarial and their difference, of one clip
    masking       spectrum of a perturbation against the clip's masking threshold
    security      success or robust accuracy over eps, SNR, margin or bitrate, with 95 % intervals
    success       success by defense, oblivious beside adaptive, with 95 % intervals
    matrix        success by word that was said and word that was wanted, of one cell
    queries       success of black-box attacks over the queries spent
    minimum       success of minimum-norm attacks over the SNR that is left (queries and minimum: their points beside the figure, as .csv)
    certified     certified accuracy over the radius (RUN holds certificates.jsonl)
    roc           detectors: clean clips suspected against attacked ones (RUN holds detection.jsonl)
    leaderboard   clean and robust accuracy, best on top (RUN holds leaderboard.csv or table.csv)
    training      loss and validation accuracy of a training run (RUN holds history.jsonl)

    With --json: {"kind", "run", "out" (the first file), "files"}.
    """
    from ..errors import ConfigError, shown
    from ..report import figures, style

    choices = {"row": row, "over": over, "cell": cell}
    for option, value in choices.items():
        if value is not None and option not in figures.TAKES.get(kind, ()):
            raise ConfigError(f"--{option}: '{kind}' has no such choice")
    if out and formats:
        raise ConfigError("expected either --out or --format")
    files = [out] if out else [run / "figures" / f"{kind}.{suffix}" for suffix in dict.fromkeys(formats or FORMATS[:1])]
    for path in files:
        style.check_suffix(path)
    figure, voice = figures.draw(kind, run, **choices), Voice(as_json, quiet)
    for path in files:
        voice.say(shown(style.save(figure, path)))
    if kind in figures.AS_CSV:
        files.append(files[0].with_suffix(".csv"))
        write_csv(figures.points(kind, run), files[-1])
        voice.say(shown(files[-1]))
    if all(path.suffix.lower() != ".pdf" for path in files):
        voice.advise(("for print", ("plot", kind, run, *(word for option, value in choices.items() if value is not None for word in (f"--{option}", value)), "--format", "pdf")))
    voice.document({"kind": kind, "run": str(run), "out": str(files[0]), "files": [str(path) for path in files]})


def write_csv(lines: list[dict], path: Path) -> None:
    """A table with the keys of its lines as the head, all or nothing."""
    import csv
    import io

    from ..audio import write_bytes

    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, lines[0] if lines else (), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_bytes(path, buffer.getvalue().encode("utf-8"))
