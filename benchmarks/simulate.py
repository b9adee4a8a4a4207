"""How long the complete leaderboard takes on 1 to 1,024 workers: simulated from item times and costs of the driver that were measured.

    python -m benchmarks.simulate --run runs/scale_times         # takes the item times of a run into results/scale_times.csv first
    python -m benchmarks.simulate --measure                      # and measures one and two workers here, beside what the simulation says of them
    python -m benchmarks.simulate --quick --out runs/scale       # a rehearsal of seconds

Writes results/scale_simulation.csv and .svg (with --measure also scale_measured.csv) and the part of docs/scale.md between its two marks.
"""
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from .rows import keep
from .scale import costs
from .simulation import Machine, simulate

CLIPS = 4890  # of the official test archive
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
RUNS = 10  # simulated, of each cluster
TASK = 20.0  # seconds, as speechadv/evaluation/tasks.py cuts them
PARTED = ((256, 2), (1024, 4))  # workers and shards, each with a driver of its own
MARKS = ("<!-- python -m benchmarks.simulate -->\n", "<!-- end -->\n")
HERE = {"attacks": '[{name = "pgd", steps = 40, full = true}, "noise"]', "budgets": '["linf:0.001", "linf:0.002"]', "data": '["bundled"]', "clips": "60", "batch_size": "5",
        "seeds": "[0, 1]", "audio": '"sample:1"'}


@click.command()
@click.option("--run", type=click.Path(path_type=Path), help="Take the item times of this run of `evaluate`.")
@click.option("--measure", is_flag=True, help="Also time `evaluate` with one and two workers.")
@click.option("--driver", type=click.Path(path_type=Path), default=Path("results/scale.json"), show_default=True, help="What a row and a task cost the driver.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1), help="Of the leaderboard.")
@click.option("--quick", is_flag=True, help="A hundredth of the clips and few workers; the figures mean nothing.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), show_default=True)
@click.option("--page", type=click.Path(path_type=Path), default=Path("docs/scale.md"), show_default=True, help="Filled between its marks.")
def main(run, measure, driver, seeds, quick, out, page):
    """Simulate the leaderboard on clusters of many sizes."""
    if run:
        keep(times(run), out / "scale_times.csv")
    source = out / "scale_times.csv"
    if not source.is_file():
        raise click.UsageError(f"{source} is not there: name a run with --run")
    row, issue = driver_costs(driver)
    if measure:
        keep(measured(row, issue), out / "scale_measured.csv")
    crafts, found = read(source), read(out / "scale_measured.csv") if (out / "scale_measured.csv").is_file() else []
    start = float(found[0]["start_seconds"]) if found else Machine.start
    sizes = [(workers, 1) for workers in (WORKERS[:3] if quick else WORKERS)] + [*(((8, 2),) if quick else PARTED)]
    tasks = leaderboard(crafts, CLIPS // 100 if quick else CLIPS, seeds)
    lines = [line(tasks, Machine(workers // parts, start=start, row=row, issue=issue), parts) for workers, parts in sizes]
    keep(lines, out / "scale_simulation.csv")
    draw(lines, out / "scale_simulation.svg")
    text = words(crafts, tasks, lines, found, Machine(1, start=start, row=row, issue=issue), seeds)
    click.echo(text)
    if not quick:
        fill(page, text)


def alone(one: dict) -> float:
    """Seconds of an item as if its thread had had a core for itself: the processor's, where it had to share."""
    share = min(1.0, one["attack_cpu_seconds"] / one["attack_seconds"]) if one["attack_seconds"] else 1.0
    return share * (one["attack_seconds"] + one["scoring_seconds"])


def times(run: Path) -> list[dict]:
    """Seconds a clip of each craft of a run in one thread, and how much they differ from block to block."""
    blocks: dict[tuple, list[dict]] = {}
    for one in map(json.loads, (run / "timing.jsonl").read_text("ascii").splitlines()):
        if one["clips"]:
            blocks.setdefault((one["model"], one["defense"], one["attack"], one["budget"]), []).append(one)
    rows = []
    for key, those in blocks.items():
        paces = [alone(one) / one["clips"] for one in those]
        rows.append(dict(zip(("model", "defense", "attack", "budget"), key)) | {
            "blocks": len(those), "rows_a_clip": those[0]["rows"] // those[0]["clips"], "seconds_a_clip": round(statistics.mean(paces), 5),
            "spread": round(statistics.pstdev(paces) / statistics.mean(paces), 3)})
    return rows


def read(path: Path) -> list[dict]:
    """The rows of a CSV file."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def leaderboard(crafts: list[dict], clips: int, seeds: int) -> list[tuple[float, int]]:
    """The tasks of the whole run, (seconds, rows), craft by craft; their seconds are drawn as the measured ones are spread."""
    import random

    draw, tasks = random.Random(0), []
    for craft in crafts:
        pace, spread = float(craft["seconds_a_clip"]), float(craft["spread"])
        size = max(1, int(TASK / pace))
        for _ in range(seeds):
            for first in range(0, clips, size):
                count = min(size, clips - first)
                tasks.append((max(0.2, draw.gauss(1.0, min(spread, 0.5))) * pace * count, count * int(craft["rows_a_clip"])))
    return tasks


def line(tasks: list[tuple[float, int]], machine: Machine, parts: int) -> dict:
    """The figures of one cluster, means of several runs; of several parts, the last one counts."""
    work, rows, workers = sum(seconds for seconds, _ in tasks), sum(rows for _, rows in tasks), machine.workers * parts
    runs = [[simulate(tasks[part::parts], machine, seed=parts * number + part) for part in range(parts)] for number in range(RUNS)]
    seconds = statistics.mean(max(part.seconds for part in run) for run in runs)

    def counted(key: str) -> float:
        return round(statistics.mean(sum(getattr(part, key) for part in run) for run in runs), 1)

    return {"workers": workers, "parts": parts, "hours": round(seconds / 3600, 3), "efficiency": round(work / workers / seconds, 4),
            "machine_hours": round(workers * seconds / 3600, 1), "rows_a_second": round(rows / seconds, 1),
            "driver_busy": round(statistics.mean(max(part.driver_busy / part.seconds for part in run) for run in runs), 3),
            "node_failures": counted("failures"), "tasks_again": counted("again"), "tasks_twice": counted("twice")}


def measured(row: float, issue: float) -> list[dict]:
    """What one and two workers take here, and what the simulation says from the item times of the first."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.toml").write_text("".join(f"{key} = {value}\n" for key, value in HERE.items()))
        fixed = timed(folder, "start", 1, "--set", "clips=1", "--set", 'attacks=["noise"]', "--set", 'budgets=["linf:0.001"]')
        spawn = min(seconds_of([sys.executable, "-c", "import torch, speechadv; speechadv.load_model('resnet')"], folder) for _ in range(2))
        walls = {workers: timed(folder, f"with-{workers}", workers) for workers in (1, 2)}
        items = [json.loads(one) for one in (Path(folder) / "with-1" / "timing.jsonl").read_text("ascii").splitlines()]
    tasks = [(one["attack_seconds"] + one["scoring_seconds"], one["rows"]) for one in items]
    rows = []
    for workers, wall in walls.items():
        calm = Machine(workers, a_node=workers, start=spawn if workers > 1 else 0.0, row=row, issue=issue, failures_a_day=0.0, slow_share=0.0, spread=0.0)
        predicted = fixed + simulate(tasks, calm).seconds
        rows.append({"workers": workers, "predicted_seconds": round(predicted, 2), "measured_seconds": round(wall, 2), "ratio": round(predicted / wall, 3),
                     "items": len(tasks), "item_seconds": round(sum(seconds for seconds, _ in tasks), 2), "fixed_seconds": round(fixed, 2),
                     "start_seconds": round(spawn, 2)})
    return rows


def timed(folder: str, name: str, workers: int, *more: str) -> float:
    """Wall seconds of an evaluation."""
    return seconds_of([sys.executable, "-m", "speechadv", "evaluate", "config.toml", "--out", name, "--workers", str(workers), "--threads", "1", "--quiet", *more], folder)


def seconds_of(words: list[str], folder: str) -> float:
    started = time.perf_counter()
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def driver_costs(path: Path) -> tuple[float, float]:
    """Seconds of the driver for a row and for a task, as `python -m benchmarks --only scale` has measured them."""
    if not path.is_file():
        raise click.UsageError(f"{path} is not there: python -m benchmarks --only scale makes it")
    return costs(json.loads(path.read_text("utf-8"))["writing"])


def words(crafts: list[dict], tasks: list[tuple[float, int]], lines: list[dict], found: list[dict], machine: Machine, seeds: int) -> str:
    """What docs/scale.md says of it."""
    work, rows = sum(seconds for seconds, _ in tasks), sum(rows for _, rows in tasks)
    each = work / rows / (machine.row + machine.issue * len(tasks) / rows)
    kinds = {key: list(dict.fromkeys(craft[key] for craft in crafts)) for key in ("model", "defense", "attack", "budget")}
    said = "; ".join(f"{key}s {', '.join(f'`{word}`' for word in those)}" for key, those in kinds.items())
    table = ["| workers | parts | hours | efficiency | machine hours | rows a second | driver busy | failures | again | twice |", "|" + "---|" * 10]
    table += [f"| {one['workers']:,} | {one['parts']} | {one['hours']:.2f} | {one['efficiency']:.1%} | {one['machine_hours']:,.1f} | {one['rows_a_second']:,.0f} | "
              f"{one['driver_busy']:.0%} | {one['node_failures']} | {one['tasks_again']} | {one['tasks_twice']} |" for one in lines]
    here = ["", "| workers here | simulated | measured | ratio |", "|---|---|---|---|",
            *(f"| {one['workers']} | {float(one['predicted_seconds']):.1f} s | {float(one['measured_seconds']):.1f} s | {float(one['ratio']):.2f} |" for one in found)] if found else []
    return "\n".join([
        f"The leaderboard: {said}; {seeds} seeds, as the threats of the config put them together ({len(crafts)} attacks on one model and defense each), on all clips: "
        f"{rows:,} rows, {work / 3600:,.0f} hours of one worker, {len(tasks):,} tasks of about {TASK:.0f} s.", "", *table, "",
        f"The driver spends {1000 * machine.row:.2f} ms on a row and {1000 * machine.issue:.1f} ms on a task ([results/scale.md](../results/scale.md)): it takes at most {1 / machine.row:,.0f} rows a second, "
        f"and of these attacks the work of {each:,.0f} workers. Beyond, take parts with a driver each (`--shard I/N`, then `merge`), as in the last lines.", *here, ""])


def fill(page: Path, text: str) -> None:
    """Put the text between the marks of a page."""
    before, _, rest = page.read_text("utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    page.write_text(before + MARKS[0] + text + "\n" + MARKS[1] + after, encoding="utf-8")


def draw(lines: list[dict], path: Path) -> None:
    """Hours and efficiency over the workers."""
    from matplotlib.figure import Figure

    single = [one for one in lines if one["parts"] == 1]
    parted = [one for one in lines if one["parts"] > 1]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for panel, key, label in zip(figure.subplots(1, 2), ("hours", "efficiency"), ("hours to finish", "efficiency")):
        panel.plot([one["workers"] for one in single], [one[key] for one in single], "o-", color="#0072b2", label="one driver")
        panel.plot([one["workers"] for one in parted], [one[key] for one in parted], "s", color="#d55e00", label="a driver for each 128 or 256")
        panel.set(xscale="log", xlabel="workers", ylabel=label)
    figure.axes[0].set_yscale("log")
    figure.axes[1].set_ylim(0, 1)
    figure.axes[1].axhline(0.9, color="grey", linestyle=":")
    figure.axes[1].legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
