"""The files that the page is made of."""
import importlib.resources


def asset(name: str) -> str:
    """The text of a file of this folder."""
    return (importlib.resources.files(__package__) / name).read_text(encoding="utf-8")
