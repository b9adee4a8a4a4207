"""What recipes of several trainings share: stages in order, each of which goes on after a kill, their time, one table, and the check against expected.json."""
import contextlib
import csv
import io
import json
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Iterable, Sequence

import click
from _evaluating import QUICK_TOLERANCE, TOLERANCE, expected_part
from _files import near
from _training import QUICK, QUICK_ADVERSARY

QUICK_WIDTHS = {"resnet": "[6, 8]", "tc_resnet8": "[6, 8]"}  # a rehearsal is about the way, not about the networks
COLUMNS = ("stage", "network", "parameters", "epochs", "best_epoch", "accuracy", "robust_accuracy", "budget", "attacked_clips", "seconds", "cpu_seconds")


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        folder: its name inside the folder of the run.
        settings: its config, a `speechadv.training.settings.TrainingConfig`.
        entry: the stage's table in the recipe's config.toml.
    """

    folder: str
    settings: Any
    entry: dict[str, Any]

    def weights(self, out: Path) -> Path:
        """Where the weights lie once it is finished."""
        return out / self.folder / f"{self.settings.name}.safetensors"

    def finished(self, out: Path) -> bool:
        """Whether this very training has ended in weights with a card."""
        from speechadv import config as configs

        kept = out / self.folder / "config.toml"
        there = all(path.exists() for path in (kept, self.weights(out), self.weights(out).with_suffix(".json")))
        return there and configs.load(type(self.settings), kept) == self.settings  # a key that is newer than the run has its default


Learn = Callable[[Stage, Path, Callable], Path]  # (stage, its folder, what wraps the batches of an epoch) -> weights


class Stopped(Exception):
    """A stage has had as many epochs as its `stop_after` gives it."""


def stages_of(folder: Path, out: Path, changes: Sequence[str], quick: bool, packaged: Sequence[str] = ()) -> list[Stage]:
    """The stages of a recipe's config.toml, in order, but for the networks that are taken from the package.

    Args:
        folder: of the recipe.
        out: of the run: a stage starts from what another one has left there.
        changes: key=value, for all stages.
        quick: make them the rehearsal on bundled clips.
        packaged: networks whose weights in the package are good enough.

    Raises:
        ConfigError: a config is broken, or names what is not there.
    """
    from speechadv import config as configs
    from speechadv.errors import ConfigError
    from speechadv.training.settings import TrainingConfig

    found: dict[str, Stage] = {}
    for entry in configs.read(folder / "config.toml")["stages"]:
        path, start = folder / entry["config"], found.get(entry.get("start"))
        plain = configs.load(TrainingConfig, path)
        words = [*rehearsed(plain, quick), *changes, *entry.get("set", ())]
        if start:
            own = start.settings.name
            words.append(f"start_from='{own if own in packaged else start.weights(out)}'")
        elif "start" in entry:
            raise ConfigError(f"'{folder.name}/config.toml': '{entry['folder']}' starts from '{entry['start']}', which no stage before it makes")
        if quick and "stop_after" in entry:
            entry = entry | {"stop_after": 1}
        found[entry["folder"]] = Stage(entry["folder"], configs.load(TrainingConfig, path, words), entry)
    if unknown := set(packaged) - {stage.settings.name for stage in found.values()}:
        raise ConfigError(f"--packaged: no stage makes '{sorted(unknown)[0]}'")
    return [stage for stage in found.values() if stage.settings.name not in packaged]


def rehearsed(settings: Any, quick: bool) -> list[str]:
    """The overrides of the rehearsal."""
    if not quick:
        return []
    return [*QUICK, *(QUICK_ADVERSARY if settings.adversary else ()), f"model_options.widths={QUICK_WIDTHS[settings.model]}"]


def train_all(stages: Iterable[Stage], out: Path, learn: Learn, progress: Callable) -> None:
    """Train what is not finished, one stage after the other; the seconds of each try are kept in times.jsonl.

    `stop_after` in a stage's entry ends it after so many of the epochs that its schedule was made for, with the weights that did best on validation until then.
    """
    for stage in stages:
        if stage.finished(out):
            click.echo(f"{stage.folder}: finished before", err=True)
            continue
        wall, cpu = time.monotonic(), time.process_time()
        try:
            with contextlib.suppress(Stopped):
                learn(stage, out / stage.folder, stopping(progress, stage.entry.get("stop_after")))
            if "stop_after" in stage.entry:
                conclude(stage, out / stage.folder, learn, progress)
        finally:
            row = {"stage": stage.folder, "seconds": round(time.monotonic() - wall, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}
            out.mkdir(parents=True, exist_ok=True)
            with open(out / "times.jsonl", "a", encoding="ascii") as file:  # one short line: two processes at work in one folder do not tear it
                file.write(json.dumps(row) + "\n")


def stopping(progress: Callable, last: int | None) -> Callable:
    """`progress`, which ends a stage where the epoch after the last one begins."""

    def wrapped(items, label: str):
        if last is not None and label.startswith(f"epoch {last + 1} of "):
            raise Stopped
        return progress(items, label)

    return wrapped


def conclude(stage: Stage, folder: Path, learn: Learn, progress: Callable) -> None:
    """Weights and card of a stage that was stopped, from its checkpoint; the card keeps the schedule and says after which epoch it ended."""
    from speechadv.audio import write_bytes

    last = stage.entry["stop_after"]
    with tempfile.TemporaryDirectory() as aside:
        shutil.copy(folder / "checkpoint.pt", aside)
        (Path(aside) / "config.toml").write_text(dumped(shorter := replace(stage.settings, epochs=last)), encoding="utf-8")
        weights = learn(replace(stage, settings=shorter), Path(aside), progress)
        card = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
        card["recipe"]["epochs"], card["stopped_after"] = stage.settings.epochs, last
        write_bytes(folder / weights.name, weights.read_bytes())
        write_bytes(folder / f"{stage.settings.name}.json", (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))


def dumped(settings: Any) -> str:
    """A config as training writes it."""
    from speechadv import config as configs

    return configs.dumps(settings)


def table(stages: Iterable[Stage], out: Path) -> list[dict[str, Any]]:
    """A row for each finished stage: what its card says of validation, and the seconds of all its tries."""
    kept = out / "times.jsonl"
    times = [json.loads(line) for line in kept.read_text(encoding="ascii").splitlines()] if kept.exists() else []
    rows = []
    for stage in stages:
        if not stage.finished(out):
            continue
        card = json.loads(stage.weights(out).with_suffix(".json").read_text(encoding="utf-8"))
        results = card["results"]["validation"]
        spent = {key: round(sum(row[key] for row in times if row["stage"] == stage.folder), 1) for key in ("seconds", "cpu_seconds")}
        rows.append({"stage": stage.folder, "network": card["name"], "parameters": card["parameters"], "epochs": stage.entry.get("stop_after", stage.settings.epochs),
                     "best_epoch": results["epoch"], **{key: results.get(key) for key in COLUMNS[5:9]}, **spent})
    return rows


def write_table(rows: Sequence[dict[str, Any]], out: Path, extra: Sequence[str] = ()) -> str:
    """table.csv and table.md of the rows; returns the latter. `extra` columns come last."""
    from speechadv.audio import write_bytes

    columns = (*COLUMNS, *extra)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(shown_as(column, row.get(column)) for column in columns) + " |" for row in rows]
    content = "\n".join(lines) + "\n"
    write_bytes(out / "table.csv", buffer.getvalue().encode("utf-8"))
    write_bytes(out / "table.md", content.encode("utf-8"))
    return content


def shown_as(column: str, value: Any) -> str:
    """A cell of the table for people."""
    if value is None:
        return ""
    return f"{100 * value:.2f} %" if "accuracy" in column else f"{value:,.0f}" if isinstance(value, (int, float)) else str(value)


def judge(folder: Path, rows: Sequence[dict[str, Any]], command: str, quick: bool, record: bool, check: bool) -> None:
    """Write the accuracies of the rows into expected.json, or compare with it; exit status 1 where one is farther away than the tolerance."""
    found = {row["stage"]: {key: row[key] for key in ("accuracy", "robust_accuracy")} for row in rows}
    path = folder / "expected.json"
    if record:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        part = {"command": command + " --quick" * quick, "seed": 0, "tolerance": QUICK_TOLERANCE if quick else TOLERANCE, "numbers": found}
        content = content | {"quick": part} if quick else part | {key: content[key] for key in ("quick",) if key in content}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if check:
        expected = expected_part(folder, quick)
        far = [f"{stage}: {name}: expected {value} within {expected['tolerance']}, got {found.get(stage, {}).get(name)}"
               for stage, rates in expected["numbers"].items() for name, value in rates.items()
               if not near(found.get(stage, {}).get(name), value, expected["tolerance"])]
        click.echo("\n".join(far) or "as in expected.json")
        raise SystemExit(bool(far))
