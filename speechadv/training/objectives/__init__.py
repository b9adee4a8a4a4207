"""What a network is trained to do under attack: one small class an objective, by the name that `[adversary] objective` gives it."""
from ..settings import Adversary
from .at import AT, Standard
from .base import Batch, Objective
from .distillation import ARD, RSLAD
from .fast import Fast
from .free import Free
from .mart import MART
from .trades import TRADES

__all__ = ["OBJECTIVES", "Batch", "Objective", "Standard", "objective"]

OBJECTIVES = {kind.name: kind for kind in (AT, TRADES, MART, Fast, Free, ARD, RSLAD)}


def objective(settings: Adversary | None) -> Objective:
    """The objective that a config asks for; without an adversary it is the plain one."""
    return OBJECTIVES[settings.objective](settings) if settings else Standard(Adversary())
