"""A folder that results go to is worked on by one process at a time, and what a killed one left half done is cleared away."""
import contextlib
import os
from pathlib import Path
from typing import Iterator

from .audio import ASIDE
from .errors import InputError, shown


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a folder for this process alone; the system lets go of it when the process ends in whatever way.

    Files that were not whole when another process was killed are removed first.

    Raises:
        InputError: another process holds it.
    """
    descriptor = os.open(out, os.O_RDONLY)
    try:
        _lock(descriptor, out)
        for pattern in (f"{ASIDE}*", f"*/{ASIDE}*"):
            for leftover in out.glob(pattern):
                if leftover.is_file():
                    leftover.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def clear_leftovers(out: Path) -> None:
    """Remove what a killed process left half done, unless another one is at work there."""
    with contextlib.suppress(InputError), locked(out):
        pass


def _lock(descriptor: int, out: Path) -> None:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(f"--out '{shown(out)}': another process is working on this run; wait for it or name another folder") from None
