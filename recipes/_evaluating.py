"""What the evaluation recipes share: the command line in front of `speechadv evaluate`, the quick rehearsal, and the check against expected.json."""
import json
from pathlib import Path
from typing import Any, Callable, Sequence

import click

QUICK = ("data=['bundled']",)
TOLERANCE = 0.03  # of a rate over hundreds of clips: other processors round other clips over the edge
QUICK_TOLERANCE = 0.34  # over a handful of clips: one or two of them


def evaluation_recipe(folder: Path, quick: Sequence[str], afterwards: Callable[[Path], None] = lambda out: None) -> click.Command:
    """The click command of an evaluation recipe's folder; `quick` are the overrides of the rehearsal, `afterwards` is given the folder of the finished run."""

    @click.command(epilog=f"Example: python recipes/{folder.name}/run.py --out runs/{folder.name} --quick")
    @click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run; a run that was stopped goes on.")
    @click.option("--quick", "is_quick", is_flag=True, help="A rehearsal on a few bundled synthetic clips; its numbers say nothing about real speech.")
    @click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of config.toml.")
    @click.option("--workers", type=int, default=1, show_default=True, help="Processes.")
    @click.option("--threads", type=int, help="Threads of torch in each process.")
    @click.option("--device", default="cpu", show_default=True)
    @click.option("--check", is_flag=True, help="Compare with expected.json; exit status 1 where a number is farther away than its tolerance.")
    @click.option("--record", is_flag=True, help="Write the numbers of this run into expected.json.")
    def recipe(out, is_quick, overrides, workers, threads, device, check, record):
        """Run the grid of config.toml; tables and a page to listen to are in the folder afterwards."""
        from speechadv.cli import run

        words = ["evaluate", str(folder / "config.toml"), "--out", str(out), "--workers", str(workers), "--device", device]
        for override in (*((*QUICK, *quick) if is_quick else ()), *overrides):
            words += ["--set", override]
        status = run([*words, *(["--threads", str(threads)] if threads else [])])
        if status:
            raise SystemExit(status)
        afterwards(out)
        settle(folder, numbers(out), quick=is_quick, record=record, check=check, seed=seed_of(out))

    return recipe


def numbers(out: Path) -> dict[str, Any]:
    """The rates of a run by cell: {"model|defense|attack|threat|budget|seed": {"clean_accuracy", "robust_accuracy", "targeted_success"}}."""
    cells = json.loads((out / "result.json").read_text(encoding="utf-8"))["cells"]
    names = ("model", "defense", "attack", "threat", "budget", "seed")
    return {"|".join(str(cell[name]) for name in names): {key: cell[key] for key in ("clean_accuracy", "robust_accuracy", "targeted_success")} for cell in cells}


def seed_of(out: Path) -> int:
    """The first seed of a run."""
    return json.loads((out / "environment.json").read_text(encoding="utf-8"))["seeds"][0]


def settle(folder: Path, found: dict[str, Any], *, quick: bool, record: bool, check: bool, options: str = "", seed: int = 0, tolerance: float = TOLERANCE) -> None:
    """Write the numbers of a run, or of its rehearsal, into expected.json, or compare them with it; exit status 1 where one is farther away than the tolerance.

    Args:
        folder: of the recipe.
        found: {cell: {name: number}}.
        quick: whether it was the rehearsal.
        record, check: what is wanted; nothing happens without either.
        options: of the command that made the numbers, `--out` and `--quick` aside.
        seed: of the run.
        tolerance: of numbers that are recorded; a rehearsal has its own.
    """
    path = folder / "expected.json"
    if record:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        words = ["python", f"recipes/{folder.name}/run.py", "--out", f"runs/{folder.name}", *options.split(), *["--quick"] * quick]
        part = {"command": " ".join(words), "seed": seed, "tolerance": QUICK_TOLERANCE if quick else tolerance, "numbers": found}
        content = content | {"quick": part} if quick else part | {key: content[key] for key in ("quick",) if key in content}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if check:
        differences = compare(found, expected_part(folder, quick))
        click.echo("\n".join(differences) or "as in expected.json")
        raise SystemExit(bool(differences))


def expected_part(folder: Path, is_quick: bool) -> dict[str, Any]:
    """What expected.json holds for the run, or for its rehearsal: command, seed, tolerance, numbers."""
    path = folder / "expected.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    part = content.get("quick", {}) if is_quick else content
    if "numbers" not in part:
        raise SystemExit(f"{path}: holds no numbers of this run yet; --record writes them")
    return part


def compare(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """A line for each expected number from which what was found is farther away than the tolerance."""
    return [f"{cell}: {name}: expected {value} within {expected['tolerance']}, got {found.get(cell, {}).get(name)}"
            for cell, rates in expected["numbers"].items() for name, value in rates.items() if not near(found.get(cell, {}).get(name), value, expected["tolerance"])]


def near(found: float | None, expected: float | None, tolerance: float) -> bool:
    """Whether both are missing, or at most `tolerance` apart."""
    return found is expected is None or None not in (found, expected) and abs(found - expected) <= tolerance
