"""speechadv verify"""
from pathlib import Path

import click

from .common import Voice, device_option, json_option, quiet_option


@click.command("verify", epilog="Example: speechadv verify runs/table")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--trust-model-file", is_flag=True, help="Load TorchScript or torch.export models: that runs code from the file.")
@device_option
@json_option
@quiet_option
def command(run, trust_model_file, device, as_json, quiet):
    """Judge RUN anew, and compare.

    Every distance and every verdict is made again from the sound files, the config and the weights, and compared with rows.jsonl; every number of
    table.csv, table.md and result.json is counted again from the rows. RUN is a folder of `evaluate`, `demo` or `attack`, or of `certify` or
    recipes/detection, which need the clips of their config once more; nothing in it is changed.

    Exit status 0: all the same. 1: something differs, a line each. 2: no run, or a model that cannot be loaded.
    """
    from ..errors import shown
    from .common import checked_device

    voice = Voice(as_json, quiet)
    checked_device(device)
    from ..evaluation.verify import verify

    verdict = verify(run, device=device, trust=trust_model_file, bar=voice.bar)
    for line in verdict.unchecked:
        voice.notice(line)
    for line in verdict.differences:
        voice.say(line)
    found = f"{len(verdict.differences)} difference{'s' * (len(verdict.differences) != 1)}" if verdict.differences else "all the same"
    voice.say(f"{shown(run)}: {verdict.rows} rows, the sound of {verdict.scored} judged: {found}")
    voice.document({"same": verdict.same, "rows": verdict.rows, "scored": verdict.scored, "differences": verdict.differences, "unchecked": verdict.unchecked})
    click.get_current_context().exit(0 if verdict.same else 1)
