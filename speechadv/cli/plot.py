"""speechadv plot"""
from pathlib import Path

import click

from .common import Voice, json_option, quiet_option

KINDS = ("spectrograms", "masking", "security", "success", "training")


@click.command("plot", epilog="Example: speechadv plot security runs/table --over eps --out security.pdf")
@click.argument("kind", metavar="KIND", type=click.Choice(KINDS))
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file: .png, .svg or .pdf.  [default: RUN/figures/KIND.png]")
@click.option("--row", type=click.IntRange(1), help="Of spectrograms and masking: the clip's line in rows.jsonl, from 1; default: the first that was fooled.")
@click.option("--over", type=click.Choice(("eps", "snr", "margin", "bitrate")), help="Of security: the x axis; default: the one with most values.")
@json_option
@quiet_option
def command(kind, run, out, row, over, as_json, quiet):
    """Draw one figure from the saved files of RUN.

    \b
    spectrograms  clean, adversarial and their difference, of one clip
    masking       spectrum of a perturbation against the clip's masking threshold
    security      success or robust accuracy over eps, SNR, margin or bitrate, with 95 % intervals
    success       success by defense, oblivious beside adaptive, with 95 % intervals
    training      loss and validation accuracy of a training run (RUN holds history.jsonl)
    """
    from ..errors import ConfigError, shown
    from ..report import figures, style

    for option, value in (("row", row), ("over", over)):
        if value is not None and option not in figures.TAKES.get(kind, ()):
            raise ConfigError(f"--{option}: '{kind}' has no such choice")
    out = out or run / "figures" / f"{kind}.png"
    style.check_suffix(out)
    path = style.save(figures.draw(kind, run, row=row, over=over), out)
    voice = Voice(as_json, quiet)
    voice.say(shown(path))
    voice.document({"kind": kind, "run": str(run), "out": str(path)})
