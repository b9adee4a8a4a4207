"""A part of a run's clips, for one of several machines that know nothing of each other; `merge` puts their folders together."""
import re
from dataclasses import dataclass
from typing import Sequence, TypeVar

from ..errors import ConfigError, shown

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Each `count`-th of a run's clips, from the `number`-th (1 to `count`) on: every label is in every part."""

    number: int = 1
    count: int = 1

    def of(self, clips: Sequence[T]) -> Sequence[T]:
        """The part's own."""
        return clips[self.number - 1 :: self.count]


WHOLE = Shard()


def parse_shard(word: str | None) -> Shard:
    """ "2/8" -> the second of eight parts; None -> the whole. Raises ConfigError."""
    if word is None:
        return WHOLE
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", word)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(f"--shard '{shown(word)}': expected I/N, a part from 1 to N of N")
    return Shard(int(found[1]), int(found[2]))
