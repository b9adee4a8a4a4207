"""A floor for each entry on a small fixed subset: what clean accuracy and a short attack gave, and how far off a test still lets them be.

    python recipes/leaderboard/floors.py           # measures all entries whose files are here and writes floors.json
"""
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import click
from _files import inside, started
from entered import Entry, brought, entries_of

FOLDER = Path(__file__).resolve().parent
FILE = FOLDER / "floors.json"
LIST = FOLDER.parents[1] / "data/leaderboard_clips.txt"
CLIPS = {"bundled": 12, "data": 24}
BUDGET, STEPS = "linf:0.001", 8
SLACK = 2  # clips: other processors round other clips over an edge


def subset(of: str) -> tuple[Any, list[str], list[str]]:
    """(clips, 16000) waveforms, labels, names: a clip of each label that is bundled, or the first of the leaderboard's list. Raises SpeechAdvError."""
    import torch

    if of == "bundled":
        from speechadv.data.samples import load_bundled

        waveforms, labels, names = load_bundled()
        rows = [labels.index(label) for label in dict.fromkeys(labels)][: CLIPS[of]]
        return torch.from_numpy(waveforms[rows]), [labels[row] for row in rows], [names[row] for row in rows]
    from speechadv.evaluation.clips import load_clips
    from speechadv.evaluation.settings import EvaluationConfig
    from speechadv.evaluation.sounds import waveforms as as_float

    wanted = [line for line in LIST.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")][: CLIPS[of]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clips.txt")
        path.write_text("\n".join(wanted), encoding="utf-8")
        clips = load_clips(EvaluationConfig(["noise"], [BUDGET], clip_list=str(path)), 16000)
    return as_float(clips.pcm), clips.labels, clips.names


def measure(entry: Entry, of: str, folder: Path) -> dict[str, Any]:
    """How many clips of the subset the entry hears right, and how many still after the short attack, PGD with the margin loss on network and defense.

    Raises SpeechAdvError: the entry cannot be used.
    """
    from speechadv.evaluation.work import Worker
    from speechadv.randomness import clip_generators

    waveforms, labels, names = subset(of)
    with tempfile.TemporaryDirectory() as board, inside(Path(board)):
        defended = Worker(Path("."), trust=entry.trust).defended(brought(entry, folder, Path(".")), entry.defense)
        return attacked(defended, waveforms, labels, clip_generators(0, "floors", names))


def attacked(defended, waveforms, labels: list[str], generators) -> dict[str, Any]:
    """{"clips", "right", "robust"} of a defended network on waveforms (clips, 16000)."""
    import torch

    from speechadv.attacks.base import frozen
    from speechadv.budgets import parse_budget
    from speechadv.goals import Misclassify
    from speechadv.registry import create

    truth = torch.tensor([list(defended.labels).index(label) for label in labels])
    result = create("attack", "pgd", steps=STEPS, loss="margin")(defended, waveforms, Misclassify(truth), parse_budget(BUDGET), generators=generators)
    with frozen(defended), torch.no_grad():
        before, after = (defended(heard).argmax(1) == truth for heard in (waveforms, result.adversarial))
    return {"clips": len(labels), "right": int(before.sum()), "robust": int((before & after).sum())}


def recorded() -> dict[str, dict[str, dict[str, Any]]]:
    """The content of floors.json: {"resnet": {"bundled": {...}, "data": {...}}}; empty where there is none."""
    return json.loads(FILE.read_text(encoding="utf-8"))["entries"] if FILE.exists() else {}


@click.command()
@click.option("--entry", "wanted", multiple=True, metavar="NAME", help="Only this one; several times.")
def write(wanted):
    """Measure the floors of the entries, and write them."""
    notice = lambda line: click.echo(f"note: {line}", err=True)
    found = recorded()
    for name, entry in entries_of(FOLDER / "entries", wanted, notice).items():
        found[name] = {of: measure(entry, of, FOLDER / "entries") for of in CLIPS if of == "bundled" or os.environ.get("SPEECHADV_DATA")}
        click.echo(f"{name}: {found[name]}")
    content = {"command": "python recipes/leaderboard/floors.py", "attack": f"pgd, {STEPS} steps, margin, {BUDGET}", "slack": SLACK, "entries": dict(sorted(found.items()))}
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    started(write)
