"""`speechadv abx-summary`: several listeners' blind tests together."""
from pathlib import Path

import click

from ..errors import InputError, shown
from .common import Voice, json_option, quiet_option


@click.command("abx-summary", epilog="Example: speechadv abx-summary anna.csv ben.csv")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@json_option
@quiet_option
def command(files, as_json, quiet):
    """Pool the results of the blind ABX test of the listening page, one FILE a listener.

    p is the chance of at least as many right answers by guessing: exact, one-sided, binomial. The interval of the share is Wilson's, 95 %. Pooling
    takes all trials as independent; a listener who hears nothing hides one who does, so look at both.

    With --json: {"listeners": [{"file", "trials", "correct", "share", "share_low", "share_high", "p"}], "pooled": the same}.
    """
    from ..report.abx import FEWEST, pooled, read_listener

    voice = Voice(as_json, quiet)
    check_each_once(files)
    listeners = [read_listener(file) for file in files]
    for listener in listeners:
        if len(listener.answers) < FEWEST:
            voice.notice(f"'{shown(listener.file)}': only {len(listener.answers)} trials; {FEWEST} or more say something")
    result = pooled(listeners)
    for line in result["listeners"]:
        voice.say(f"{shown(line['file'])}: {figures(line)}")
    voice.say(f"together ({len(listeners)} listener{'s' if len(listeners) > 1 else ''}): {figures(result['pooled'])}")
    voice.document(result)


def check_each_once(files: tuple[Path, ...]) -> None:
    """Raise InputError where a file is named twice, or two hold the same: trials would count double."""
    seen: dict[bytes, Path] = {}
    for file in files:
        content = file.read_bytes() if file.is_file() else bytes(str(file), "utf-8", "surrogateescape")
        if content in seen:
            raise InputError(f"'{shown(file)}': holds the same trials as '{shown(seen[content])}'; each listener counts once")
        seen[content] = file


def figures(line: dict) -> str:
    """"9 of 12 right, 75 % [47, 91], p = 0.073"."""
    low, high = (100 * line[f"share_{end}"] for end in ("low", "high"))
    return f"{line['correct']} of {line['trials']} right, {100 * line['share']:.0f} % [{low:.0f}, {high:.0f}], p = {line['p']:.2g}"
