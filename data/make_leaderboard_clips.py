"""Makes data/leaderboard_clips.txt: the test clips of the leaderboard, in an order of which every beginning has each label in proportion.

    SPEECHADV_DATA=…/speech_commands python data/make_leaderboard_clips.py

The choice comes from hashes of seed and name. Labels with few test clips (`on`, `off`) are in it whole.
"""
from collections import Counter
from pathlib import Path
from typing import Sequence

import click

FILE = Path(__file__).with_name("leaderboard_clips.txt")
CLIPS, SEED = 400, 0
RARE = 12  # test clips of a label: up to so many all are taken
HEAD = """\
# The {clips} test clips of recipes/leaderboard, task v2-12: made by data/make_leaderboard_clips.py with seed {seed}.
# Every beginning has each label in proportion. {counts}
"""


def shares(counts: dict[str, int], clips: int) -> dict[str, int]:
    """How many clips of each label: all of the rare ones, of the others in proportion (largest remainders), `clips` in all."""
    taken = {label: number for label, number in counts.items() if number <= RARE}
    others, left = {label: number for label, number in counts.items() if label not in taken}, clips - sum(taken.values())
    exact = {label: left * number / sum(others.values()) for label, number in others.items()}
    whole = {label: int(share) for label, share in exact.items()}
    for label in sorted(exact, key=lambda label: (whole[label] - exact[label], label))[: left - sum(whole.values())]:
        whole[label] += 1
    return taken | whole


def chosen(names: Sequence[str], labels: Sequence[str], clips: int = CLIPS, seed: int = SEED) -> list[str]:
    """Names of the clips in their order: clip k of n of its label stands at (k + 1/2) / n, equals by the hash.

    Args:
        names, labels: of the whole split, a label a name.
        clips: how many.
        seed: of the hashes.
    """
    from speechadv.randomness import derived_seed

    if clips >= len(names):
        wanted = dict(Counter(labels))
    else:
        wanted = shares(Counter(labels), clips)
    drawn = {name: derived_seed(seed, "leaderboard", name) for name in names}
    place, rank = {}, Counter()
    for name, label in sorted(zip(names, labels), key=lambda pair: drawn[pair[0]]):
        if rank[label] < wanted[label]:
            place[name] = ((rank[label] + 0.5) / wanted[label], drawn[name])
            rank[label] += 1
    return sorted(place, key=place.__getitem__)


def of_split() -> tuple[list[str], list[str]]:
    """Names and labels of the test split of task v2-12 in the folders that SPEECHADV_DATA names. Raises DataError."""
    from speechadv.data import data_roots, scan, select, task

    pairs = select(scan(data_roots([])), task("v2-12"), "test")
    return [clip.name for clip, _ in pairs], [label for _, label in pairs]


def text_of(names: Sequence[str], labels: Sequence[str]) -> str:
    """The content of the file."""
    listed = chosen(names, labels)
    label_of = dict(zip(names, labels))
    counts = Counter(label_of[name] for name in listed)
    told = ", ".join(f"{label} {number} of {Counter(labels)[label]}" for label, number in sorted(counts.items()))
    return HEAD.format(clips=len(listed), seed=SEED, counts=f"Counts: {told}.") + "".join(f"{name}\n" for name in listed)


@click.command()
def make():
    """Write the list; the data are those that SPEECHADV_DATA names."""
    FILE.write_text(text_of(*of_split()), encoding="utf-8")
    click.echo(FILE.read_text(encoding="utf-8").splitlines()[1])


if __name__ == "__main__":
    make()
