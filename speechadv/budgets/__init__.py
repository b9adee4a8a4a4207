"""Budgets: how far a clip may be changed. `parse_budget("masking+linf:0.005")` makes one from its words."""
from typing import Sequence

from ..errors import ConfigError, shown
from ..registry import lookup
from .base import Budget
from .intersection import Intersection


def parse_budget(words: str | Sequence[str], sample_rate: int = 16000) -> Budget:
    """A budget from its word ("linf:0.002", "snr:30", "masking:-3"), from words joined by "+", or from several words: then all hold.
    `sample_rate` in Hz is that of the clips.

    Raises ConfigError for an unknown kind or a value out of range.
    """
    parts = [part for word in ([words] if isinstance(words, str) else words) for part in word.split("+")]
    budgets = [_one(part.strip(), sample_rate) for part in parts]
    return budgets[0] if len(budgets) == 1 else Intersection(budgets)


def _one(word: str, sample_rate: int) -> Budget:
    kind, colon, value = word.partition(":")
    if not kind:
        raise ConfigError(f"budget '{shown(word)}': expected linf:EPS, snr:DB or masking[:MARGIN_DB]")
    return lookup("budget", kind).from_spec(value if colon else "", sample_rate)
