"""A run as it lies on disk: what figures and the page are made from."""
import json
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Sequence

import numpy as np

from .. import audio
from ..errors import InputError, shown

SAMPLE_RATE = 16000  # Hz, of a run's sound files
DEFENDED = "defended.jsonl"
DEFENDED_TEXTS = ("file", "defense", "clean_audio", "defended_audio")
FOOLED = ("target heard", "other word heard")  # outcomes
DEFENDED_KEYS = {*DEFENDED_TEXTS, "seconds", "snr_db"}


@dataclass(frozen=True)
class Saved:
    """A folder that a command left, its files read when they are asked for.

    Args:
        folder: of the run.

    Raises:
        InputError: the file with its rows is not there.
    """

    folder: Path
    file: ClassVar[str]  # with a line a row

    def __post_init__(self):
        if not (self.folder / self.file).is_file():
            raise InputError(f"'{shown(self.folder)}': expected a run, there is no {self.file} in it")

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, seed, command; empty where the file is missing."""
        from ..evaluation.folder import read_environment

        return read_environment(self.folder)

    def path(self, name: str) -> Path:
        """The path of a file that a row names. Raises InputError where the name leads out of the run."""
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(f"'{shown(self.folder / self.file)}': the file '{shown(name)}' lies outside the run")
        return path

    def sound(self, name: str) -> np.ndarray:
        """float32 (time,) of a sound file that a row names."""
        return audio.read(self.path(name), SAMPLE_RATE)

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"'{shown(self.folder)}': there is no {name} in it; make it with `speechadv report`") from None
        except (ValueError, RecursionError) as problem:
            raise InputError(f"'{shown(path)}': expected JSON: {shown(problem)}") from None
        if not isinstance(content, dict):
            raise InputError(f"'{shown(path)}': expected a JSON object")
        return content


class SavedRun(Saved):
    """The files of an evaluation, a demo or an attack."""

    file = "rows.jsonl"

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a clip and cell, in the order of the file."""
        from ..evaluation.rows import read_finished

        return read_finished(self.folder / self.file)

    @cached_property
    def result(self) -> dict[str, Any]:
        """The aggregates: {"cells": [...], "flags": [...]}."""
        return self._json("result.json")

    @property
    def cells(self) -> list[dict[str, Any]]:
        return self.result.get("cells", [])

    @cached_property
    def config_text(self) -> str:
        """config.toml as it stands; empty where the file is missing."""
        path = self.folder / "config.toml"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    @cached_property
    def config(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.config_text)
        except tomllib.TOMLDecodeError as problem:
            raise InputError(f"'{shown(self.folder / 'config.toml')}': expected TOML: {shown(problem)}") from None

    def pair(self, row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """(clean, adversarial), each float32 (time,), of a row with sound."""
        return self.sound(row["clean_audio"]), self.sound(row["adversarial_audio"])


class SavedDefense(Saved):
    """The files of `speechadv defend`: a line of defended.jsonl a file that was sent through."""

    file = DEFENDED

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a file, with the keys of a run's rows that it has. Raises InputError."""
        rows = read_lines(self.folder / self.file)
        for number, row in enumerate(rows, 1):
            if not isinstance(row, dict) or not DEFENDED_KEYS <= row.keys() or not all(isinstance(row[key], str) for key in DEFENDED_TEXTS):
                raise InputError(f"'{shown(self.folder / self.file)}': line {number}: expected an object with {', '.join(sorted(DEFENDED_KEYS))}")
        return [{"clip": row["file"], "adversarial_audio": row["defended_audio"], **row} for row in rows]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file without checksums. Raises InputError."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError, RecursionError) as problem:
        raise InputError(f"'{shown(path)}': expected a JSON object a line ({type(problem).__name__})") from None


def has_sound(row: dict[str, Any]) -> bool:
    """Whether the clean and the adversarial clip of a row were saved."""
    return bool(row.get("clean_audio") and row.get("adversarial_audio"))


def outcome(row: dict[str, Any]) -> str | None:
    """What became of a clip: "wrong before", "target heard", "other word heard" or "still right"; None where no network was asked."""
    if "clean_prediction" not in row:
        return None
    if row["clean_prediction"] != row["label"]:
        return "wrong before"
    if row["target"] is not None and row["adversarial_prediction"] == row["target"]:
        return "target heard"
    return "still right" if row["adversarial_prediction"] == row["label"] else "other word heard"


def first_shown(rows: Sequence[dict[str, Any]]) -> int:
    """The place of the row that best shows what an attack is: of a spoken word, and fooled, as far as there is one."""
    def shows(row: dict[str, Any]) -> tuple[bool, bool]:
        return outcome(row) in FOOLED, not str(row.get("label", "")).startswith("_")

    return max(range(len(rows)), key=lambda place: shows(rows[place]))


def history(path: Path) -> list[dict[str, Any]]:
    """The epochs of a training run. Raises InputError."""
    lines = read_lines(path)
    whole = all(isinstance(line, dict) and "epoch" in line and all(isinstance(value, (int, float)) for value in line.values()) for line in lines)
    if not lines or not whole:
        raise InputError(f"'{shown(path)}': expected a line an epoch, with the key 'epoch' and numbers alone")
    return lines
