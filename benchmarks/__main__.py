"""All comparisons, or some: `python -m benchmarks [--only NAME]...`. Writes results/benchmarks.json and .md."""
import datetime
import importlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Sequence

import click

from speechadv.cli.common import checked_device
from speechadv.errors import SpeechAdvError
from speechadv.memory import keep_freed

from . import scale, timing
from .comparisons import ON_DEVICE, WHERE

SCALE = "scale"  # no comparison: results/scale.md, benchmarks/scale.py


@click.command()
@click.option("--only", multiple=True, type=click.Choice(sorted([*WHERE, SCALE])), help="This comparison; may be given several times. scale: a cluster on this machine.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--quick", is_flag=True, help="Tiny inputs and one round, to see that everything runs; the figures mean nothing.")
@click.option("--device", help="Where networks run: cpu, cuda or cuda:N. Default: the CPU, and then those that run a network on the GPU too, if there is one, into OUT/gpu.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Default: results, with --quick runs/benchmarks.")
def main(only, rounds, quick, device, out):
    """Measure ours beside theirs, in turn, in this process.

    What is measured replaces its line in OUT/benchmarks.json; the other lines stay.

    Example: python -m benchmarks --only mp3 --only front_end
    """
    out = out or Path("runs/benchmarks" if quick else "results")
    keep_freed()  # for theirs as for ours
    for place, folder, names in passes(device, out, only or list(WHERE)):
        try:
            timing.use(checked_device(place))
        except SpeechAdvError as problem:
            raise click.UsageError(str(problem)) from None
        check_machine(folder, partial=bool(only))
        for name in names:
            click.echo(f"{name} …", err=True)
            if name == SCALE:
                scale.measure(quick, rounds, folder, machine())
            else:
                compare(name, folder, quick, rounds)


def passes(device: str | None, out: Path, names: Sequence[str]) -> list[tuple[str, Path, Sequence[str]]]:
    """(device, folder, comparisons) one after another."""
    import torch

    if device or not torch.cuda.is_available():
        return [(device or "cpu", out, names)]
    return [("cpu", out, names), ("cuda", out / "gpu", [name for name in names if name in ON_DEVICE])]


def compare(name: str, out: Path, quick: bool, rounds: int) -> None:
    """Measure one comparison and keep its row; where it cannot be measured here, a row of before would mislead and is dropped."""
    module = importlib.import_module(f"benchmarks.comparisons.{WHERE[name]}")
    try:
        comparison = getattr(module, re.sub(r"\W+", "_", name))(quick)
    except (ImportError, click.ClickException) as problem:
        click.echo(f"{name}: left out: {problem} (peers: pip install -e '.[bench]', torchattacks with --no-deps)", err=True)
        return keep([], out, without=name)
    row = timing.measure(comparison, 1 if quick else rounds, warm=not quick) | {"date": datetime.date.today().isoformat(), "revision": revision(), "load": os.getloadavg()[0]}
    click.echo(line(row))
    keep([row], out)


def revision() -> str | None:
    """Of the code, with a + where files differ from it; None outside a clone."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None


def check_machine(out: Path, partial: bool) -> None:
    """One line of the files says what all in them was measured on. Figures of another machine make room for a whole run; beside a `partial` one they would
    stay: UsageError."""
    path, here = out / "benchmarks.json", machine()
    there = json.loads(path.read_text(encoding="utf-8"))["machine"] if path.exists() else here
    odd = next((key for key in ("processor", "cores", "gpu", "threads") if there.get(key) != here[key]), None)
    if odd and not partial:
        path.unlink()
    elif odd:
        raise click.UsageError(f"--out '{out}': holds figures of another machine ({odd}: {there.get(odd)}, here {here[odd]}); name another folder")


def keep(rows: list[dict], out: Path, without: str | None = None) -> None:
    """Put the rows into the two files, in the order of the table, and take one out of them."""
    path = out / "benchmarks.json"
    old = json.loads(path.read_text(encoding="utf-8"))["comparisons"] if path.exists() else []
    merged = {row["name"]: row for row in old} | {row["name"]: row for row in rows}
    rows = [merged[name] for name in WHERE if name in merged and name != without]
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), "comparisons": rows}, indent=1) + "\n", encoding="utf-8")
    (out / "benchmarks.md").write_text(page(rows), encoding="utf-8")


def machine() -> dict:
    """Hardware, versions and threads."""
    import importlib.metadata

    import torch

    from speechadv.evaluation.environment import hardware, versions

    peers = {}
    for name in ("torchattacks", "foolbox", "adversarial-robustness-toolbox"):
        try:
            peers[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            peers[name] = None
    return hardware(timing.device()) | {"threads": torch.get_num_threads(), "load": os.getloadavg()[0], "packages": versions() | peers}


def line(row: dict) -> str:
    """A row for the terminal."""
    return (f"{row['name']}: ours {row['ours']:.3g}, theirs {row['theirs']:.3g} {row['unit']} ({row['against']}); ratio {row['ratio']:.2f} "
            f"({row['low']:.2f} to {row['high']:.2f}), aim {row['aim']:.2f}: {'reached' if row['reached'] else 'missed'}" + "".join(f"\n  {n}" for n in row["notes"]))


def page(rows: list[dict]) -> str:
    """The table in Markdown."""
    about = machine()
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items() if version)
    lines = ["# Benchmarks", "", f"`make bench` on {about['processor']}, {about['cores']} cores, {about['threads']} threads, GPU: {about['gpu'] or 'none'}. {packages}.", "",
             "Ours and theirs in turn, in one process; medians of the rounds. The ratio is the larger the better, with its lowest and highest round. "
             "benchmarks.json has the date, revision and load of each row.", "",
             "| what | ours | theirs | unit | against | ratio | spread | aim | |", "|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        lines.append(f"| `{row['name']}` | {row['ours']:.3g} | {row['theirs']:.3g} | {row['unit']} | {row['against']} | {row['ratio']:.2f} | "
                     f"{row['low']:.2f} to {row['high']:.2f} | {row['aim']:.2f} | {'reached' if row['reached'] else '**missed**'} |")
    lines += ["", *(f"- `{row['name']}`: {'; '.join(row['notes'])}." for row in rows if row["notes"]), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
