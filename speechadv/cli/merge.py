"""speechadv merge"""
from pathlib import Path

import click

from .common import Voice, json_option, out_option, quiet_option


@click.command("merge", epilog="Example: speechadv merge runs/part-1 runs/part-2 --out runs/table")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@out_option
@json_option
@quiet_option
def command(runs, out, as_json, quiet):
    """Put the parts of a run together that `evaluate --shard I/N` or `certify --shard I/N` made on several machines.

    OUT is what one run of all the clips would have written, to the byte, its sound included. Runs with another config, other clips or other weights are
    refused, and so are rows that contradict each other; rows that several runs hold are taken once. Neither the data nor the networks are needed.
    """
    from ..evaluation.merge import merge
    from .common import check_writable

    voice = Voice(as_json, quiet)
    check_writable(out)
    result = merge(runs, out, notice=voice.notice)
    if "cells" in result:
        from ..report.tables import cells_of_line, heads
        from .evaluate import show

        show(voice, heads(result["goal"] == "targeted", result["cells"]), [cells_of_line(line) for line in result["cells"]], result["flags"], out)
        if not result["finished"]:
            voice.notice("the run is not finished: a part is missing, or some of its rows are")
        voice.advise(("judge it anew", ("verify", out)))
    else:
        from ..evaluation.folder import read_environment
        from .certify import show as show_certificates

        show_certificates(voice, result, out)
        wanted = read_environment(out).get("clips", {}).get("number", result["clips"])
        if result["clips"] < wanted:
            voice.notice(f"the run is not finished: {result['clips']} of {wanted} clips have a certificate")
    voice.document(result)
