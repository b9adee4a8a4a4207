"""The folder of a run: claimed by one process at a time, and only for the run that it holds."""
import contextlib
import json
from pathlib import Path
from typing import Any, Iterator

from .. import config as configs
from ..audio import ASIDE, write_bytes
from ..errors import ConfigError, InputError, shown
from ..locks import locked
from . import shapes
from .settings import EvaluationConfig

EARLIER = {EvaluationConfig: {"quality": []}}  # saved configs name every key: one without these is older than they are, and its rows have no such columns
CONFIG, ENVIRONMENT, ROWS, TIMING, PROBES, FAILED = "config.toml", "environment.json", "rows.jsonl", "timing.jsonl", "probes.json", "failed.jsonl"


@contextlib.contextmanager
def claimed(out: Path, config: EvaluationConfig, environment: dict[str, Any]) -> Iterator[Path]:
    """Make the folder or go on in it, and hold it until the end; another process on the same folder is refused.

    Args:
        out: the folder; a missing parent is made.
        config: of the run; written as config.toml, or compared with it.
        environment: written as environment.json, or its clips and models compared with it.

    Raises:
        InputError: foreign files, another config, other clips or weights, or another process works on it.
    """
    check(out, config, environment)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        check(out, config, environment)  # it may have been another run's in between
        if not (out / CONFIG).exists():
            write_bytes(out / CONFIG, configs.dumps(config).encode("utf-8"))
        if not (out / ENVIRONMENT).exists():
            write_json(out / ENVIRONMENT, environment)
        yield out


def check(out: Path, config: EvaluationConfig, environment: dict[str, Any]) -> None:
    """Raise InputError unless the folder is missing, empty, or holds this very run."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"--out '{shown(out)}': expected a folder, got a file")
    if not (out / CONFIG).exists():
        if any(not path.name.startswith(ASIDE) for path in out.iterdir()):
            raise InputError(f"--out '{shown(out)}': expected a new folder or a run to go on with, got foreign files")
        return
    held = read_config(out, type(config))
    key = differing(held.identity(), config.identity())
    if key:
        way = "go on with --set quality=[], or " if key == "quality" and not held.quality else ""  # so it is with runs of versions without the key
        raise InputError(f"--out '{shown(out)}': holds a run with another config ('{key}' differs); {way}name another folder")
    if (out / ENVIRONMENT).exists():
        before = read_environment(out)
        for part, words in (("clips", "other clips"), ("models", "other weights of its models")):
            if before.get(part) != environment[part]:
                raise InputError(f"--out '{shown(out)}': was begun with {words}; name another folder")


def differing(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """The first key in which two configs differ."""
    return next((key for key in sorted({*before, *now}) if before.get(key) != now.get(key)), None)


def read_config(run: Path, kind: type = EvaluationConfig) -> Any:
    """The config of a run, of this class. Raises InputError where the folder holds none of it."""
    if not (run / CONFIG).is_file():
        raise InputError(f"'{shown(run)}': expected the folder of a run (with {CONFIG} and {ROWS}), it holds none")
    try:
        return configs.from_dict(kind, EARLIER.get(kind, {}) | configs.read(run / CONFIG), str(run / CONFIG))
    except ConfigError as problem:
        command = "speechadv evaluate" if kind is EvaluationConfig else getattr(kind, "made_by", "speechadv certify")
        raise InputError(f"'{shown(run)}': holds no run of `{command}`: {problem}") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises InputError where it is broken."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        raise InputError(f"'{shown(path)}': expected JSON ({type(problem).__name__})") from None


def read_environment(run: Path) -> dict[str, Any]:
    """What environment.json of a run says; empty where there is none. Raises InputError where it is no such file."""
    content = read_json(run / ENVIRONMENT) if (run / ENVIRONMENT).exists() else {}
    shapes.required(shapes.fits_where_there(content, shapes.ENVIRONMENT), run / ENVIRONMENT, "the environment of a run")
    return content


def read_probes(run: Path) -> list[dict[str, Any]]:
    """The entries of probes.json; none where there is no such file. Raises InputError where they are none of ours."""
    content = read_json(run / PROBES) if (run / PROBES).exists() else []
    shapes.required(isinstance(content, list) and all(shapes.fits(entry, shapes.PROBE) for entry in content), run / PROBES, "the probes of a run's models")
    return content


def write_json(path: Path, content: Any) -> None:
    """A JSON file, all or nothing."""
    write_bytes(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode("ascii"))
