"""speechadv write-up"""
import shlex
from pathlib import Path

import click

from .common import Voice, json_option, quiet_option

TITLE = "Adversarial audio for keyword spotting: attack, defense, and what is left"


@click.command("write-up", epilog="Example: speechadv write-up runs/judge_weights runs/codec_and_bandpass --out report.html --out report.pdf")
@click.argument("runs", metavar="RUN...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", "outs", metavar="FILE", multiple=True, type=click.Path(path_type=Path, dir_okay=False),
              help="Ends in .html or .pdf; give it twice for both.")
@click.option("--slides", is_flag=True, help="A deck for a talk of five minutes instead of the report.")
@click.option("--title", default=TITLE, help="Of the document.")
@click.option("--templates", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="A folder with templates of your own; what it lacks is the package's.")
@click.option("--export-templates", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Copy the package's templates into a new folder, to be edited, and end.")
@json_option
@quiet_option
def command(runs, outs, slides, title, templates, export_templates, as_json, quiet):
    """Write a report of at most eight printed pages, or slides, from the saved files of RUN...

    RUN is a run of `evaluate`, or of `train` for its curve. The first one is what the summary is about. Numbers and comparisons are computed from the rows;
    the words around them are Jinja2 templates. A run of recipes/theory adds what it measured to the theory. A PDF needs Chromium.
    """
    from ..errors import InputError, shown
    from ..report import document
    from .common import check_writable

    voice = Voice(as_json, quiet)
    if export_templates:
        if export_templates.exists() and (not export_templates.is_dir() or any(export_templates.iterdir())):
            raise InputError(f"--export-templates '{shown(export_templates)}': expected an empty or new folder")
        check_writable(export_templates)
        for path in document.export(export_templates):
            voice.say(shown(path))
        voice.advise(("the report in them", ("write-up", "RUN", "--templates", export_templates, "--out", "report.html")))
        return voice.document({"templates": str(export_templates)})
    for name, given in (("RUN", runs), ("--out", outs)):
        if not given:
            raise click.UsageError(f"expected at least one {name}")
    for out in outs:
        document.check_suffix(out)
        check_writable(out.parent)
    if templates and not templates.is_dir():
        raise InputError(f"--templates '{shown(templates)}': no such folder; `--export-templates` makes one")
    words = ["speechadv", "write-up", *map(str, runs), *(["--slides"] if slides else []), *(["--title", title] if title != TITLE else [])]
    words += [*(["--templates", str(templates)] if templates else []), *(word for out in outs for word in ("--out", str(out)))]
    content = document.read(runs, shlex.join(words), title)
    result = document.write(content, outs, slides=slides, templates=templates)
    if not slides and (result["pages"] or 0) > document.MOST_PAGES:
        voice.notice(f"the report has {result['pages']} pages, {document.MOST_PAGES} were wanted: name fewer runs or shorten the templates")
    elif result["shortened"]:
        voice.notice(f"tables and figures were cut so that the report fits {document.MOST_PAGES} pages; the runs hold the rest")
    for out in outs:
        voice.say(f"{shown(out)}" + (f", {result['pages']} pages" if out.suffix.lower() == ".pdf" else ""))
    steps = [] if slides else [("a talk of five minutes", ("write-up", *runs, "--slides", "--out", "slides.html"))]
    voice.advise(*steps, ("your own words", ("write-up", "--export-templates", "my-templates")))
    voice.document({"out": [str(out) for out in outs], "slides": slides, **result})
