"""speechadv compare"""
from pathlib import Path

import click

from ..errors import shown
from .common import Voice, json_option, quiet_option

SHARES = {"clean_accuracy": "clean", "robust_accuracy": "robust", "targeted_success": "target heard"}
HEADS = ("a", "b", "a alone", "b alone", "b - a, points", "p")


@click.command("compare", epilog="Example: speechadv compare runs/table --a model=resnet --b model=resnet-at")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("other", required=False, metavar="[RUN2]", type=click.Path(path_type=Path))
@click.option("--a", multiple=True, metavar="KEY=VALUE", help="What the cells of side a have: model, defense, attack, threat, budget or seed; may be given several times.")
@click.option("--b", multiple=True, metavar="KEY=VALUE", help="The same for side b. Everything not named is the same on both sides.")
@json_option
@quiet_option
def command(run, other, a, b, as_json, quiet):
    """Compare two models, defenses or attacks clip by clip: a in RUN, b in RUN2 or in the same run.

    For each pair of cells, over the clips that both have: how many are right on each side, how many on one side alone, the difference of the
    rates with its 95 % interval (paired bootstrap) and p, exact and two-sided (McNemar). Not corrected for the number of comparisons.

    With --json: a list of {"measure", "a_cell", "b_cell", "clips", "a", "b", "only_a", "only_b", "difference", "difference_low", "difference_high", "p"}.
    """
    from ..evaluation.cells import CELL_KEYS
    from ..evaluation.comparison import Side, compare

    voice = Voice(as_json, quiet)
    sides = Side(run, a), Side(other or run, b)
    found = compare(*sides)
    voice.say("; ".join(f"{name}: {shown(' '.join(words) or side.run)}" for name, side, words in zip("ab", sides, (a, b))))
    voice.table(("measure", *CELL_KEYS, *HEADS), [line(entry) for entry in found], 1 + len(CELL_KEYS))
    voice.notice("p is exact (McNemar) and not corrected for the number of comparisons; intervals are 95 %, by the paired bootstrap")
    voice.document(found)


def both(entry: dict, key: str) -> str:
    """What the cells of both sides have, or what each has."""
    a, b = (shown(str(entry[side][key])) for side in ("a_cell", "b_cell"))
    return a if a == b else f"{a} : {b}"


def line(entry: dict) -> list[str]:
    """A comparison for people: every count with its denominator. Of the clean accuracy, which knows no attack, the attack's keys are dashes."""
    from ..evaluation.cells import CELL_KEYS

    about = CELL_KEYS[:2] if entry["measure"] == "clean_accuracy" else CELL_KEYS
    told = [both(entry, key) if key in about else "–" for key in CELL_KEYS]
    counts = [f"{entry[side]} of {entry['clips']}" for side in "ab"]
    ends = [f"{100 * entry[key]:+.1f}" for key in ("difference", "difference_low", "difference_high")] if entry["clips"] else ["–"] * 3
    return [SHARES[entry["measure"]], *told, *counts, str(entry["only_a"]), str(entry["only_b"]), f"{ends[0]} [{ends[1]}, {ends[2]}]", f"{entry['p']:.2g}"]
