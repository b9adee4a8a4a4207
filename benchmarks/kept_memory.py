"""What it costs that the C library gives memory back: page faults and time of a forward and backward pass, as a process comes, with one limit of malloc set, and with
`speechadv.memory.keep_freed`, which sets both.

    python -m benchmarks.kept_memory

Each measurement is a process of its own, since limits hold for a whole process; rounds alternate. Prints medians and ranges, and writes results/kept_memory.csv.
"""
import ctypes
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

from .rows import keep

CLIPS, PASSES = 64, 10
WAYS = ("as it comes", "one limit", "kept")


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/kept_memory.csv"), show_default=True)
@click.option("--way", type=click.Choice(WAYS), hidden=True)
def main(rounds, out, way):
    """Count page faults and milliseconds of a pass of `resnet` over 64 clips.

    Example: python -m benchmarks.kept_memory --rounds 5
    """
    if way:
        return click.echo(json.dumps(measured(way)))
    found = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name in WAYS:
            found[name].append(of_process(name))
    keep([{"way": name, "page_faults_a_pass": round(statistics.median(each["faults"] for each in taken)), "ms_a_pass": round(statistics.median(each["ms"] for each in taken), 1),
           "low": round(min(each["ms"] for each in taken), 1), "high": round(max(each["ms"] for each in taken), 1), "peak_mib": max(each["peak_mib"] for each in taken)}
          for name, taken in found.items()], out)


def of_process(way: str) -> dict[str, float]:
    """What a new process measures: {"faults", "ms"} a pass and "peak_mib" of it all. Raises click.ClickException: the C library has no such limits."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.kept_memory", "--way", way], capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException((done.stderr.strip().splitlines() or ["the process died"])[-1])
    return json.loads(done.stdout)


def measured(way: str) -> dict[str, float]:
    """See `of_process`; in this very process."""
    import resource

    import torch

    from speechadv import load_model
    from speechadv.memory import M_TRIM_THRESHOLD, keep_freed
    from speechadv.models.layers import folded

    if way == "kept" and not keep_freed():
        raise click.ClickException("not glibc")
    if way == "one limit":
        ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    model, clips = folded(load_model("resnet")), torch.zeros(CLIPS, 16000)

    def passes() -> None:
        for _ in range(PASSES):
            heard = clips.clone().requires_grad_()
            torch.autograd.grad(model(heard).sum(), heard)

    def faults() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    passes()
    before, started = faults(), time.perf_counter()
    passes()
    seconds = time.perf_counter() - started
    return {"faults": (faults() - before) / PASSES, "ms": 1000 * seconds / PASSES, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


if __name__ == "__main__":
    main()
