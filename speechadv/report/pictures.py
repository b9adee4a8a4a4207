"""The figures of a written report, drawn from runs and put into the page itself."""
import base64
import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

from ..errors import InputError, shown
from . import figures
from .findings import Findings
from .style import save

MOST_LINES = 16  # of a security curve: beyond, nobody finds his way
WHOLE, HALF = "whole", "half"  # how much of the page's width a figure takes
WIDEST = 13  # inches, of a figure that can be read on a page
QUALITY = 88  # of JPEG, for spectrograms
CAPTIONS = {
    "spectrograms": "One clip: clean, adversarial, and their difference, on one colour scale.",
    "masking": "The perturbation's spectrum beside the clip's masking threshold, where it comes nearest to it.",
    "security": "How the rate moves with the budget or the bitrate; bands are 95 % Wilson intervals.",
    "success": "How each network and defense fared, by what the attack knew; bars with 95 % Wilson intervals.",
    "certified": "Share of clips right and proven to stay so within a radius; dotted: the largest radius that so many draws can prove.",
    "queries": "Share of clips that black-box attacks won over the queries spent; bands are 95 % Wilson intervals.",
    "minimum": "Share of clips for which the smallest perturbation found leaves at least this SNR; bands are 95 % Wilson intervals.",
    "training": "Loss and validation accuracy over the epochs.",
}


@dataclass(frozen=True)
class Picture:
    """A figure as a data: address. `width` is WHOLE or HALF; `about` is its caption, with the run's name."""

    kind: str
    run: str
    width: str
    about: str
    address: str


def clip_pictures(runs: Sequence[Findings]) -> list[Picture]:
    """Spectrograms and masking of one clip, from the first run that kept sound."""
    for run in runs:
        found = list(drawn(run, ("spectrograms", "masking")))
        if found:
            return found
    return []


def rate_pictures(runs: Sequence[Findings], most: int) -> list[Picture]:
    """A security curve or bars of each run, at most so many."""
    found: list[Picture] = []
    for run in runs:
        bars = ("success",) if len(run.subjects) * len(run.budgets) > 2 else ()  # a table says two numbers better
        kinds = ("security", *bars) if lines(run) <= MOST_LINES else bars
        found += list(drawn(run, kinds))[:1]
    return found[:most]


def bitrate_pictures(runs: Sequence[Findings], most: int) -> list[Picture]:
    """The rate over the bitrate of MP3, of runs that have several."""
    found = []
    for run in runs:
        with contextlib.suppress(InputError):
            found.append(picture("security", run.folder, run.name, over="bitrate"))
    return found[:most]


def cost_pictures(runs: Sequence[Findings], most: int) -> list[Picture]:
    """What a success costs, in queries or in loudness, of runs with attacks that count them."""
    return [found for run in runs if lines(run) <= MOST_LINES for found in drawn(run, ("queries", "minimum"))][:most]


def lines(run: Findings) -> int:
    """How many lines a security curve would have."""
    return len({(line["model"], line["defense"], line["attack"], line["threat"], line["seed"]) for line in run.lines})


def drawn(run: Findings, kinds: Sequence[str]) -> Iterator[Picture]:
    """The figures of these kinds that the run has something for."""
    for kind in kinds:
        try:
            yield picture(kind, run.folder, run.name)
        except InputError:  # the run lacks what this figure needs
            continue


def picture(kind: str, folder: Path, name: str, **choices) -> Picture:
    """One figure: SVG, or JPEG for spectrograms. Raises InputError: the run lacks what it needs, or it would be too wide to be read in print."""
    figure = figures.draw(kind, folder, **choices)
    inches = figure.get_size_inches()[0]
    if inches > WIDEST:
        raise InputError(f"'{shown(folder)}': its figure '{kind}' is {inches:.0f} inches wide, too wide for a page")
    width = WHOLE if inches > 8 else HALF
    with tempfile.TemporaryDirectory(prefix="speechadv-") as aside:
        if kind == "spectrograms":
            content, media = jpeg(save(figure, Path(aside, "figure.png"))), "image/jpeg"
        else:
            content, media = save(figure, Path(aside, "figure.svg")).read_bytes(), "image/svg+xml"
    address = f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"
    return Picture(kind, name, width, f"{CAPTIONS.get(kind, kind)} Run {shown(name)}.", address)


def jpeg(png: Path) -> bytes:
    """The same image, a fifth of the size: spectrograms are noise to PNG."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.open(png).convert("RGB").save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
