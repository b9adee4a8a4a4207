"""What masking costs: thresholds a second, and a PGD step under the masking budget beside one under L-infinity, in one run.

    python -m benchmarks.masking_cost

Rounds alternate; prints medians and ranges over the bundled clips, and writes results/masking_cost.csv.
"""
import statistics
import time
from pathlib import Path

import click

from .rows import keep


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--steps", default=10, show_default=True, type=click.IntRange(1))
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/masking_cost.csv"), show_default=True)
def main(rounds, steps, out):
    """Time the masking threshold and steps of PGD."""
    import torch

    import speechadv
    from speechadv.attacks.base import Problem
    from speechadv.attacks.gradient import last_iterate
    from speechadv.attacks.steps import Plain
    from speechadv.budgets import parse_budget
    from speechadv.data.samples import load_bundled
    from speechadv.goals import Misclassify
    from speechadv.masking import MaskingModel
    from speechadv.models.layers import folded

    clips = torch.from_numpy(load_bundled()[0][:32])
    model, masking = folded(speechadv.load_model("resnet")), MaskingModel()
    goal, generators = Misclassify(model(clips).argmax(1)), [torch.Generator().manual_seed(0)] * len(clips)

    def search(budget):
        bound = parse_budget(budget).bind(clips)
        start = bound.random_start(generators)
        return lambda: last_iterate(Problem(model, clips, goal, bound, generators), start, steps=steps, rule=Plain(0.1), loss="cross_entropy")

    work = {"threshold": (lambda: masking.threshold_db(clips), 1), "step linf:0.002": (search("linf:0.002"), steps), "step masking": (search("masking"), steps)}
    milliseconds = {name: [] for name in work}
    for _ in range(rounds):
        for name, (function, count) in work.items():
            started = time.perf_counter()
            function()
            milliseconds[name].append(1000 * (time.perf_counter() - started) / len(clips) / count)
    rows = [{"what": name, "ms_a_clip": round(statistics.median(times), 3), "low": round(min(times), 3), "high": round(max(times), 3),
             "threads": torch.get_num_threads()} for name, times in milliseconds.items()]
    keep(rows, out)


if __name__ == "__main__":
    main()
