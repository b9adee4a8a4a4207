"""Imported by the process that workers on this machine are forked from (engine.py), before the first of them: what they need is there then, and nothing has been done with it."""
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent alone listens to Ctrl-C, while this process imports too

from . import work  # noqa: E402, F401
