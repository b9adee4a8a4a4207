"""Whether what a run is judged with is what it was begun with, for runs that do not hold their clean clips."""
from pathlib import Path
from typing import Any

from ..folder import ENVIRONMENT, read_environment
from .verdict import Verdict

WORDS = {"clips": "the clips or their labels are others", "models": "a model has other weights"}


def check_begun(run: Path, now: dict[str, Any], verdict: Verdict) -> None:
    """Clips and weights of environment.json beside those of `now`, which has the same keys."""
    said = read_environment(run)
    for part, words in WORDS.items():
        if part in said and said[part] != now[part]:
            verdict.differs(ENVIRONMENT, f"{words} now than when the run was made")
