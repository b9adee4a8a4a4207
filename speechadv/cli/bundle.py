"""speechadv bundle"""
from pathlib import Path

import click

from .common import Voice, json_option, quiet_option


@click.command("bundle", epilog="Example: speechadv bundle runs/table --out table.zip")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE.zip", help="The zip; replaced where it exists.")
@click.option("--no-audio", is_flag=True, help="Leave the sound out: tables and figures can be made again, the page cannot.")
@json_option
@quiet_option
def command(run, out, no_audio, as_json, quiet):
    """Pack RUN and the code that runs here into one zip that reproduces it.

    It holds a README with the exact commands, the package as a wheel, and the run's config, environment, rows, tables, figures and audio. The same
    files give the same bytes. Links that lead out of the run are refused.
    """
    from ..errors import InputError, shown
    from ..report.bundle import pack
    from .common import check_writable

    if out.suffix.lower() != ".zip":
        raise InputError(f"--out '{shown(out)}': expected a file that ends in .zip")
    check_writable(out.parent)
    done, voice = pack(run, out, sound=not no_audio), Voice(as_json, quiet)
    audio = f"{done['audio_files']} of them audio" if not no_audio else "no audio"
    voice.say(f"{shown(out)}: {done['bytes'] / 1e6:.1f} MB, {done['files']} files, {audio}; its README.md says how to make the run again from it")
    voice.document(done)
