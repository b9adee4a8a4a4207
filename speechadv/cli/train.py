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

    Several processes or GPUs share the work of one run: torchrun --nproc-per-node 2 -m speechadv train CONFIG --out OUT (docs/training.md).

    With --json: {"weights", "card" (the model card's content)}.
    """
    from ..training.processes import command_line, device_of, joined

    with joined(device) as group:
        if not group.leads:
            as_json, quiet = False, True
        words, voice = command_line(shlex.join(["speechadv", *sys.argv[1:]])), Voice(as_json, quiet)
        with group.agreeing():
            settings = checked(config, overrides, out, device_of(device))
        from ..training.run import train

        if threads:
            import torch

            torch.set_num_threads(threads)
        try:
            weights = train(settings, out, device=device_of(device), command=words, progress=voice.progress,
                            say=lambda line: click.echo(line, err=True) if not quiet else None, group=group)
        except KeyboardInterrupt:
            if group.leads:
                click.echo(f"stopped after the last finished epoch; go on with: {words}", err=True)
            raise
        if group.leads:
            finish(voice, weights, out)


def checked(config: Path, overrides: tuple[str, ...], out: Path, device: str):
    """The config, and that folder and device can be used. Raises SpeechAdvError."""
    from .. import config as configs
    from ..training.settings import TrainingConfig
    from .common import check_writable, checked_device

    settings = configs.load(TrainingConfig, config, overrides)
    check_writable(out)
    checked_device(device)
    return settings


def finish(voice: Voice, weights: Path, out: Path) -> None:
    """Say where the weights are, and what can be done with them."""
    from ..errors import shown
    from ..models.pretrained import read_card

    voice.say(f"weights: {shown(weights)}")
    voice.advise(("a figure", ("plot", "training", out)), ("the model card", ("models", "describe", weights)), ("hear with it", ("classify", "FILE.wav", "--model", weights)),
                 ("attack it", ("evaluate", "CONFIG.toml", "--set", f'models=["{weights}"]', "--out", "FOLDER")))
    voice.document({"weights": str(weights), "card": read_card(weights)})
