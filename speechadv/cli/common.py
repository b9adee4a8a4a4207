"""Options and habits that the commands share. Nothing here imports torch at the top."""
import json
import os
import shlex
import sys
import unicodedata
from pathlib import Path
from typing import Any, ContextManager, Iterable, Iterator, Sequence

import click

from ..errors import ConfigError, InputError, shown
from . import terminal

out_option = click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for what is made; made if missing.")
seed_option = click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything random.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output and nothing else there.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress, no notices and no advice.")
shard_option = click.option("--shard", metavar="I/N", help="Only the I-th of N parts of the clips; `speechadv merge` puts the parts together (docs/scale.md).")
device_option = click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
model_option = click.option("--model", default="resnet", show_default=True, metavar="MODEL",
                            help="A name from `speechadv models list`, a .safetensors file with its card, package.module:factory "
                                 "(runs that code), tflite:FILE or onnx:FILE with its card FILE.toml, torchscript:FILE, a torch.export file, "
                                 "hf:FOLDER_OR_NAME, or a black box: "
                                 "command:'./recognise {wav}' or http://HOST:PORT/PATH.")


def model_details(command):
    """--labels, --sample-rate and --trust-model-file, for networks that do not say it themselves."""
    for option in (
        click.option("--labels", help="The words of a foreign model's outputs, in order, separated by commas."),
        click.option("--sample-rate", type=click.IntRange(1000, 192000), help="Of a foreign model, in Hz."),
        click.option("--trust-model-file", is_flag=True, help="Load a TorchScript or torch.export file: that runs code from the file."),
    ):
        command = option(command)
    return command


def model_words(model: str, labels: str | None, sample_rate: int | None, trust: bool) -> list[str]:
    """The options that name a network again, for a command that is advised."""
    words = ["--model", model, *(["--labels", labels] if labels else []), *(["--sample-rate", str(sample_rate)] if sample_rate else [])]
    return [*words, *(["--trust-model-file"] if trust else [])]


def file_word(path: Path) -> str:
    """A file in a command line: one that begins with a dash is no option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def announce(voice: "Voice", *words: str) -> None:
    """Tell what loading these models does beyond reading files, before it is done."""
    from ..models.announce import announcement

    for line in filter(None, map(announcement, dict.fromkeys(words))):
        voice.notice(line)


class Voice:
    """How a command speaks: progress, notices and advice on standard error, results on standard output, nothing but JSON there with --json."""

    def __init__(self, as_json: bool = False, quiet: bool = False):
        self.as_json, self.quiet = as_json, quiet

    def say(self, line: str = "") -> None:
        """A line of the result."""
        if not self.as_json:
            click.echo(line)

    def table(self, heads: Sequence[str], lines: Sequence[Sequence[str]], numbers_from: int = 1, whole: str = "") -> None:
        """A table of the result; its columns from `numbers_from` on are numbers. `whole` names the file that has all of it."""
        if not self.as_json:
            terminal.show_table(heads, lines, numbers_from, whole)

    def show(self, renderable: Any) -> None:
        """A part of the result that rich draws."""
        if not self.as_json:
            terminal.show(renderable)

    def advise(self, *steps: tuple[str, Sequence[object]]) -> None:
        """What one may do next: pairs of what it gives and the words after `speechadv`. Nothing with --quiet or --json."""
        if self.as_json or self.quiet:
            return
        width = max(len(gives) for gives, _ in steps)
        click.echo("next:", err=True)
        for gives, words in steps:
            click.echo(f"  {gives:<{width}}  speechadv {shown(shlex.join(map(str, words)))}", err=True)

    def notice(self, line: str) -> None:
        """Something the user should know that is no error."""
        if not self.quiet:
            click.echo(f"note: {shown(line)}", err=True)

    def document(self, content: Any) -> None:
        """The JSON document, where asked for."""
        if self.as_json:
            click.echo(json.dumps(content, indent=1, allow_nan=False))  # ASCII: any terminal and any file name

    def bar(self, total: int | None, label: str) -> ContextManager[Any]:
        """A progress bar on standard error with rate and time left: a context manager that gives a function of the number of items finished."""
        return terminal.bar(total, label, self.quiet)

    def byte_bar(self, label: str) -> ContextManager[Any]:
        """The same in bytes: a function of the bytes that are there and those that there will be."""
        return terminal.byte_bar(label, self.quiet)

    def progress(self, items: Iterable, label: str) -> Iterator:
        """The items, with a bar."""
        items = list(items)
        with self.bar(len(items), label) as advance:
            for item in items:
                yield item
                advance(1)


def checked_device(word: str) -> str:
    """The device, or ConfigError where torch does not have it."""
    import torch

    try:
        device = torch.device(word)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):
        raise ConfigError(f"--device '{shown(word)}': expected cpu, cuda or cuda:N that this machine has") from None
    return word


def fresh_folder(out: Path) -> Path:
    """Check that results can go to this folder: missing or empty, below something writable. Nothing is made yet.

    Raises InputError.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out '{shown(out)}': expected a folder, got a file")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"--out '{shown(out)}': expected an empty or new folder, got one with files; name another one")
    check_writable(out)
    return out


def check_writable(out: Path) -> None:
    """Raise InputError unless a file could be made in this folder, or in its nearest parent that exists."""
    import tempfile

    parent = out
    while not parent.exists():
        parent = parent.parent
    try:
        tempfile.TemporaryFile(dir=parent).close()  # permission bits say nothing on read-only file systems, nor to root
    except OSError as problem:
        raise InputError(f"--out '{shown(out)}': not writable ({problem.strerror})") from None


def unique_stems(files: Iterable[Path], ending: str = ".wav") -> list[str]:
    """A name for each input's output: its stem, with -2, -3 … where several inputs share one, so that none overwrites another.

    File systems that ignore case or compose accents are thought of; a stem that would be too long with `ending` is cut (names hold 255 bytes).
    """
    taken, names = set(), []
    for file in files:
        number, name = 1, _short(file.stem, ending)
        while _folded(name) in taken:
            number += 1
            name = _short(file.stem, f"-{number}{ending}") + f"-{number}"
        taken.add(_folded(name))
        names.append(name)
    return names


def _short(stem: str, ending: str) -> str:
    content = os.fsencode(stem)[: 255 - len(os.fsencode(ending))]
    return stem if content == os.fsencode(stem) else os.fsdecode(content.decode("utf-8", "ignore").encode())


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def is_terminal() -> bool:
    """Whether a person looks at standard output."""
    return sys.stdout.isatty()
