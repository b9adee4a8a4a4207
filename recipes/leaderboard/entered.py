"""Entries of the leaderboard: a file of a dozen lines each, checked, and its model brought to where the runs are."""
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

from _files import put

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
FILES = (".safetensors", ".tflite", ".onnx", ".pt", ".pt2")
VARIABLE = "SPEECHADV_MODELS"  # a folder with files that are not in the repository
MODELS = "models"  # folder of the board that holds copies


@dataclass(frozen=True)
class Entry:
    """What an entry's file says.

    Attributes:
        model: a word of --model; a file is looked for beside the entry, then in the folder that SPEECHADV_MODELS names.
        who: made it.
        source: where it is from: an address, a recipe, a licence.
        about: a line for the table.
        defense: in front of it, such as "mp3:32".
        trust: the model is a program, or its card names one, and may run.
    """

    model: str
    who: str
    source: str
    about: str = ""
    defense: str = "none"
    trust: bool = False


class Missing(Exception):
    """The entry's file is not on this machine."""


def read_entry(path: Path) -> Entry:
    """An entry from its file. Raises ConfigError: one line that names the file and the key."""
    from speechadv import config as configs
    from speechadv.defenses import defense_name, parse_defense
    from speechadv.errors import ConfigError, SpeechAdvError, shown

    named = f"entry '{shown(path.name)}'"
    if not NAME.fullmatch(path.stem):
        raise ConfigError(f"{named}: expected a name of small letters, digits, dots, dashes and underscores")
    try:
        entry = configs.from_dict(Entry, configs.read(path), named)
    except ConfigError as problem:
        raise ConfigError(str(problem).replace(f"config '{shown(path)}'", named, 1).replace("keys such as models, attacks, budgets", "model, who, source")) from None
    for key in ("model", "who", "source"):
        configs.require(bool(getattr(entry, key).strip()), key, "a text", "nothing", named)
    try:
        chain = parse_defense(entry.defense)
    except SpeechAdvError as problem:
        raise ConfigError(f"{named}: {problem}") from None
    configs.require(entry.defense == defense_name(chain), "defense", f"'{defense_name(chain)}'", shown(entry.defense), named)
    return entry


def entries_of(folder: Path, wanted: Sequence[str], notice: Callable[[str], None]) -> dict[str, Entry]:
    """The entries of a folder by their names, sorted; those that were asked for, or all whose files are here.

    Raises ConfigError: none there, an unknown name, a broken entry. InputError: a wanted entry's file is missing.
    """
    from speechadv.errors import ConfigError, InputError, shown
    from speechadv.registry import closest

    known = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    if not known:
        raise ConfigError(f"--entries '{shown(folder)}': expected a folder with NAME.toml, found none")
    for name in wanted:
        if name not in known:
            raise ConfigError(f"--entry '{shown(name)}': no such entry{closest(name, known)} (known: {', '.join(known)})")
    found = {}
    for name in sorted(wanted) or known:
        entry = read_entry(known[name])
        try:
            file_of(entry, folder)
        except Missing as problem:
            if wanted:
                raise InputError(f"entry '{name}': {problem}") from None
            notice(f"entry '{name}' is left out: {problem}")
            continue
        found[name] = entry
    return found


def file_of(entry: Entry, folder: Path) -> tuple[str, Path] | None:
    """("tflite:", path) of the file that an entry's word names, None for a word without a file. Raises Missing."""
    kind, colon, rest = entry.model.partition(":")
    prefix, name = (f"{kind}:", rest) if colon and kind in ("tflite", "onnx", "torchscript", "torch-export") else ("", entry.model)
    if not prefix and Path(name).suffix not in FILES:
        return None
    places = [folder, *(Path(place) for place in [os.environ.get(VARIABLE)] if place)]
    for place in places:
        if (place / name).is_file():
            return prefix, (place / name).resolve()
    raise Missing(f"'{name}' is neither beside it nor in the folder that {VARIABLE} names" + ("" if len(places) > 1 else f" ({VARIABLE} is not set)"))


def brought(entry: Entry, folder: Path, board: Path) -> str:
    """The word of an entry's model inside the board's folder, where files are copied to with their cards. Raises SpeechAdvError."""
    file = file_of(entry, folder)
    if file is None:
        if ":" in entry.model and str(folder) not in sys.path:
            sys.path.append(str(folder))  # a factory's module may lie beside its entry; last, so that nothing there stands in for a library
        return entry.model
    prefix, path = file
    if path.suffix in (".tflite", ".onnx"):
        put(path, board / MODELS)
    else:
        (board / MODELS).mkdir(parents=True, exist_ok=True)
        for part in (path, path.with_suffix(".json"), Path(f"{path}.toml")):
            if part.is_file():
                shutil.copyfile(part, board / MODELS / part.name)
    return f"{prefix}{MODELS}/{path.name}"
