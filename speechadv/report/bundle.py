"""A run and the code that made it in one zip: the same files give the same bytes, and nothing outside the run's folder gets in."""
import base64
import hashlib
import importlib.metadata
import io
import os
import secrets
import zipfile
from pathlib import Path
from typing import Any, Iterable, Iterator

from ..errors import InputError, SpeechAdvError, shown
from ..evaluation.environment import git_revision
from ..evaluation.folder import CONFIG, ROWS, read_config, read_environment
from .sections import command_of

FOLDERS = ("audio", "figures")  # of a run, that are packed
SUFFIXES = (".toml", ".json", ".jsonl", ".csv", ".md", ".tex", ".txt")  # of files beside them; the page and its scripts are made again
SOUND = ".wav"  # of `attack`, beside its rows
MOMENT = (1980, 1, 1, 0, 0, 0)  # of every entry
PACKAGE = Path(__file__).resolve().parents[1]
RUN = "run"  # the run's folder in the zip


def pack(run: Path, out: Path, *, sound: bool = True) -> dict[str, Any]:
    """Write the zip, all or nothing.

    Args:
        run: the folder of a run of `evaluate`, `attack` or `demo`.
        out: the file; a missing parent is made.
        sound: with the run's audio.

    Returns:
        {"out", "bytes", "files", "audio_files", "revision" (None for an installed package)}.

    Raises:
        InputError: no run; a link that leads out of it; something that is no file. SpeechAdvError: the zip cannot be written.
    """
    check_run(run)
    if out.is_dir():
        raise InputError(f"--out '{shown(out)}': expected a file that ends in .zip, got a folder")
    files = list(run_files(run, sound))
    wheel, revision = wheel_of_package(), git_revision()
    name = f"code/{wheel_name()}"
    readme = instructions(run, name, revision, sound)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.parent / f".speechadv-{secrets.token_hex(8)}"
    try:
        try:
            with zipfile.ZipFile(aside, "x") as archive:
                put(archive, "README.md", readme.encode("utf-8"))
                put(archive, name, wheel)
                for path in files:
                    put(archive, f"{RUN}/{path.relative_to(run).as_posix()}", path.read_bytes())
            os.replace(aside, out)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as problem:
        raise SpeechAdvError(f"cannot write '{shown(out)}': {problem.strerror or problem}") from None
    heard = sum(path.relative_to(run).parts[0] == "audio" or path.suffix == SOUND for path in files)
    return {"out": str(out), "bytes": out.stat().st_size, "files": len(files) + 2, "audio_files": heard, "revision": revision["revision"] if revision else None}


def check_run(run: Path) -> None:
    """Raise InputError unless the folder holds a run."""
    read_config(run)
    if not (run / ROWS).is_file():
        raise InputError(f"'{shown(run)}': has no rows yet; go on with `speechadv evaluate`")


def put(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """One entry, without a time or a mode of its own."""
    entry = zipfile.ZipInfo(name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), MOMENT)
    entry.external_attr, entry.create_system, entry.compress_type = 0o644 << 16, 3, zipfile.ZIP_DEFLATED
    archive.writestr(entry, content, compresslevel=6)


def run_files(run: Path, sound: bool) -> Iterator[Path]:
    """What is packed of a run, in a fixed order. Raises InputError for a link that leads out of the run, or something that is no file."""
    inside = run.resolve()
    for path in sorted(run.iterdir()):
        if path.name.startswith("."):
            continue
        if path.name in FOLDERS and (sound or path.name != "audio"):
            yield from folder_files(path, inside)
        elif path.suffix in SUFFIXES or sound and path.suffix == SOUND:
            yield checked(path, inside)


def folder_files(folder: Path, inside: Path) -> Iterator[Path]:
    """All files below a folder, in a fixed order."""
    check_inside(folder, inside)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from folder_files(path, inside)
        else:
            yield checked(path, inside)


def checked(path: Path, inside: Path) -> Path:
    """The path of a regular file inside the run."""
    check_inside(path, inside)
    if not path.is_file():
        raise InputError(f"'{shown(path)}': expected a file; nothing was packed")
    return path


def check_inside(path: Path, inside: Path) -> None:
    """Raise InputError where a link leads out of the run, or in circles."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        target = None
    if target is None or not target.is_relative_to(inside) or path.is_symlink() and path.is_dir():
        raise InputError(f"'{shown(path)}': a link out of the run, or one that leads nowhere; nothing was packed")


def wheel_name() -> str:
    return f"speechadv-{importlib.metadata.version('speechadv')}-py3-none-any.whl"


def wheel_of_package() -> bytes:
    """The package as it runs here, as a wheel: every file of its folder and the metadata that it is installed with."""
    package, about = PACKAGE, importlib.metadata.distribution("speechadv")
    files = {f"speechadv/{path.relative_to(package).as_posix()}": path.read_bytes() for path in sorted(package.rglob("*")) if path.is_file() and packed(path)}
    info = f"speechadv-{about.version}.dist-info"
    files[f"{info}/METADATA"] = (about.read_text("METADATA") or about.read_text("PKG-INFO") or "").encode("utf-8")
    files[f"{info}/entry_points.txt"] = (about.read_text("entry_points.txt") or "").encode("utf-8")
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: speechadv\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = record(files, f"{info}/RECORD").encode("utf-8")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            put(archive, name, content)
    return buffer.getvalue()


def packed(path: Path) -> bool:
    return "__pycache__" not in path.parts and path.suffix != ".pyc" and not path.name.startswith(".")


def record(files: dict[str, bytes], own: str) -> str:
    """The list of a wheel's files with their SHA-256 (PEP 376)."""
    def line(name: str, content: bytes) -> str:
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode("ascii")
        return f"{name},sha256={digest},{len(content)}"

    return "\n".join([*(line(name, content) for name, content in files.items()), f"{own},,"]) + "\n"


def instructions(run: Path, wheel: str, revision: dict[str, Any] | None, sound: bool) -> str:
    """README.md of the zip: what it holds, and the exact commands."""
    environment = read_environment(run)
    made = environment.get("git") or {}
    config = read_config(run)
    attacked = isinstance(environment.get("command"), dict)  # by `attack`: files of the user's own
    bundled = environment.get("clips", {}).get("source") == "bundled"
    data = "the package's bundled clips" if bundled else "recordings that are not in this file" + ("" if attacked else ": point SPEECHADV_DATA at them")
    again = f"again/bin/{command_of(environment)}" if attacked else f"again/bin/speechadv evaluate {RUN}/{CONFIG} --out repeated"
    tables = f"speechadv report {RUN}" if sound else f"python -c \"from speechadv.report.tables import write_tables; write_tables('{RUN}')\""
    page = ", and index.html, the page to listen to." if sound else ". The page to listen to needs the audio."
    versions = [f"{name}=={version}" for name, version in environment.get("packages", {}).items() if version]
    parts = [
        f"# {shown(run.resolve().name)}: a run of speechadv", "",
        f"- `{RUN}/`: config, environment, rows, tables, figures{' and audio' if sound else '; its audio was left out'}.",
        f"- `{wheel}`: the package that packed this, {in_words(revision, 'installed, not a checkout')}.",
        f"- The rows were made with speechadv {environment.get('speechadv', 'of an unknown version')}, {in_words(made, 'installed, not a checkout')}.",
        f"- Python {environment.get('python', 'of an unknown version')}; {', '.join(versions) or 'versions unknown'}.",
        f"- Seeds: {', '.join(map(str, environment.get('seeds', config.seeds)))}. Clips: {data}.", "",
        "## Tables again from the rows, in seconds", "", "```", "python3 -m venv again", f"again/bin/pip install {wheel}",
        f"again/bin/{tables}", "```", "",
        "This writes table.csv, table.md, table.tex and result.json" + page, "",
        *(["Every verdict judged anew from the sound: `again/bin/speechadv verify " + RUN + "`", ""] if sound else []),
        f"## Everything again from the {'files that were attacked' if attacked else 'clips'}", "", "```", again, "```", "",
        "Rows and sound are the same byte for byte on the same versions and kind of processor; another may move single clips that lie on an edge.", "",
        "Networks, with the SHA-256 that the run began with:", "", *networks(environment, config.models),
    ]
    return "\n".join(parts) + "\n"


def in_words(git: dict[str, Any] | None, nothing: str) -> str:
    return f"git revision {git['revision']}{' with changes' if git.get('changed') else ''}" if git else nothing


def networks(environment: dict[str, Any], words: Iterable[str]) -> list[str]:
    """A line a network; those of the user's own are not in the zip."""
    from ..models.pretrained import list_models

    found = environment.get("models", {})
    return [f"- {shown(word)}: {found.get(word, 'unknown')}{'' if word in list_models() else ' (of your own: not in this file)'}" for word in words]
