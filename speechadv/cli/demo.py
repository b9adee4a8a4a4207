"""speechadv demo"""
import os
from pathlib import Path
from typing import Any

import click

from .common import Voice, device_option, json_option, model_option, quiet_option, seed_option

WORDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
CLIPS = 6
STEPS = 30
BUDGETS = ["linf:0.002", "snr:30", "masking"]
DEFENSES = ["none", "mp3:32", "bandpass:100-4000"]
MARKER = "demo.txt"
MADE = ("config.toml", "environment.json", "rows.jsonl", "timing.jsonl", "probes.json", "table.csv", "table.md", "table.tex", "result.json", "index.html", "single-file.html",
        "audio", "figures", "page", MARKER)  # what a demo leaves; nothing else is ever removed
GUIDE = """\
Made by `speechadv demo`; it may be made anew there at any time, so keep nothing of yours in this folder.

index.html     listen: clean, adversarial, perturbation and what is left behind each defense
table.md|csv   the numbers, with 95 % intervals (result.json: the same with checks)
rows.jsonl     one line a clip and attack, with the names of its sound files in audio/
config.toml    the same run again: speechadv evaluate config.toml --out FOLDER

The voices are synthetic.
"""


@click.command("demo", epilog="Example: speechadv demo --out runs/demo")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/demo"), show_default=True,
              help="Folder for what is made; an earlier demo in it is made anew.")
@model_option
@click.option("--robust-model", default="resnet-at", show_default=True, metavar="MODEL", help="The adversarially trained network.")
@seed_option
@device_option
@json_option
@quiet_option
def command(out, model, robust_model, seed, device, as_json, quiet):
    """Fool a keyword-spotting network with clips that are in the package, and defend it.

    Six words of synthetic voices are attacked with targeted PGD under three budgets. The result goes through MP3, a band-pass filter and an
    adversarially trained network; then each of these is attacked again by an attack that knows it. OUT holds the sound, the numbers and a page to
    listen to.
    """
    from .common import check_writable, checked_device

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads: threads that wait by spinning slow a busy machine down twentyfold
    voice = Voice(as_json, quiet)
    check_writable(out)
    checked_device(device)
    check_folder(out)
    from ..audio import write_bytes
    from ..evaluation.run import evaluate, prepare

    config = settings(model, robust_model, seed)
    prepare(config, out, device)  # what can be wrong is found before an earlier demo is removed
    clear(out)
    result = evaluate(config, out, device=device, bar=voice.bar, notice=voice.notice)
    write_bytes(out / MARKER, GUIDE.encode("utf-8"))
    show(voice, result, out, robust_model)
    voice.document({"out": str(out), "page": str(out / "index.html"), "cells": result["cells"], "flags": result["flags"]})


def settings(model: str, robust_model: str, seed: int):
    """The evaluation that the demo is: the plain network behind each defense, and the robust one without."""
    from ..evaluation.settings import EvaluationConfig

    robust = [{"model": robust_model, "defense": defense} for defense in DEFENSES if defense != "none"]
    skip = [*robust, {"model": robust_model, "threat": "oblivious"}, {"model": model, "defense": "none", "threat": "adaptive"}]
    return EvaluationConfig(models=[model, robust_model], defenses=DEFENSES, task=WORDS, goal="targeted", attacks=[{"name": "pgd", "steps": STEPS}],
                            budgets=BUDGETS, threats=["oblivious", "transfer", "adaptive"], source=model, skip=skip, seeds=[seed], clips=CLIPS,
                            data=["bundled"])


def check_folder(out: Path) -> None:
    """Raise InputError unless the folder is missing, empty, or holds a demo and nothing else."""
    from ..errors import InputError, shown

    if not out.exists() or not any(out.iterdir()):
        return
    foreign = [path.name for path in out.iterdir() if path.name not in MADE and not path.name.startswith(".speechadv-")]
    if foreign or not is_demo(out):
        found = f"'{shown(sorted(foreign)[0])}'" if foreign else "another run"
        raise InputError(f"--out '{shown(out)}': expected a new folder or an earlier demo, it holds {found}; name another folder")


def is_demo(out: Path) -> bool:
    """Whether a folder was made by this command, to its end or not: by its marker, or by the config that a killed demo leaves."""
    from ..errors import SpeechAdvError
    from ..evaluation.folder import read_config

    if (out / MARKER).is_file():
        return True
    try:
        found = read_config(out)
    except SpeechAdvError:
        return False
    return found.models[1:] != [] and found == settings(found.models[0], found.models[1], found.seeds[0])


def clear(out: Path) -> None:
    """Remove what an earlier demo left."""
    import shutil

    for path in out.iterdir() if out.exists() else ():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def show(voice: Voice, result: dict[str, Any], out: Path, robust_model: str) -> None:
    """The table, and where to listen."""
    from rich import box
    from rich.table import Table

    from ..errors import shown
    from ..report.tables import number
    from .evaluate import say_flags

    table = Table(box=box.SIMPLE_HEAD, title="How often the target word was heard", title_justify="left", pad_edge=False)
    for head, justify in (("behind", "left"), ("right before", "right"), ("sent as is", "right"), ("attack adapted", "right")):
        table.add_column(head, justify=justify, no_wrap=True)
    for budget in dict.fromkeys(cell["budget"] for cell in result["cells"]):
        cells = [cell for cell in result["cells"] if cell["budget"] == budget]
        table.add_row(f"[bold]{budget}[/]", "", "", f"[dim]SNR {number(cells[0]['snr_db_median'], '.1f')} dB[/]")
        for name in dict.fromkeys(behind(cell, robust_model) for cell in cells):
            those = {cell["threat"] in ("oblivious", "transfer"): cell for cell in cells if behind(cell, robust_model) == name}
            first = next(iter(those.values()))
            table.add_row("  " + shown(name), f"{first['clips_right']} of {first['clips']}", rate(those.get(True)), rate(those.get(False)))
        table.add_section()
    voice.show(table)
    voice.say("Sent as is: crafted on the network alone; SNR is its median. Attack adapted:")
    voice.say("crafted on the whole, defense included. In brackets: 95 % Wilson intervals in")
    voice.say("percent; so few clips leave them wide.")
    say_flags(voice, result["flags"])
    voice.say(f"Listen: open {shown(out / 'index.html')} in a browser (the voices are synthetic).")
    voice.say("Beside it: table.md, table.csv and result.json with the numbers; audio/.")


def behind(cell: dict[str, Any], robust_model: str) -> str:
    """What stands between the attack and the verdict."""
    if cell["model"] == robust_model:
        return "adversarially trained"
    return "nothing" if cell["defense"] == "none" else cell["defense"]


def rate(cell: dict[str, Any] | None) -> str:
    """"5 of 6 [44, 97]"."""
    if cell is None or cell["targeted_success"] is None:
        return "–"
    low, high = (100 * cell[f"targeted_success_{end}"] for end in ("low", "high"))
    return f"{round(cell['targeted_success'] * cell['clips_right'])} of {cell['clips_right']} [{low:.0f}, {high:.0f}]"
