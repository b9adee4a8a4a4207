"""What a cluster is given at a time: blocks of one kind, as many as a process needs some seconds for, from the speed that was measured."""
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Hashable, Iterable

from .blocks import Block

SECONDS = 20.0  # that a task should take
LEAST_SECONDS = 1.0  # of a task at the end, when what is left is shared among all
MOST_CLIPS = 512  # of a task: what comes back has to fit into the driver's memory, 130 KB a clip at the most
LOOK_AHEAD = 256  # blocks, or four for each process: so that the end is seen before it comes
SPLIT_FROM = 1.5  # times as long as a task should be: then a block is cut


@dataclass
class Task:
    """Blocks of one kind that a process does in one go.

    Attributes:
        items: the blocks.
        crashes: processes that died over it.
        copies: references of it that are under way.
        since: when the first of them was issued.
    """

    items: list[Block]
    crashes: int = 0
    copies: list[Any] = field(default_factory=list)
    since: float = 0.0

    @property
    def clips(self) -> int:
        """How many there are in it."""
        return sum(len(item.names) for item in self.items)

    def halves(self) -> list["Task"]:
        """Two tasks of half the clips, each of which is to be tried once less."""
        if len(self.items) > 1:
            middle = len(self.items) // 2
            parts = [self.items[:middle], self.items[middle:]]
        else:
            (item,) = self.items
            middle = len(item.names) // 2
            parts = [[item.part(slice(0, middle))], [item.part(slice(middle, None))]]
        return [Task(items, crashes=1) for items in parts]


class Grouped:
    """Blocks in groups that should take SECONDS; one at a time until the speed of their kind is known.

    Args:
        items: the blocks; read a little ahead of what is given.
        speed: seconds a clip, by kind; read whenever a group is made.
    """

    def __init__(self, items: Iterable[Block], speed: dict[Hashable, float]):
        self._rest, self._speed = iter(items), speed
        self._ahead: deque[Block] = deque()
        self._ended = False
        self._look(1)

    @property
    def empty(self) -> bool:
        """Whether everything was given."""
        return not self._ahead

    def next(self, processes: int) -> list[Block]:
        """The next group, of a cluster with so many processes."""
        self._look(processes)
        kind = self._ahead[0].kind
        most = self._most(kind, processes)
        group = [self._take(most)]
        clips = len(group[0].names)
        while most and self._ahead and self._ahead[0].kind == kind and clips + len(self._ahead[0].names) <= most:
            group.append(self._ahead.popleft())
            clips += len(group[-1].names)
        self._look(processes)
        return group

    def _most(self, kind: Hashable, processes: int) -> float:
        """Clips of a group; 0 while the speed is not known."""
        pace = self._speed.get(kind)
        if pace is None:
            return 0
        most = SECONDS / max(pace, 1e-9)
        if self._ended:  # the last ones are shared, so that all processes end together
            left = sum(len(item.names) for item in self._ahead)
            most = min(most, max(left / (2 * processes), LEAST_SECONDS / max(pace, 1e-9)))
        return min(max(most, 1), MOST_CLIPS)

    def _take(self, most: float) -> Block:
        """The next block, or as much of it as a task should do."""
        item = self._ahead.popleft()
        if most and len(item.names) > SPLIT_FROM * most:
            self._ahead.appendleft(item.part(slice(int(most), None)))
            return item.part(slice(0, int(most)))
        return item

    def _look(self, processes: int) -> None:
        while not self._ended and len(self._ahead) < max(LOOK_AHEAD, 4 * processes):
            item = next(self._rest, None)
            if item is None:
                self._ended = True
            else:
                self._ahead.append(item)
