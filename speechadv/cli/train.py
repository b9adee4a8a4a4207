"""speechadv train"""
import shlex
import sys
from pathlib import Path

import click

from .common import Voice, device_option, json_option, out_option, quiet_option


@click.command("train", epilog="Example: speechadv train recipes/train_standard/config.toml --out runs/standard --set epochs=10")
@click.argument("config", type=click.Path(path_type=Path))
@out_option
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the config; may be given several times.")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch; default: one a core.")
@device_option
@json_option
@quiet_option
def command(config, out, overrides, threads, device, as_json, quiet):
    """Train a network as CONFIG says, standard or, where it has an [adversary], adversarially.

    Train alone is learned from and validation alone chooses the checkpoint. A run that was killed goes on when the same command is given again.
    Weights and model card are written to OUT at the end.

    With --json: {"weights", "card" (the model card's content)}.
    """
    from .. import config as configs
    from ..training.settings import TrainingConfig
    from .common import check_writable, checked_device

    settings, voice = configs.load(TrainingConfig, config, overrides), Voice(as_json, quiet)
    check_writable(out)
    checked_device(device)
    import torch

    from ..training.run import train

    if threads:
        torch.set_num_threads(threads)
    words = shlex.join(["speechadv", *sys.argv[1:]])
    try:
        weights = train(settings, out, device=device, command=words, progress=voice.progress, say=lambda line: click.echo(line, err=True) if not quiet else None)
    except KeyboardInterrupt:
        click.echo(f"stopped after the last finished epoch; go on with: {words}", err=True)
        raise
    from ..errors import shown
    from ..models.pretrained import read_card

    voice.say(f"weights: {shown(weights)}")
    voice.advise(("a figure", ("plot", "training", out)), ("the model card", ("models", "describe", weights)), ("hear with it", ("classify", "FILE.wav", "--model", weights)),
                 ("attack it", ("evaluate", "CONFIG.toml", "--set", f'models=["{weights}"]', "--out", "FOLDER")))
    voice.document({"weights": str(weights), "card": read_card(weights)})
