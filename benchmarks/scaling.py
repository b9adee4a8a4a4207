"""How time and memory grow: with clips and models of an evaluation, and with the batch size, steps and length of an attack.

    python -m benchmarks.scaling [--axis NAME] [--quick]

Each point is a process of its own, so that its peak memory is its own: of `clips` and `models` a whole `speechadv evaluate` on files that are there one by one, start and tables included;
of the others an attack in memory. Prints the slope of each curve on double logarithmic axes: 1 is linear, less is better. Writes scaling.csv, scaling.md and scaling.png into OUT; of an axis
that is measured again the old points go.
"""
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from .rows import keep

AXES = {"clips": (100, 300, 1000, 3000, 10_000), "batch_size": (8, 16, 32, 64, 128, 256), "steps": (5, 10, 20, 40, 80), "seconds": (0.5, 1, 2, 5, 10),
        "models": (1, 2, 4, 8)}
QUICK = {"clips": (4, 8), "batch_size": (2, 4), "steps": (1, 2), "seconds": (0.5, 1), "models": (1, 2)}
BASE = {"clips": 64, "batch_size": 32, "steps": 5, "seconds": 1, "models": 1}
SPECIAL = {"clips": {"steps": 2}, "batch_size": {"clips": 256}, "models": {"clips": 200}}  # where a curve needs another setting
WHOLE = ("clips", "models")  # axes of whole evaluations
LARGE = 1000  # clips: from here on the start weighs little, and the slope from here on is told, too


@click.command()
@click.option("--axis", "axes", multiple=True, type=click.Choice(list(AXES)), help="This curve alone; may be given several times.")
@click.option("--quick", is_flag=True, help="Two tiny points each, into runs/scaling.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Default: results, with --quick runs/scaling.")
@click.option("--point", hidden=True, help="One point of an attack, as JSON; for the processes that this one starts.")
def main(axes, quick, out, point):
    """Measure the curves.

    Example: python -m benchmarks.scaling --axis steps
    """
    if point:
        click.echo(json.dumps(attacked(**json.loads(point))))
        return
    out = out or Path("runs/scaling" if quick else "results")
    rows = [row for row in read(out / "scaling.csv") if row["axis"] not in (axes or AXES)]
    for axis in axes or AXES:
        for value in (QUICK if quick else AXES)[axis]:
            settings = BASE | ({"clips": 8, "steps": 2} if quick else SPECIAL.get(axis, {})) | {axis: value}
            found = evaluated(**settings) if axis in WHOLE else of_process(settings)
            rows.append({"axis": axis, "value": value, **settings, **found})
            click.echo(f"{axis} {value}: {found['seconds_taken']:.2f} s, peak {found['peak_mib']:.0f} MiB", err=True)
    rows.sort(key=lambda row: list(AXES).index(row["axis"]))
    keep(rows, out / "scaling.csv")
    (out / "scaling.md").write_text(page(rows), encoding="utf-8")
    click.echo(page(rows))
    draw(rows, out / "scaling.png")


def read(path: Path) -> list[dict]:
    """The points that are there already."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{key: text if key == "axis" else int(text) if text.isdigit() else float(text) for key, text in row.items()} for row in csv.DictReader(file)]


def of_process(settings: dict) -> dict[str, float]:
    """`attacked` in a process of its own."""
    return json.loads(subprocess.run([sys.executable, "-m", "benchmarks.scaling", "--point", json.dumps(settings)], check=True, capture_output=True, text=True).stdout)


def attacked(clips: int, batch_size: int, steps: int, seconds: float, models: int) -> dict[str, float]:
    """Time and peak memory of PGD with the whole budget spent, by one network on clips in memory, in this very process; the peak is that over the start."""
    import numpy as np
    import torch

    import speechadv
    from speechadv.budgets import parse_budget
    from speechadv.data.samples import load_bundled
    from speechadv.goals import Misclassify
    from speechadv.memory import keep_freed

    keep_freed()
    network = speechadv.load_model("resnet")
    words = torch.from_numpy(np.tile(load_bundled()[0], (1, 10))[:, : int(16000 * seconds)])
    attack, budget = speechadv.create_attack("pgd", steps=steps, full=True), parse_budget("linf:0.002")

    def run(count):
        for start in range(0, count, batch_size):
            batch = words[torch.arange(start, min(start + batch_size, count)) % len(words)]
            with torch.no_grad():
                heard = network(batch).argmax(1)
            attack(network, batch, Misclassify(heard), budget, generators=torch.Generator().manual_seed(0))

    run(2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    run(clips)
    return {"seconds_taken": time.perf_counter() - started, "peak_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def evaluated(clips: int, batch_size: int, steps: int, seconds: float, models: int) -> dict[str, float]:
    """Time and peak memory of `speechadv evaluate` on so many files of one second and copies of the network, from its start to its page."""
    from speechadv.data.loading import CACHE_VARIABLE

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        recordings(folder / "data", clips)
        config = {"data": [str(folder / "data")], "models": copies(folder, models), "attacks": [{"name": "pgd", "steps": steps, "full": True}], "goal": "untargeted",
                  "budgets": ["linf:0.002"], "threats": ["adaptive"], "audio": "sample:1", "batch_size": batch_size}
        options = [f"--set={key}={toml(value)}" for key, value in config.items()]
        (folder / "config.toml").write_text('attacks = ["pgd"]\nbudgets = ["linf:0.002"]\n')
        command = [sys.executable, "-c", MEASURED, sys.executable, "-m", "speechadv", "evaluate", str(folder / "config.toml"), "--out", str(folder / "run"), "--quiet", *options]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {CACHE_VARIABLE: str(folder / "cache")})
        if done.returncode:
            raise click.ClickException(done.stderr.strip())
        return json.loads(done.stdout.splitlines()[-1])


# The peak of a child is told with that of all children: a process between, that has only one.
MEASURED = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(json.dumps({"seconds_taken": time.perf_counter() - started, "peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}))
sys.exit(code)
"""


def toml(value) -> str:
    """A value of a config as `--set` takes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


def recordings(folder: Path, count: int) -> None:
    """A test split in the layout of Speech Commands: bundled words, each file turned in time by another number of samples."""
    import numpy as np
    import soundfile

    from speechadv.data.samples import load_bundled

    clips, labels, _ = load_bundled()
    words = [(clip, label) for clip, label in zip(clips, labels) if label.isalpha()]
    names = []
    for number in range(count):
        clip, label = words[number % len(words)]
        names.append(f"{label}/{number:08x}_nohash_0.wav")
        (folder / label).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / names[-1], np.roll(clip, number // len(words)), 16000, subtype="PCM_16")
    (folder / "testing_list.txt").write_text("\n".join(names) + "\n")
    (folder / "validation_list.txt").write_text("")


def copies(folder: Path, count: int) -> list[str]:
    """The network under several names."""
    from speechadv.models.pretrained import card_path, weights_path

    source, names = weights_path("resnet"), []
    for number in range(count):
        target = folder / f"copy{number}.safetensors"
        shutil.copyfile(source, target)
        shutil.copyfile(card_path(source), card_path(target))
        names.append(str(target))
    return names


def slope(rows: list[dict], key: str) -> float:
    """Least squares on the logarithms."""
    import numpy as np

    return float(np.polyfit(np.log([row["value"] for row in rows]), np.log([max(row[key], 1e-3) for row in rows]), 1)[0])


def page(rows: list[dict]) -> str:
    """The slopes and the points in Markdown."""
    from speechadv.report.tables import markdown_table

    from .__main__ import machine

    about, lines = machine(), []
    for axis in dict.fromkeys(row["axis"] for row in rows):
        mine = [row for row in rows if row["axis"] == axis]
        ends = [mine, [row for row in mine if row["value"] >= LARGE]]
        shown = [f"{slope(part, key):.2f}" if len(part) > 1 else "" for key in ("seconds_taken", "peak_mib") for part in ends]
        lines.append([f"`{axis}`", "evaluate" if axis in WHOLE else "attack", f"{mine[0]['value']:,g} to {mine[-1]['value']:,g}", shown[0], shown[1], shown[2],
                      ", ".join(f"{row['seconds_taken']:.3g}" for row in mine), ", ".join(f"{row['peak_mib']:.0f}" for row in mine)])
    return "\n\n".join([
        "# Scaling", f"`python -m benchmarks.scaling` on {about['processor']}, {about['cores']} cores, {about['threads']} threads, torch {about['packages']['torch']}.",
        markdown_table(["axis", "of", "from, to", "slope of time", f"from {LARGE:,} on", "slope of memory", "seconds", "peak MiB"], lines),
        "Slopes on double logarithmic axes: 1 is linear, less is better. `evaluate` is a whole command, its start of some seconds, tables and page included; its peak is that of the process. Of an "
        "attack in memory the peak is that over the start."]) + "\n"


def draw(rows: list[dict], path: Path) -> None:
    """A panel an axis: time and memory over it."""
    from matplotlib.figure import Figure

    axes = list(dict.fromkeys(row["axis"] for row in rows))
    figure = Figure(figsize=(3.2 * len(axes), 3), layout="constrained")
    for panel, axis in zip(figure.subplots(1, len(axes), squeeze=False)[0], axes):
        mine = [row for row in rows if row["axis"] == axis]
        values, taken = [row["value"] for row in mine], [row["seconds_taken"] for row in mine]
        panel.loglog(values, taken, "o-", color="#0072b2", label="time in s")
        panel.loglog(values, [row["peak_mib"] for row in mine], "s--", color="#d55e00", label="memory in MiB")
        panel.set(xlabel=axis.replace("_", " "), title=f"slope of time {slope(mine, 'seconds_taken'):.2f}")
        panel.set_xticks(values, [f"{value:,g}" for value in values])
        panel.minorticks_off()
        panel.legend(fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
