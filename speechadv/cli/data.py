"""`speechadv data`: download and check Speech Commands."""
import contextlib
from pathlib import Path
from typing import Iterator

import click

from ..errors import ConfigError, DataError, shown
from .common import Voice, json_option, quiet_option


@click.group(epilog="Example: speechadv data check speech_commands")
def command():
    """Download and check Speech Commands (Warden 2018, Creative Commons BY 4.0)."""


@command.command()
@click.argument("archive", required=False)
@click.option("--url", help="Another archive (.tar or .tar.gz) instead; needs --sha256.")
@click.option("--sha256", help="Of the archive at --url: 64 hexadecimal digits.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder that will hold the clips; new or empty.")
@quiet_option
def download(archive, url, sha256, out, quiet):
    """Fetch an official archive, check it, unpack it.

    ARCHIVE is v0.02 (2.4 GB), v0.01 (1.5 GB), or one of the separate 12-class test sets test-v0.02 (113 MB) and test-v0.01 (71 MB). A download that
    broke off goes on when the same command is given again; one that is there already is left alone.

    \b
    Example:
      speechadv data download v0.02 --out speech_commands
      export SPEECHADV_DATA=speech_commands
    """
    from ..data.download import ARCHIVES
    from ..data.download import download as fetch
    from ..registry import closest

    if (archive is None) == (url is None):
        raise ConfigError(f"expected either an archive ({', '.join(ARCHIVES)}) or --url")
    if url is not None and sha256 is None:
        raise ConfigError("--url needs --sha256: an archive is unpacked only when it is known to be the right one")
    if archive is not None:
        if archive not in ARCHIVES:
            raise ConfigError(f"unknown archive '{shown(archive)}'{closest(archive, ARCHIVES)} (known: {', '.join(ARCHIVES)})")
        url, sha256 = ARCHIVES[archive].url, sha256 or ARCHIVES[archive].sha256
    voice = Voice(quiet=quiet)
    with _byte_bar(quiet) as progress:
        fresh = fetch(url, sha256, out, progress=progress, notice=voice.notice)
    voice.say(f"{shown(out)}: {'downloaded, checked and unpacked' if fresh else 'already there and complete'}")
    voice.say(f"use it with: export SPEECHADV_DATA={shown(_root_in(out))}")


def _root_in(out: Path) -> Path:
    """The folder of words: `out` itself, or the one folder in it that an archive may wrap everything in."""
    inside = [p for p in out.iterdir() if not p.name.startswith(".")]
    wrapped = len(inside) == 1 and inside[0].is_dir() and any(p.is_dir() for p in inside[0].iterdir())
    return inside[0] if wrapped else out


@contextlib.contextmanager
def _byte_bar(quiet: bool) -> Iterator:
    """A progress bar in bytes on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@command.command()
@click.argument("roots", nargs=-1, type=click.Path(path_type=Path))
@json_option
@quiet_option
def check(roots, as_json, quiet):
    """Count clips and speakers, and prove that no speaker stands in two splits.

    ROOTS are data folders (default: those of SPEECHADV_DATA). Exit status 1 where a speaker crosses splits, a listed file is missing, a listing
    contradicts the official hash rule, or one sound stands under two words; each is named.

    \b
    Example:
      speechadv data check speech_commands
    """
    from ..data import data_roots
    from ..data.check import check as examine

    roots = data_roots(roots)
    if not roots:
        raise DataError("no data folder: name one, or set SPEECHADV_DATA")
    voice = Voice(as_json, quiet)
    findings = examine(roots, lambda clips: voice.progress(clips, "comparing clips"))
    _tell(findings, voice)
    voice.document({"words": findings.words, "speakers": findings.speakers, "recordings": findings.recordings, "faults": findings.faults})
    click.get_current_context().exit(1 if findings.faults else 0)


def _tell(findings, voice: Voice) -> None:
    width = max(len("speakers"), *(len(shown(word)) for word in findings.words))
    voice.say(f"{'word':{width}}  {'train':>7}  {'validation':>10}  {'test':>7}")
    total = {split: sum(counts[split] for counts in findings.words.values()) for split in findings.speakers}
    rows = {**{shown(word): counts for word, counts in findings.words.items()}, "clips": total, "speakers": findings.speakers}
    for word, counts in rows.items():
        voice.say(f"{word:{width}}  {counts['train']:>7}  {counts['validation']:>10}  {counts['test']:>7}")
    if findings.recordings:
        voice.say(f"background recordings: {', '.join(shown(Path(name).stem) for name in findings.recordings)}")
    for fault in findings.faults:
        voice.say(f"fault: {fault}")
    if not any(fault.startswith("speaker ") for fault in findings.faults):
        voice.say("no speaker stands in two splits")
