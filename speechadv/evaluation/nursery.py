"""What the process that workers on this machine are forked from (engine.py) imports: it is there then for all of them, and nothing has been done with it."""
from ..masking import compiled  # noqa: F401
from ..registry import names
from . import work  # noqa: F401

for kind in ("model", "budget", "attack", "defense"):
    names(kind)
