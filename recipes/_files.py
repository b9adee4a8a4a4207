"""What the recipes about files of others share: a file beside its card, commands one after the other, and the numbers of several runs against expected.json."""
import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Iterator, Sequence

import click
from _evaluating import numbers, settle

CARD, MLPERF = Path(__file__).resolve().parents[1] / "docs/cards/kws_ref_model.tflite.toml", "kws_ref_model"  # for both files of MLPerf Tiny


def put(file: Path, folder: Path, front_end: dict[str, Any] | None = None) -> str:
    """Copy a `.tflite` or `.onnx` file and its card into a folder; returns its word there.

    Keys of the card's front end are changed where given. The files of MLPerf Tiny need no card beside them: docs/cards/ has it.
    """
    import tomli_w

    from speechadv import config
    from speechadv.errors import InputError, shown
    from speechadv.models.card import card_path

    if file.suffix not in (".tflite", ".onnx") or not file.is_file():
        raise InputError(f"'{shown(file)}': expected a .tflite or .onnx file that is there")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / file.name)
    own = card_path(file)
    card = config.read(CARD if not own.exists() and file.name.startswith(MLPERF) else own)
    card["front_end"] = card["front_end"] | (front_end or {})
    card_path(folder / file.name).write_text(tomli_w.dumps(card), encoding="utf-8")
    return f"{file.suffix[1:]}:{file.name}"


def started(recipe: click.Command) -> None:
    """Run a recipe's command; errors of ours are one line and exit status 2."""
    from speechadv.cli import complain
    from speechadv.errors import SpeechAdvError
    from speechadv.memory import keep_freed

    keep_freed()
    try:
        recipe()
    except SpeechAdvError as problem:
        sys.exit(complain(str(problem)))


def command(*words: Any) -> None:
    """One command of speechadv; its exit status ends the recipe unless it is 0."""
    from speechadv.cli import run

    status = run([str(word) for word in words])
    if status:
        raise SystemExit(status)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder for a while, so that the words of models are names of files there, wherever it lies."""
    before = Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def overrides(words: Sequence[str]) -> list[str]:
    """`--set` in front of each."""
    return [part for word in words for part in ("--set", word)]


def judged(folder: Path, runs: Sequence[Path], options: str, is_quick: bool, record: bool, check: bool, card: dict[str, float] | None = None) -> None:
    """Write the numbers of runs, each under its folder's name, into expected.json, or compare them with it; exit status 1 where they differ.

    `options` are those of the command that made the committed numbers, the rehearsal aside; `card` are numbers of a model card, where one is made.
    """
    found = {f"{run.name}|{cell}": rates for run in runs for cell, rates in numbers(run).items()} | ({"validation": card} if card else {})
    settle(folder, found, quick=is_quick, record=record, check=check, options="" if is_quick else options)
