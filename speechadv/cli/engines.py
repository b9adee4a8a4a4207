"""Where rows are made: the options that evaluate, certify and attack share, and how they end."""
import shlex
import sys
from pathlib import Path
from typing import NoReturn

import click

from ..errors import ConfigError, shown
from .common import Voice


def engine_options(command):
    """--engine, --address, --cores and --gpus."""
    for option in (
        click.option("--gpus", type=float, help="Of a task on Ray; fractions share a GPU. Default: 0, or what the config says."),
        click.option("--cores", type=float, help="Of a task on Ray. Default: 1, or what the config says."),
        click.option("--address", metavar="HOST:PORT", help="Of the Ray cluster; auto for the one that this machine belongs to. Default: this machine alone."),
        click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
                     help="Where the work is done: on this machine, or on a Ray cluster (docs/cluster.md)."),
    ):
        command = option(command)
    return command


def chosen_engine(engine: str, address: str | None, cores: float | None, gpus: float | None, voice: Voice, of_config: tuple[float, float] = (1.0, 0.0)):
    """The engine, or None for this machine's processes.

    Raises ConfigError: an option of Ray without Ray, Ray is not installed, or a number that is none of cores.
    """
    if engine == "local":
        for option, value in (("--address", address), ("--cores", cores), ("--gpus", gpus)):
            if value is not None:
                raise ConfigError(f"{option}: belongs to --engine ray")
        return None
    from ..evaluation.cluster import OnRay, imported

    imported()
    return OnRay(address, of_config[0] if cores is None else cores, of_config[1] if gpus is None else gpus, voice.notice)


def stopped() -> NoReturn:
    """After Ctrl-C: how to go on, exit status 130."""
    click.echo(f"stopped; what is finished is kept. Go on with: {shown(shlex.join(['speechadv', *sys.argv[1:]]))}", err=True)
    sys.exit(130)


def tell_failures(failed: int, what: str, out: Path) -> None:
    """Where something could not be made: how much of it, where the reasons are, exit status 1."""
    from ..evaluation.folder import FAILED

    if failed:
        click.echo(f"{failed} {what} failed: {shown(out / FAILED)} says why; the same command tries them again", err=True)
        sys.exit(1)
