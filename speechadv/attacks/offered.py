"""Which attacks a model allows: some need its gradient, some its scores, some only the label that it answers."""
from typing import Any

from torch import nn

from ..errors import ConfigError
from ..models.access import access, enough
from ..registry import lookup, names

GIVES = {"label": "a label alone", "scores": "scores and no gradient", "gradient": "its gradient"}


def needs(attack: Any) -> str:
    """What an attack, or its class, asks a model for: "gradient", "scores" or "label"."""
    return "gradient" if attack.white_box else "label" if attack.label_suffices else "scores"


def offered(model: nn.Module) -> list[str]:
    """Names of the attacks that a model allows."""
    return [name for name in names("attack") if enough(needs(lookup("attack", name)), model)]


def check_offered(attack: Any, model: nn.Module) -> None:
    """Raise ConfigError where the attack asks for more than the model gives."""
    if not enough(needs(attack), model):
        kind = {"gradient": "the gradient", "scores": "scores"}[needs(attack)]
        raise ConfigError(f"attack {type(attack).__name__} needs {kind}, the model gives {GIVES[access(model)]}: take one of {', '.join(offered(model))}")
