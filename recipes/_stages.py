"""What recipes of several trainings share: stages in order, each of which goes on after a kill, their time, and one table."""
import functools
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Iterable, Sequence

import click
from _training import QUICK, QUICK_ADVERSARY

QUICK_SIZES = {"resnet": "widths=[6, 8]", "tc_resnet8": "widths=[6, 8]", "bc_resnet1": "width=4"}  # a rehearsal is about the way, not about the networks
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


def training_options(out: str, quick: str, changes: str) -> Callable:
    """The options that recipes of several trainings share; the help of three of them is the recipe's own."""
    options = [
        click.option("--out", type=click.Path(path_type=Path), required=True, help=out),
        click.option("--quick", is_flag=True, help=f"A rehearsal on the bundled synthetic clips; {quick}."),
        click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help=changes),
        click.option("--threads", type=click.IntRange(1), help="Threads of torch."),
        click.option("--device", default="cpu", show_default=True),
        click.option("--check", is_flag=True, help="Compare with expected.json; exit status 1 where a number is farther away than its tolerance."),
        click.option("--record", is_flag=True, help="Write the numbers of this run into expected.json.")]
    return lambda function: functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), function)


def use_threads(threads: int | None) -> None:
    """So many threads of torch from here on, or as many as there are."""
    import torch

    torch.set_num_threads(threads or torch.get_num_threads())


def plainly(command: Callable[[Stage], str], device: str) -> Learn:
    """Training as `speechadv train` does it; `command` says what makes a stage again."""
    from speechadv.training.run import train

    def learn(stage: Stage, folder: Path, progress: Callable) -> Path:
        click.echo(f"{stage.folder}:", err=True)
        return train(stage.settings, folder, device=device, command=command(stage), progress=progress, say=lambda line: click.echo(line, err=True))

    return learn


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
    entries = configs.read(folder / "config.toml")["stages"]
    last = {configs.load(TrainingConfig, folder / entry["config"]).name: entry["folder"] for entry in entries}  # of each network: what the package holds
    for entry in entries:
        path, start = folder / entry["config"], found.get(entry.get("start"))
        plain = configs.load(TrainingConfig, path)
        words = [*rehearsed(plain, quick), *changes, *entry.get("set", ())]
        if start:
            own = start.settings.name
            if own in packaged and last[own] != start.folder and plain.name not in packaged:
                raise ConfigError(f"--packaged {own}: '{entry['folder']}' starts from '{start.folder}', and the package holds '{last[own]}'; "
                                  f"train {own}, or --packaged {plain.name} as well")
            words.append(f"start_from='{own if own in packaged else start.weights(out)}'")
        elif "start" in entry:
            raise ConfigError(f"'{folder.name}/config.toml': '{entry['folder']}' starts from '{entry['start']}', which no stage before it makes")
        found[entry["folder"]] = Stage(entry["folder"], configs.load(TrainingConfig, path, words), entry)
    if unknown := set(packaged) - {stage.settings.name for stage in found.values()}:
        raise ConfigError(f"--packaged: no stage makes '{sorted(unknown)[0]}'")
    return [stage for stage in found.values() if stage.settings.name not in packaged]


def with_voices(stage: Stage, voices: Path | None) -> Stage:
    """A stage that says `voices` with that folder beside whatever else only training may see; any other one as it is."""
    if voices is None or not stage.entry.get("voices"):
        return stage
    return replace(stage, settings=replace(stage.settings, train_only=[*stage.settings.train_only, str(voices)]))


def rehearsed(settings: Any, quick: bool) -> list[str]:
    """The overrides of the rehearsal."""
    if not quick:
        return []
    return [*QUICK, *(QUICK_ADVERSARY if settings.adversary else ()), f"model_options.{QUICK_SIZES[settings.model]}"]


def train_all(stages: Iterable[Stage], out: Path, learn: Learn, progress: Callable) -> None:
    """Train what is not finished, one stage after the other; the seconds of each try are kept in times.jsonl."""
    for stage in stages:
        if stage.finished(out):
            click.echo(f"{stage.folder}: finished before", err=True)
            continue
        wall, cpu = time.monotonic(), time.process_time()
        try:
            learn(stage, out / stage.folder, progress)
        finally:
            row = {"stage": stage.folder, "seconds": round(time.monotonic() - wall, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}
            out.mkdir(parents=True, exist_ok=True)
            with open(out / "times.jsonl", "a", encoding="ascii") as file:  # one short line: two processes at work in one folder do not tear it
                file.write(json.dumps(row) + "\n")


def trained(folder: Path, out: Path, command: str, changes: Sequence[str], quick: bool, threads: int | None, device: str) -> list[Stage]:
    """The stages of a recipe that trains all of them plainly, finished; `command` makes it again, the rest is as in `stages_of` and `use_threads`."""
    from speechadv.cli.common import Voice

    stages = stages_of(folder, out, changes, quick)
    use_threads(threads)
    train_all(stages, out, plainly(lambda stage: command, device), Voice().progress)
    return stages


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
        tries = [row for row in times if row["stage"] == stage.folder]
        spent = {key: round(sum(row[key] for row in tries), 1) if tries else None for key in ("seconds", "cpu_seconds")}
        rows.append({"stage": stage.folder, "network": card["name"], "parameters": card["parameters"], "epochs": stage.settings.epochs,
                     "best_epoch": results["epoch"], **{key: results.get(key) for key in COLUMNS[5:9]}, **spent})
    return rows


RATES = {"accuracy": "clips", "robust_accuracy": "attacked_clips"}  # and what they are of
INTERVALS = ("clips", *(f"{rate}_{end}" for rate in RATES for end in ("low", "high")))


def with_intervals(row: dict[str, Any], stage: Stage, out: Path) -> dict[str, Any]:
    """A row of the table with the clips and the 95 % intervals of its two rates, fractions of 1."""
    from speechadv.evaluation.statistics import wilson
    from speechadv.models.pretrained import read_card

    row = row | {"clips": read_card(stage.weights(out))["results"]["validation"]["clips"]}
    for rate, clips in RATES.items():
        row[f"{rate}_low"], row[f"{rate}_high"] = wilson(round(row[rate] * row[clips]), row[clips])
    return row


def write_table(rows: Sequence[dict[str, Any]], out: Path, extra: Sequence[str] = ()) -> str:
    """table.csv and table.md of the rows; returns the latter. `extra` columns come last."""
    from speechadv.audio import write_bytes
    from speechadv.report.tables import csv_text, markdown_table

    columns = (*COLUMNS, *extra)
    content = markdown_table(columns, [[shown_as(column, row.get(column)) for column in columns] for row in rows]) + "\n"
    write_bytes(out / "table.csv", csv_text(columns, rows).encode("utf-8"))
    write_bytes(out / "table.md", content.encode("utf-8"))
    return content


def shown_as(column: str, value: Any) -> str:
    """A cell of the table for people."""
    if value is None:
        return ""
    return f"{100 * value:.2f} %" if "accuracy" in column else f"{value:,.0f}" if isinstance(value, (int, float)) else str(value)


def accuracies(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """{stage: {"accuracy", "robust_accuracy"}}, for expected.json."""
    return {row["stage"]: {key: row[key] for key in ("accuracy", "robust_accuracy")} for row in rows}
