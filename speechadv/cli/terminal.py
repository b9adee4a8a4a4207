"""What people see in a terminal: tables, progress with rate and time left. Plain text, without colour, where nobody looks or NO_COLOR is set."""
import contextlib
import os
import sys
import time
from typing import Any, Callable, Iterator, Sequence

import click

from ..errors import shown

UNSEEN_WIDTH = 100_000  # columns of a table that goes into a pipe or a file: it is not folded
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


def show_table(heads: Sequence[str], lines: Sequence[Sequence[str]], numbers_from: int = 1) -> None:
    """Print a table; columns from `numbers_from` on stand right.

    In a terminal that is too narrow for it the columns that say the same in all lines become a line of text.
    """
    from rich.measure import Measurement

    heads, lines = [shown(head) for head in heads], [[shown(cell) for cell in line] for line in lines]
    screen, keep = console(), range(len(heads))
    if len(lines) > 1 and Measurement.get(screen, screen.options.update(width=UNSEEN_WIDTH), _table(heads, lines, keep, numbers_from)).maximum > screen.width:
        keep = [i for i in keep if len({line[i] for line in lines}) > 1]
    table = _table(heads, lines, keep, numbers_from)
    least = Measurement.get(screen, screen.options.update(width=UNSEEN_WIDTH), table).minimum
    show(table, max(least + 2 * len(keep), screen.width))  # where words would be cut it runs over the edge
    same = [f"{head} {lines[0][i]}" for i, head in enumerate(heads) if i not in keep]
    if same:
        click.echo(f"In all lines: {', '.join(same)}.")


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]], keep: Sequence[int], numbers_from: int):
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False)
    for i in keep:
        table.add_column(Text(heads[i]), justify="right" if i >= numbers_from else "left", no_wrap=i < numbers_from, overflow="fold")
    for line in lines:
        table.add_row(*(Text(line[i]) for i in keep))
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
