"""Which attacks a model allows: some need its gradient, some its scores, some only the label that it answers."""
from typing import Any

from torch import nn

from ..errors import ConfigError
from ..models.access import access, enough
from ..registry import lookup, names

VERDICTS = 2  # questions about each clip beside the attack's own: before and after
GIVES = {"label": "a label alone", "scores": "scores and no gradient", "gradient": "its gradient"}


def needs(attack: Any) -> str:
    """What an attack, or its class, asks a model for: "gradient", "scores" or "label"."""
    return "gradient" if attack.white_box else "label" if attack.label_suffices else "scores"


def offered(model: nn.Module) -> list[str]:
    """Names of the attacks that a model allows."""
    return [name for name in names("attack") if enough(needs(lookup("attack", name)), model)]


def check_queries_left(attack: Any, model: nn.Module, clips: int) -> None:
    """Raise ConfigError where a black box with a number of queries may not last for all clips: what is half done would be lost."""
    asked = getattr(attack, "queries", None)
    for box in (module for module in model.modules() if hasattr(module, "queries_left")):
        if asked and box.queries_left < clips * (asked + VERDICTS):
            raise ConfigError(f"attack {type(attack).__name__}: may ask {clips * (asked + VERDICTS)} times for {clips} clips, {box.where} allows {box.queries_left} "
                              "more queries: lower the attack's option queries, or allow more after # (#queries=N)")


def check_offered(attack: Any, model: nn.Module) -> None:
    """Raise ConfigError where the attack asks for more than the model gives, or has too few queries to be sure of a success on a random one."""
    draws, queries = getattr(model, "draws", 1), getattr(attack, "queries", None)
    if draws > 1 and attack.fewest and queries < attack.fewest + draws:
        raise ConfigError(f"attack {type(attack).__name__}: queries: expected {attack.fewest + draws} or more, since a success on a random model is heard {draws} times, got {queries}")
    if not enough(needs(attack), model):
        kind = {"gradient": "the gradient", "scores": "scores"}[needs(attack)]
        why = next((f" ({module.why_no_gradient})" for module in model.modules() if getattr(module, "why_no_gradient", "")), "")
        raise ConfigError(f"attack {type(attack).__name__} needs {kind}, the model gives {GIVES[access(model)]}{why}: take one of {', '.join(offered(model))}")
