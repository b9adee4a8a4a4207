"""Imported by the process that workers on this machine are forked from (engine.py), and by nothing else: what they need is there then, and nothing has been done with it."""
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent alone listens to Ctrl-C, while this process imports too

from ..masking import compiled  # noqa: E402, F401
from ..registry import names  # noqa: E402
from . import work  # noqa: E402, F401

for kind in ("model", "budget", "attack", "defense"):
    names(kind)
