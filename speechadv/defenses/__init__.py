"""Defenses in front of a classifier: the contract, and the specifications by which users name them."""
from typing import Iterable

from .. import registry
from ..errors import ConfigError, shown
from .base import Defended, Defense, straight_through

__all__ = ["Defended", "Defense", "defense_name", "parse_defense", "straight_through", "surrogates"]

NONE = "none"


def parse_defense(spec: str, sample_rate: int = 16000) -> list[Defense]:
    """The defenses that a specification names, in the order of application.

    "mp3:32", "bandpass:100-4000", several joined by "+" ("bandpass:100-4000+mp3:32" filters first), or "none" for an empty list.

    Args:
        spec: the specification.
        sample_rate: Hz of the waveforms that will pass.

    Raises:
        ConfigError: an unknown name or an argument that the defense does not take; the message says what was expected.
    """
    if spec.strip() == NONE:
        return []
    return [_parse_one(part.strip(), spec, sample_rate) for part in spec.split("+")]


def _parse_one(part: str, spec: str, sample_rate: int) -> Defense:
    if not part:
        raise ConfigError(f"defense '{shown(spec)}': expected NAME:ARGUMENT, several joined by '+', got an empty name")
    if part == NONE:
        raise ConfigError(f"defense '{shown(spec)}': 'none' stands alone, it is not joined by '+'")
    name, _, argument = part.partition(":")
    return registry.lookup("defense", name).from_spec(argument, sample_rate)


def surrogates() -> list[str]:
    """The names of all stand-ins that some defense offers."""
    found = (getattr(registry.lookup("defense", name), "surrogates", ()) for name in registry.names("defense"))
    return sorted({surrogate for names in found for surrogate in names})


def defense_name(defenses: Iterable[Defense]) -> str:
    """The specification of a chain: names joined by "+", "none" for no defense."""
    return "+".join(defense.name for defense in defenses) or NONE
