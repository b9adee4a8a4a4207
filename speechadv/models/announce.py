"""What loading a model does beyond reading a file, in a line that commands print beforehand. Imports no torch."""
import os

from ..errors import shown


def announcement(word: str) -> str | None:
    """A line about a word of `--model` that asks somebody else or downloads; None for the others."""
    kind, _, rest = word.partition(":")
    if kind in ("command", "http", "https"):
        return f"'{shown(word)}' is sent every clip that is heard: attack only systems that you own or are allowed to test"
    if kind == "hf" and not os.path.isdir(rest):
        return f"'{shown(word)}' is no folder here: it is downloaded from huggingface.co, or taken from the cache where it was before"
    return None
