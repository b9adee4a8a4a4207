"""When memory does not suffice for so many clips at a time: fewer, and it is said so. And memory that is freed: kept for the next pass."""
from typing import Callable, Iterator, Sequence, TypeVar

from .errors import SpeechAdvError

T, R = TypeVar("T"), TypeVar("R")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; glibc refuses more


def keep_freed() -> bool:
    """Have the C library keep memory that tensors free, instead of giving it back to the system and asking for it again, page by page cleared, at each pass of
    a network: thousands of page faults a step. For this process, from here on; its peak is what it was. Whether that was possible: glibc alone can do it.

    Both limits are needed: with M_TRIM_THRESHOLD alone the other stays where it is, and each large tensor is mapped anew. Source: mallopt(3). `python -m
    benchmarks.kept_memory` measures the three ways.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def out_of_memory(problem: BaseException) -> bool:
    """Whether an error means that memory did not suffice, on a GPU or on the CPU."""
    import torch

    words = str(problem).lower()
    return isinstance(problem, (MemoryError, torch.OutOfMemoryError)) or "out of memory" in words or "not enough memory" in words


class Parts:
    """Work on many things in parts that fit into memory.

    Args:
        most: things at a time, as far as memory is known to suffice; halved whenever it does not.
    """

    def __init__(self, most: int):
        self.most = most

    def each(self, things: Sequence[T], do: Callable[[Sequence[T]], R], notice: Callable[[str], None], what: str) -> Iterator[R]:
        """What `do` makes of each part, in order.

        Args:
            things: anything that can be cut by slices.
            do: works on a part; what it did before it ran out of memory must do no harm when it is done again.
            notice: told when parts become smaller.
            what: the work in words, for the error.

        Raises:
            SpeechAdvError: memory does not suffice for a single one.
        """
        start = 0
        while start < len(things):
            part = things[start : start + self.most]
            try:
                done = do(part)
            except (RuntimeError, MemoryError) as problem:
                if not out_of_memory(problem):
                    raise
                if len(part) == 1:
                    raise SpeechAdvError(f"out of memory with a single clip, {what}") from None
                self.most = len(part) // 2
                notice(f"out of memory with {len(part)} clips at a time: going on with {self.most}")
                continue
            start += len(part)
            yield done
