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
        for leftover in out.glob(f"{ASIDE}*"):
            if leftover.is_file():
                leftover.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, out: Path) -> None:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(f"--out '{shown(out)}': another process is working on this run; wait for it or name another folder") from None
