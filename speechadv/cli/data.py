"""`speechadv data`: download and check Speech Commands."""
from pathlib import Path

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
@json_option
@quiet_option
def download(archive, url, sha256, out, as_json, quiet):
    """Fetch an official archive, check it, unpack it.

    ARCHIVE is v0.02 (2.4 GB), v0.01 (1.5 GB), or one of the separate 12-class test sets test-v0.02 (113 MB) and test-v0.01 (71 MB). A download that
    broke off goes on when the same command is given again; one that is there already is left alone.

    With --json: {"out", "root" (for SPEECHADV_DATA), "fresh" (false where it was there already), "sha256"}.

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
    voice = Voice(as_json, quiet)
    with voice.byte_bar("downloading") as progress:
        fresh = fetch(url, sha256, out, progress=progress, notice=voice.notice)
    voice.say(f"{shown(out)}: {'downloaded, checked and unpacked' if fresh else 'already there and complete'}")
    root = _root_in(out)
    voice.say(f"use it with: export SPEECHADV_DATA={shown(root)}")
    voice.advise(("count and check", ("data", "check", root)))
    voice.document({"out": str(out), "root": str(root), "fresh": fresh, "sha256": sha256})


def _root_in(out: Path) -> Path:
    """The folder of words: `out` itself, or the one folder in it that an archive may wrap everything in."""
    inside = [p for p in out.iterdir() if not p.name.startswith(".")]
    wrapped = len(inside) == 1 and inside[0].is_dir() and any(p.is_dir() for p in inside[0].iterdir())
    return inside[0] if wrapped else out


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
    total = {split: sum(counts[split] for counts in findings.words.values()) for split in findings.speakers}
    rows = [*findings.words.items(), ("clips", total), ("speakers", findings.speakers)]
    voice.table(["word", "train", "validation", "test"], [[word, *(str(counts[split]) for split in ("train", "validation", "test"))] for word, counts in rows])
    if findings.recordings:
        voice.say(f"background recordings: {', '.join(shown(Path(name).stem) for name in findings.recordings)}")
    for fault in findings.faults:
        voice.say(f"fault: {fault}")
    if not any(fault.startswith("speaker ") for fault in findings.faults):
        voice.say("no speaker stands in two splits")
