"""Runs of parts of the same clips put together, as one run of all the clips would have written them. Neither data nor models are needed."""
import contextlib
import filecmp
import json
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Container, Iterable, Iterator, Sequence

from .. import audio
from ..errors import InputError, shown
from . import corrupted, rows as row_files
from .cells import CELL_KEYS, cells
from .certificates import encode, read as read_certificates
from .certification import CERTIFICATES, CertificationConfig, summarise
from .fitting import FITS
from .folder import ENVIRONMENT, FAILED, PROBES, ROWS, TIMING, claimed, differing, read_config, read_environment, read_json, write_json
from .rows import Row
from .settings import EvaluationConfig
from .sounds import sweep

SAME = {"clips": "clips", "models": "weights of its models"}  # parts of environment.json without which rows cannot stand in one table


@dataclass(frozen=True)
class Part:
    """One of the runs."""

    run: Path
    config: EvaluationConfig | CertificationConfig
    environment: dict[str, Any]


def merge(runs: Sequence[str | Path], out: str | Path, *, notice: Callable[[str], None] = audio.silent) -> dict[str, Any]:
    """Put runs together. What stands in several of them is taken once.

    Args:
        runs: folders of `evaluate`, or of `certify`, with one config, the same clips and the same weights; finished or not.
        out: new, empty, or an earlier part of the same run, whose rows stay.
        notice: is told one line about what the user should know.

    Returns:
        The content of result.json.

    Raises:
        InputError: a folder is no run, or the runs do not belong together: the key in which they differ is named. Nothing is written then.
    """
    out, folders = Path(out), [Path(run) for run in runs]
    kind = CertificationConfig if (folders[0] / CERTIFICATES).is_file() else EvaluationConfig
    file = CERTIFICATES if kind is CertificationConfig else ROWS
    if (out / file).is_file() and out.resolve() not in [run.resolve() for run in folders]:
        folders.append(out)
    parts = [_part(run, kind, file) for run in folders]
    for other in parts[1:]:
        _check_same(parts[0], other, notice)
    return (_certificates if kind is CertificationConfig else _rows)(parts, out)


def _part(run: Path, kind: type, file: str) -> Part:
    config = read_config(run, kind)
    for name in (file, ENVIRONMENT):
        if not (run / name).is_file():
            raise InputError(f"'{shown(run)}': expected a run like the others, there is no {name}")
    return Part(run, config, read_environment(run))


def _check_same(first: Part, other: Part, notice: Callable[[str], None]) -> None:
    """Raise InputError where two parts are not of one run."""
    key = differing(first.config.identity(), other.config.identity())
    if key:
        raise InputError(f"'{shown(other.run)}': has another config than '{shown(first.run)}': '{key}' differs")
    for part, words in SAME.items():
        key = differing(first.environment.get(part) or {}, other.environment.get(part) or {})
        if key:
            raise InputError(f"'{shown(other.run)}': has other {words} than '{shown(first.run)}': '{shown(key)}' differs")
    for part in ("speechadv", "packages"):
        if first.environment.get(part) != other.environment.get(part):
            notice(f"'{shown(other.run)}' was made with another version than '{shown(first.run)}' ({part}): what both hold must agree all the same")


def united(found: Iterable[tuple[Path, Iterable[Row]]], key: Callable[[Row], tuple]) -> dict[tuple, Row]:
    """The rows of several files by their keys, each once.

    Args:
        found: files and their rows.
        key: what a row is found by.

    Raises:
        InputError: two files hold different rows of one key.
    """
    rows: dict[tuple, Row] = {}
    for file, own in found:
        for row in own:
            before = rows.setdefault(key(row), row)
            if before != row:
                raise contradiction(file, key(row), row, before)
    return rows


def contradiction(file: Path, key: tuple, row: Row, before: Row) -> InputError:
    """The error that a file holds another row of a key than a file before it."""
    where = differing(before, row)
    return InputError(f"'{shown(file)}': contradicts another run in {shown(', '.join(map(str, key)))}: '{where}' is "
                      f"{shown(repr(row.get(where)))[:80]}, and {shown(repr(before.get(where)))[:80]} there")


class United:
    """The rows of several runs, each key once: of a row stays in memory where it stands and a hash of it, eighteen bytes.

    Args:
        parts: the runs.
        order: the place of each cell of their config, by its key.

    Attributes:
        sound: the names of files in the rows.

    Raises:
        InputError: two runs hold different rows of one key, or one holds a row that the config has no cell for. DataError: a line is broken.
    """

    def __init__(self, parts: Sequence[Part], order: dict[tuple, int]):
        self._files, self._order = [part.run / ROWS for part in parts], order
        self._clips: dict[str, int] = {}
        self._found: dict[tuple, tuple[array, array, array]] = {}  # by cell, a clip each: file (-1 for none), offset, hash
        self.sound: set[str] = set()
        for number, file in enumerate(self._files):
            for offset, row in row_files.each_finished(file):
                if row_files.cell_key(row) not in order:
                    raise InputError(f"'{shown(parts[number].run)}': the config has no cell {shown(', '.join(map(str, row_files.cell_key(row))))}, but the run has rows of it")
                self._add(number, offset, row)

    def _add(self, number: int, offset: int, row: Row) -> None:
        clip, mark = self._clips.setdefault(row["clip"], len(self._clips)), hash(row_files.encode(row))
        files, offsets, marks = self._found.setdefault(row_files.cell_key(row), (array("h"), array("q"), array("q")))
        missing = clip + 1 - len(files)
        if missing > 0:
            files.extend([-1] * missing)
            offsets.extend([0] * missing)
            marks.extend([0] * missing)
        if files[clip] < 0:
            files[clip], offsets[clip], marks[clip] = number, offset, mark
            self.sound.update(row[key] for key in row_files.AUDIO_KEYS if row[key])
        elif marks[clip] != mark:
            (before,) = row_files.at(self._files[files[clip]], [offsets[clip]])
            raise contradiction(self._files[number], row_files.key(row), row, before)

    def __contains__(self, key: tuple) -> bool:
        files, clip = self._found.get(key[:-1], ((), (), ()))[0], self._clips.get(key[-1])
        return clip is not None and clip < len(files) and files[clip] >= 0

    def rows(self) -> Iterator[Row]:
        """All of them in the order of a finished run."""
        names = sorted(self._clips)
        with contextlib.ExitStack() as stack:
            readers = [stack.enter_context(open(file, "rb")) for file in self._files]
            for cell in sorted(self._found, key=self._order.__getitem__):
                files, offsets, _ = self._found[cell]
                for clip in (self._clips[name] for name in names):
                    if clip < len(files) and files[clip] >= 0:
                        yield row_files.row_at(readers[files[clip]], offsets[clip])


def _certificates(parts: Sequence[Part], out: Path) -> dict[str, Any]:
    lines = united(((part.run / CERTIFICATES, read_certificates(part.run / CERTIFICATES)) for part in parts), lambda line: (line["clip"],))
    with claimed(out, parts[0].config, _environment(parts)):
        audio.write_bytes(out / CERTIFICATES, "".join(map(encode, lines.values())).encode("ascii"))
        return summarise(out, sorted(name for name, in lines))


def _rows(parts: Sequence[Part], out: Path) -> dict[str, Any]:
    from ..report.page import write_page
    from ..report.tables import write_tables
    from .run import PAGE_ROWS

    found = United(parts, {cell.key: place for place, cell in enumerate(cells(parts[0].config))})
    damaged = united(((part.run / corrupted.ROWS, corrupted.read(part.run / corrupted.ROWS)) for part in parts), corrupted.key)
    files = _files(parts, found.sound | {row["audio"] for row in damaged.values() if row["audio"]})
    probes = _probes(parts)
    with claimed(out, parts[0].config, _environment(parts)):
        for name, source in files.items():
            _copy(source, out / name)
        _write_lines(parts, out, found)
        row_files.rewrite(out / ROWS, found.rows())
        if damaged:
            groups = {key[:-1]: place for place, key in enumerate(reversed(damaged))}
            corrupted.rewrite(out / corrupted.ROWS, [damaged[key] for key in sorted(damaged, key=lambda key: (-groups[key[:-1]], key[-1]))])
        sweep(out, found.sound)
        if probes is not None:
            write_json(out / PROBES, probes)
        result = write_tables(out)
        if result["rows"] <= PAGE_ROWS:
            write_page(out)
    return result


def _files(parts: Sequence[Part], names: set[str]) -> dict[str, Path]:
    """Where each file that rows name lies, and what attacks have learned. Raises InputError: one is nowhere, outside of its run, or differs between runs."""
    found: dict[str, Path] = {}
    for part in parts:
        learned = {path.relative_to(part.run).as_posix() for path in (part.run / FITS).rglob("*") if path.is_file()}
        for name in sorted(names | learned):
            path = part.run / name
            if not path.resolve().is_relative_to(part.run.resolve()):
                raise InputError(f"'{shown(part.run)}': the file '{shown(name)}' lies outside the run")
            if path.is_file() and not filecmp.cmp(path, found.setdefault(name, path), shallow=False):
                raise InputError(f"'{shown(path)}': contradicts '{shown(found[name])}': its content is another")
    for name in sorted(names - found.keys()):
        raise InputError(f"'{shown(parts[0].run)}' and the others: a row names the file '{shown(name)}', which is in none of them")
    return found


def _probes(parts: Sequence[Part]) -> Any:
    """The answers of the models, which each finished run has asked for itself. Raises InputError where they differ."""
    found = [(part.run / PROBES, read_json(part.run / PROBES)) for part in parts if (part.run / PROBES).is_file()]
    for path, answers in found[1:]:
        if answers != found[0][1]:
            raise InputError(f"'{shown(path)}': contradicts '{shown(found[0][0])}': the models answered otherwise")
    return found[0][1] if found else None


def _environment(parts: Sequence[Part]) -> dict[str, Any]:
    """That of the first run, and where others ran elsewhere what they ran on."""
    environments = [part.environment for part in parts]
    first = environments[0]
    if all(other == first for other in environments):
        return first
    return first | {"merged": [{key: value for key, value in other.items() if key not in (*SAME, "seeds", "merged")} for other in environments]}


def _copy(source: Path, target: Path) -> None:
    if source.resolve() != target.resolve():
        target.parent.mkdir(parents=True, exist_ok=True)
        audio.write_bytes(target, source.read_bytes())


def _write_lines(parts: Sequence[Part], out: Path, found: Container[tuple]) -> None:
    """Seconds of all the runs, and what failed in one of them and was made in none."""
    times = b"".join((part.run / TIMING).read_bytes() for part in parts if (part.run / TIMING).is_file())
    audio.write_bytes(out / TIMING, times)
    failed = [line for part in parts if (part.run / FAILED).is_file() for line in (part.run / FAILED).read_text("ascii").splitlines(True)]
    lost = [line for line in dict.fromkeys(failed) if tuple(json.loads(line).get(key) for key in (*CELL_KEYS, "clip")) not in found]
    if lost:
        audio.write_bytes(out / FAILED, "".join(lost).encode("ascii"))
    else:
        (out / FAILED).unlink(missing_ok=True)
