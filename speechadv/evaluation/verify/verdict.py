"""What came of judging a run."""
from dataclasses import dataclass, field
from typing import Any

CLOSE = 1e-9  # relative, of numbers that were added in another order


@dataclass
class Verdict:
    """What came of it.

    Attributes:
        rows: rows that are whole.
        scored: those whose sound was kept and was judged.
        differences: one line each; empty where all is the same.
        unchecked: what could not be judged, one line a kind.
    """

    rows: int = 0
    scored: int = 0
    differences: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return not self.differences

    def differs(self, where: str, what: str) -> None:
        """Note a difference."""
        self.differences.append(f"{where}: {what}")

    def cannot_judge(self, line: str) -> None:
        """Note, once, what could not be judged."""
        if line not in self.unchecked:
            self.unchecked.append(line)


def alike(expected: Any, found: Any, absolute: float = 0) -> bool:
    """Whether a value is what was expected: numbers with a fraction within a relative 1e-9 or the given distance, anything else exactly."""
    if isinstance(expected, float) and isinstance(found, (int, float)) and not isinstance(found, bool):
        return abs(expected - found) <= max(absolute, CLOSE * max(abs(expected), abs(found), 1.0))
    return type(expected) is type(found) and expected == found
