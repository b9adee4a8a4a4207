"""A run as it lies on disk: what figures and the page are made from."""
import json
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import audio
from ..errors import InputError, shown

SAMPLE_RATE = 16000  # Hz, of a run's sound files


@dataclass(frozen=True)
class SavedRun:
    """The files of a run, read when they are asked for.

    Args:
        folder: the run.
    """

    folder: Path

    def __post_init__(self):
        if not (self.folder / "rows.jsonl").is_file():
            raise InputError(f"'{shown(self.folder)}': expected a run, there is no rows.jsonl in it")

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a clip and cell, in the order of the file."""
        from ..evaluation.rows import read_finished

        return read_finished(self.folder / "rows.jsonl")

    @cached_property
    def result(self) -> dict[str, Any]:
        """The aggregates: {"cells": [...], "flags": [...]}."""
        return self._json("result.json")

    @property
    def cells(self) -> list[dict[str, Any]]:
        return self.result.get("cells", [])

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, seed, command; empty where the file is missing."""
        return self._json("environment.json") if (self.folder / "environment.json").is_file() else {}

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

    def path(self, name: str) -> Path:
        """The path of a file that a row names. Raises InputError where the name leads out of the run."""
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(f"'{shown(self.folder / 'rows.jsonl')}': the file '{shown(name)}' lies outside the run")
        return path

    def sound(self, name: str) -> np.ndarray:
        """float32 (time,) of a sound file that a row names."""
        return audio.read(self.path(name), SAMPLE_RATE)

    def pair(self, row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """(clean, adversarial), each float32 (time,), of a row with sound."""
        return self.sound(row["clean_audio"]), self.sound(row["adversarial_audio"])

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"'{shown(self.folder)}': there is no {name} in it; make it with `speechadv report`") from None
        except ValueError as problem:
            raise InputError(f"'{shown(path)}': expected JSON: {shown(problem)}") from None
        if not isinstance(content, dict):
            raise InputError(f"'{shown(path)}': expected a JSON object")
        return content


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file without checksums. Raises InputError."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError) as problem:
        raise InputError(f"'{shown(path)}': expected a JSON object a line ({type(problem).__name__})") from None


def has_sound(row: dict[str, Any]) -> bool:
    """Whether the clean and the adversarial clip of a row were saved."""
    return bool(row.get("clean_audio") and row.get("adversarial_audio"))


def outcome(row: dict[str, Any]) -> str:
    """What became of a clip: "wrong before", "target heard", "other word heard" or "still right"."""
    if row["clean_prediction"] != row["label"]:
        return "wrong before"
    if row["target"] is not None and row["adversarial_prediction"] == row["target"]:
        return "target heard"
    return "still right" if row["adversarial_prediction"] == row["label"] else "other word heard"
