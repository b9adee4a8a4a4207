"""Speech Commands: clips, splits, tasks, loading. Imports no torch."""
from .loading import background, load
from .speech_commands import Clip, data_roots, official_split, scan
from .tasks import Task, select, task

__all__ = ["Clip", "Task", "background", "data_roots", "load", "official_split", "scan", "select", "task"]
