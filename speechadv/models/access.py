"""How much a model gives away: its gradient, scores, or a label alone. Attacks that need more are not offered."""
from torch import nn

LEVELS = ("label", "scores", "gradient")  # from the least


def access(model: nn.Module) -> str:
    """What an attack can ask of a model: "gradient", or "scores" or "label" where some part of it says so with an attribute `access`."""
    return min((getattr(module, "access", LEVELS[-1]) for module in model.modules()), key=LEVELS.index)


def enough(needed: str, model: nn.Module) -> bool:
    """Whether a model gives what is needed, one of LEVELS."""
    return LEVELS.index(access(model)) >= LEVELS.index(needed)
