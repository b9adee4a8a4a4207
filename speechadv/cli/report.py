"""speechadv report"""
from pathlib import Path

import click

from ..errors import ConfigError, InputError, shown
from .common import Voice, json_option, quiet_option


@click.command("report", epilog="Example: speechadv report runs/table --single-file --clips 200")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--single-file", "single", is_flag=True, help="Also write RUN/single-file.html: the page with figures and sound inside, to hand on as one file.")
@click.option("--clips", type=click.IntRange(0), metavar="N", help="Of the single file: the sound of N clips at most, spread evenly over the run.")
@json_option
@quiet_option
def command(run, single, clips, as_json, quiet):
    """Make the tables and the page of RUN again, from its config, rows and sound alone.

    RUN is a folder of `evaluate`, `demo`, `attack`, `defend` or recipes/detection; it may be unfinished: the tables then say so. The page is
    RUN/index.html. A single file of more than 200 MB is refused: browsers open it too slowly.
    """
    from ..evaluation.detection_rows import ROWS as DETECTION
    from ..evaluation.folder import read_config
    from ..locks import clear_leftovers
    from ..report.figures.certified import FILE as CERTIFICATES
    from ..report.page import open_saved, single_sounds, write_page, write_single_file
    from ..report.saved import DEFENDED

    voice = Voice(as_json, quiet)
    if clips is not None and not single:
        raise ConfigError("--clips: is a choice of --single-file")
    if (run / DETECTION).is_file():
        if single:
            raise ConfigError("--single-file: the page of a run of detectors is one file with one figure")
        voice.document(detection(run, voice))
        return
    if (run / CERTIFICATES).is_file():
        raise InputError(f"'{shown(run)}': holds certificates: `speechadv certify` writes their tables, `speechadv plot certified` draws them")
    defended = (run / DEFENDED).is_file()
    settings = None if defended else read_config(run)
    if single:
        single_sounds(open_saved(run), clips)  # refused before anything is written
    clear_leftovers(run)
    result = {} if defended else tables(run, settings, voice)
    pages = {"page": write_page(run)} | ({"single_file": write_single_file(run, clips)} if single else {})
    for path in pages.values() if defended else list(pages.values())[1:]:  # the tables name the page
        voice.say(f"listen: {shown(path)}")
    voice.document(result | {key: str(path) for key, path in pages.items()})


def tables(run: Path, settings, voice: Voice) -> dict:
    """Write the tables again, show them, and return the content of result.json."""
    from ..report.tables import cells_of_line, heads, write_tables
    from .evaluate import show

    result = write_tables(run)
    show(voice, heads(settings.targeted, result["cells"]), [cells_of_line(line) for line in result["cells"]], result["flags"], run)
    figure = [("a figure", ("plot", "success", run))] if result["cells"] else []  # every clip of `attack` may have been heard as the target before
    voice.advise(*figure, ("judge it anew", ("verify", run)))
    return result


def detection(run: Path, voice: Voice) -> dict:
    """The same for a run of detectors, whose page is written with its tables."""
    from ..evaluation.detection_settings import DetectionConfig
    from ..evaluation.folder import read_config
    from ..report.detection import HEADS, table_of, write_tables

    result = write_tables(run, read_config(run, DetectionConfig).false_alarms)
    voice.table(HEADS, table_of(result["cells"]), 3, str(run / "table.csv"))
    voice.advise(("judge it anew", ("verify", run)))
    return result | {"page": str(run / "index.html")}
