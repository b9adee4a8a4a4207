"""Work as an engine sees it: a block of clips in, what came of it out. Nothing here imports torch: a process that does other work needs none."""
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Hashable, Protocol, Sequence, TypeVar

import numpy as np

from ..errors import SpeechAdvError, shown

TRIES = 3  # of a clip that fails
B = TypeVar("B", bound="Block")


class Block:
    """A block of clips and what is to be made of them: a frozen dataclass of everything that a process needs beside its worker.

    Attributes:
        names: a word a clip.
        sound, places: (all clips, time) of the whole set, which the blocks share, and the rows of it that are this block's clips.
        a_clip: the fields with an entry a clip.
    """

    names: Sequence[str]
    sound: np.ndarray
    places: Sequence[int]
    a_clip: ClassVar[tuple[str, ...]] = ("names", "places")

    @property
    def kind(self) -> Hashable:
        """What the time that a clip takes depends on."""
        raise NotImplementedError

    @property
    def needs(self) -> Sequence[str]:
        """Files of the run's folder, by their relative paths."""
        return ()

    def part(self: B, rows: slice) -> B:
        """Some of its clips."""
        return replace(self, **{key: getattr(self, key)[rows] for key in self.a_clip if getattr(self, key) is not None})

    @property
    def pcm(self) -> np.ndarray:
        """(clips, time)."""
        return self.sound[list(self.places)]

    def packed(self: B) -> B:
        """The same with its own clips alone, for another process."""
        return replace(self, sound=self.pcm, places=range(len(self.names)))

    def without_sound(self: B) -> B:
        """The same for someone who has the sound."""
        return replace(self, sound=self.sound[:0])


@dataclass
class Done:
    """What came of a block: rows, seconds (those of the attack also as processor time of this process), notices, and why clips have no rows."""

    item: Any
    rows: list[dict[str, Any]] = field(default_factory=list)
    attack_seconds: float = 0.0
    attack_cpu_seconds: float = 0.0
    scoring_seconds: float = 0.0
    notices: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, other: "Done") -> None:
        """Put another part of the same item behind this one."""
        self.rows += other.rows
        self.attack_seconds += other.attack_seconds
        self.attack_cpu_seconds += other.attack_cpu_seconds
        self.scoring_seconds += other.scoring_seconds
        self.notices += other.notices
        self.failed |= other.failed


class Doing(Protocol):
    """What does blocks: models and settings, once a process.

    Attributes:
        run: the folder that sound goes to.
    """

    run: Any

    def do(self, item: Block) -> Done:
        """The rows of a block; its sound is written. Raises SpeechAdvError where what is wrong is not a clip's fault."""

    def sendable(self) -> "Doing":
        """A copy that can be pickled, for other processes."""

    def begin(self, threads: int, device: str | None = None) -> None:
        """In a process that has just got it: so many threads of torch, and this device where it is not the writer's."""


def persistently(worker: Doing, item: Block) -> Done:
    """What comes of a block, and where it fails of its halves; a single clip that fails three times has no rows, and the reason is told.

    Raises SpeechAdvError: what is wrong is not a clip's fault.
    """
    problem: Exception | None = None
    for _ in range(1 if len(item.names) > 1 else TRIES):
        try:
            return worker.do(item)
        except SpeechAdvError:
            raise
        except Exception as error:  # whatever a network or a codec makes of one clip: the others go on
            problem = error
    if len(item.names) == 1:
        return Done(item, failed={item.names[0]: shown(f"{type(problem).__name__}: {problem}")})
    middle = len(item.names) // 2
    done = persistently(worker, item.part(slice(0, middle)))
    done.item = item
    done.add(persistently(worker, item.part(slice(middle, None))))
    return done
