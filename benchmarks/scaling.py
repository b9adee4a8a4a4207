"""How time and memory grow: with clips, batch size, steps, the length of a clip, and the models of a grid.

    python -m benchmarks.scaling [--axis NAME] [--quick]

Each point runs in a process of its own, so that its peak memory is its own. Prints the slope of each curve on double logarithmic axes: 1 is linear, less is
better. Writes results/scaling.csv and results/scaling.png.
"""
import json
import subprocess
import sys
from pathlib import Path

import click

from .rows import keep

AXES = {"clips": (100, 300, 1000, 3000, 10_000), "batch_size": (8, 16, 32, 64, 128, 256), "steps": (5, 10, 20, 40, 80), "seconds": (0.5, 1, 2, 5, 10),
        "models": (1, 2, 4, 8)}
QUICK = {"clips": (4, 8), "batch_size": (2, 4), "steps": (1, 2), "seconds": (0.5, 1), "models": (1, 2)}
BASE = {"clips": 64, "batch_size": 32, "steps": 5, "seconds": 1, "models": 1}
SPECIAL = {"clips": {"steps": 2}, "batch_size": {"clips": 256}}  # where a curve needs another setting


@click.command()
@click.option("--axis", "axes", multiple=True, type=click.Choice(list(AXES)), help="This curve alone; may be given several times.")
@click.option("--quick", is_flag=True, help="Two tiny points each.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), show_default=True)
@click.option("--point", hidden=True, help="One point, as JSON; for the processes that this one starts.")
def main(axes, quick, out, point):
    """Measure the curves."""
    if point:
        click.echo(json.dumps(one_point(**json.loads(point))))
        return
    rows = []
    for axis in axes or AXES:
        for value in (QUICK if quick else AXES)[axis]:
            settings = BASE | ({"clips": 8, "steps": 2} if quick else SPECIAL.get(axis, {})) | {axis: value}
            command = [sys.executable, "-m", "benchmarks.scaling", "--point", json.dumps(settings)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            rows.append({"axis": axis, "value": value, **settings, **found})
            click.echo(f"{axis} {value}: {found['seconds_taken']:.2f} s, {found['peak_mib']:.0f} MiB over the start")
    out.mkdir(parents=True, exist_ok=True)
    keep(rows, out / "scaling.csv")
    for axis in dict.fromkeys(row["axis"] for row in rows):
        time_slope, memory_slope = (slope([row for row in rows if row["axis"] == axis], key) for key in ("seconds_taken", "peak_mib"))
        click.echo(f"{axis}: slope of time {time_slope:.2f}, of memory {memory_slope:.2f}")
    draw(rows, out / "scaling.png")


def one_point(clips: int, batch_size: int, steps: int, seconds: float, models: int) -> dict:
    """Time and peak memory of PGD with the whole budget spent on clips read through the cache, for each of some networks of the same size."""
    import copy
    import resource
    import time

    import numpy as np
    import torch

    import speechadv
    from speechadv.budgets import parse_budget
    from speechadv.data.samples import load_bundled
    from speechadv.goals import Misclassify

    network = speechadv.load_model("resnet")
    networks = [copy.deepcopy(network) for _ in range(models)]
    words = torch.from_numpy(np.tile(load_bundled()[0], (1, 10))[:, : int(16000 * seconds)])
    attack, budget = speechadv.create_attack("pgd", steps=steps, full=True), parse_budget("linf:0.002")

    def run(count):
        for model in networks:
            for start in range(0, count, batch_size):
                batch = words[torch.arange(start, min(start + batch_size, count)) % len(words)]
                with torch.no_grad():
                    heard = model(batch).argmax(1)
                attack(model, batch, Misclassify(heard), budget, generators=torch.Generator().manual_seed(0))

    run(2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    run(clips)
    return {"seconds_taken": time.perf_counter() - started, "peak_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def slope(rows: list[dict], key: str) -> float:
    """Least squares on the logarithms."""
    import numpy as np

    return float(np.polyfit(np.log([row["value"] for row in rows]), np.log([max(row[key], 1e-3) for row in rows]), 1)[0])


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
