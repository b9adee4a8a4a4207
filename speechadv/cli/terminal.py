"""What people see in a terminal: tables, progress with rate and time left. Plain text, without colour, where nobody looks or NO_COLOR is set."""
import contextlib
import os
import sys
import time
from typing import Any, Callable, Iterator, Sequence

import click

from ..errors import shown

UNSEEN_WIDTH = 100_000  # columns of a table that goes into a pipe or a file: it is not folded
NEEDED = 7  # numbers of a table that lines are grouped for, before any is left out: of an evaluation, down to the SNR
SECONDS_BETWEEN_LINES = 60  # of progress where there is no terminal to draw a bar on


def console(stderr: bool = False):
    """A rich console on standard output or standard error. NO_COLOR (no-color.org) and TERM=dumb take every escape sequence away."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    seen = stream.isatty() and not plain
    return Console(stderr=stderr, force_terminal=seen, color_system="auto" if seen else None, highlight=False, soft_wrap=False,
                   width=None if stream.isatty() else UNSEEN_WIDTH)


def show(renderable: Any, width: int | None = None) -> None:
    """Print something of rich on standard output, without blanks at the ends of lines."""
    screen = console()
    screen.width = width or screen.width
    with screen.capture() as capture:
        screen.print(renderable)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def show_table(heads: Sequence[str], lines: Sequence[Sequence[str]], numbers_from: int = 1, whole: str = "") -> None:
    """Print a table; columns from `numbers_from` on stand right.

    In a terminal that is too narrow for it the columns that say the same in all lines become a line of text, lines are grouped below their first
    words, and numbers at the end are left out, by name; `whole` names the file that has them. A single line becomes a line a column.
    """
    heads, lines = [shown(head) for head in heads], [[shown(cell) for cell in line] for line in lines]
    width = console().width
    if _width(heads, lines, range(len(heads)), numbers_from) <= width or not lines:
        return _show_groups(heads, lines, [], range(len(heads)), numbers_from)
    if len(lines) == 1:
        longest = max(map(len, heads))
        return click.echo("\n".join(f"{head:<{longest}}  {word}" for head, word in zip(heads, lines[0])))
    differs = [i for i in range(len(heads)) if len({line[i] for line in lines}) > 1]
    heading, inside = _grouped(heads, lines, differs, numbers_from, width)
    fitting = list(inside)
    while len(fitting) > 1 and fitting[-1] >= numbers_from and _width(heads, lines, fitting, numbers_from) > width:
        fitting.pop()
    _show_groups(heads, lines, heading, fitting, numbers_from)
    same = [f"{heads[i]} {lines[0][i]}" for i in range(len(heads)) if i not in differs]
    if same:
        click.echo(f"In all lines: {', '.join(same)}.")
    if len(fitting) < len(inside):
        click.echo(f"Too wide for here: {', '.join(heads[i] for i in inside[len(fitting):])}{whole and f'; see {whole}'}.")
    return None


def _grouped(heads: Sequence[str], lines: Sequence[Sequence[str]], columns: list[int], numbers_from: int, width: int) -> tuple[list[int], list[int]]:
    """The columns for the heads of groups and those for their lines: as few of the first words lead a group as make the rest fit, the last word none."""
    inside = columns
    for by in range(max(1, sum(i < numbers_from for i in columns))):
        leading = columns[:by]
        inside = [i for i in columns[by:] if not by or not _same_within(lines, leading, i)]
        if _width(heads, lines, [i for i in inside if i < numbers_from + NEEDED], numbers_from) <= width:
            break
    return [i for i in columns if i not in inside], inside


def _same_within(lines: Sequence[Sequence[str]], leading: Sequence[int], column: int) -> bool:
    """Whether lines that agree in the leading columns agree in this one."""
    return len({tuple(line[i] for i in leading) for line in lines}) == len({(*(line[i] for i in leading), line[column]) for line in lines})


def _show_groups(heads: Sequence[str], lines: Sequence[Sequence[str]], heading: Sequence[int], inside: Sequence[int], numbers_from: int) -> None:
    """The table of the columns `inside`; lines that agree in the columns `heading` stand below a line that says these."""
    screen = console()
    screen.width = max(screen.width, _width(heads, lines, inside, numbers_from))  # where words would be cut it runs over the edge
    with screen.capture() as capture:
        screen.print(_table(heads, lines, inside, numbers_from))
    drawn = [line.rstrip() for line in capture.get().rstrip().splitlines()]
    before: list[str] = []
    for line, text in zip([*[None] * (len(drawn) - len(lines)), *lines], drawn):
        group = [line[i] for i in heading] if line else []
        if group != before:
            words = ", ".join(word for i, word in zip(heading, group) if i < numbers_from)
            click.echo(f"{before and chr(10) or ''}{': '.join(filter(None, (words, _numbers(heads, group, heading, numbers_from))))}")
        before = group
        click.echo(text)


def _numbers(heads: Sequence[str], group: Sequence[str], heading: Sequence[int], numbers_from: int) -> str:
    return ", ".join(f"{heads[i]} {word}" for i, word in zip(heading, group) if i >= numbers_from)


def _width(heads: Sequence[str], lines: Sequence[Sequence[str]], keep: Sequence[int], numbers_from: int) -> int:
    """Of a table with nothing folded but heads."""
    from rich.measure import Measurement

    screen = console()
    return Measurement.get(screen, screen.options.update(width=UNSEEN_WIDTH), _table(heads, lines, keep, numbers_from)).minimum


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]], keep: Sequence[int], numbers_from: int):
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False)
    for i in keep:
        wide = max((cell_len(line[i]) for line in lines), default=0)
        table.add_column(Text(heads[i]), justify="right" if i >= numbers_from else "left", overflow="fold", min_width=max(wide, *map(cell_len, heads[i].split(" "))))
    for line in lines:
        table.add_row(*(Text(line[i], no_wrap=True) for i in keep))
    return table


@contextlib.contextmanager
def bar(total: int | None, label: str, hidden: bool = False) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, with rate and time left: a function that takes the number of items finished and, if there is more to say, words.

    Where standard error is no terminal there is a line a minute instead.
    """
    screen = console(stderr=True)
    if hidden or not screen.is_terminal:
        yield _Lines(total, label, hidden).advance
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _rate_column(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done=1, status="": progress.update(task, advance=done, description=f"{label} ({status})" if status else label)


@contextlib.contextmanager
def byte_bar(label: str, hidden: bool = False) -> Iterator[Callable[[int, int], None]]:
    """The same in bytes: a function that takes the bytes that are there and those that there will be."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    screen = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=hidden or not screen.is_terminal) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def rate_in_words(items_a_second: float | None) -> str:
    """ "12.3/s", or "4.5/min" where it is slow; empty while it is not known."""
    if not items_a_second:
        return ""
    return f"{items_a_second:.1f}/s" if items_a_second >= 1 else f"{60 * items_a_second:.1f}/min"


def _rate_column():
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Items a second or a minute."""

        def render(self, task) -> Text:
            return Text(rate_in_words(task.finished_speed or task.speed))

    return Rate()


class _Lines:
    """Progress as lines of text, for logs."""

    def __init__(self, total: int | None, label: str, hidden: bool):
        self.total, self.label, self.hidden, self.status = total, label, hidden, ""
        self.done, self.before = 0, None  # what was finished before the first item of now was: `advance(n)` at once, for a run that goes on
        self.begun = self.told = time.monotonic()

    def advance(self, done: int = 1, status: str = "") -> None:
        self.done, self.status = self.done + done, status
        self.before = self.done if self.before is None else self.before
        now = time.monotonic()
        if not self.hidden and now - self.told >= SECONDS_BETWEEN_LINES:
            self.told = now
            click.echo(self.line(now - self.begun), err=True)

    def line(self, seconds: float) -> str:
        """What there is to say after so many seconds."""
        rate = (self.done - self.before) / seconds if seconds else 0
        parts = [f"{self.label}: {self.done:,}" + (f" of {self.total:,}" if self.total is not None else ""), rate_in_words(rate)]
        if rate and self.total is not None:
            parts.append(f"{_time_in_words((self.total - self.done) / rate)} left")
        parts.append(self.status)
        return ", ".join(filter(None, parts))


def _time_in_words(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
