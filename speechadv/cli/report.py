"""speechadv report"""
from pathlib import Path

import click

from .common import Voice, json_option, quiet_option


@click.command("report", epilog="Example: speechadv report runs/table")
@click.argument("run", type=click.Path(path_type=Path))
@json_option
@quiet_option
def command(run, as_json, quiet):
    """Make the tables and the page of RUN again, from its config, rows and sound alone.

    RUN may be unfinished: the tables then say so.
    """
    from ..evaluation.folder import read_config
    from ..report.page import write_page
    from ..report.tables import cells_of_line, heads, write_tables
    from .evaluate import show

    voice, settings = Voice(as_json, quiet), read_config(run)
    result = write_tables(run)
    write_page(run)
    show(voice, heads(settings.targeted, result["cells"]), [cells_of_line(line) for line in result["cells"]], result["flags"], run)
    voice.document(result)
