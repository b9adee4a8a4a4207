"""Passages of docs/theory.md, which lies in the package too, and Markdown as HTML."""
import importlib.resources
import re

from ..errors import ConfigError

TEMPLATES = importlib.resources.files(__package__) / "templates"
PRINTED = "theory.md"  # in a run of recipes/theory: what it printed
REPORT, MEASURED = ("report", "end report"), ("measured", "end")  # marks around passages: those that a report quotes, those that a command printed


def theory_text() -> str:
    """The whole document."""
    return (TEMPLATES / "theory.md").read_text(encoding="utf-8")


def passages(document: str, marks: tuple[str, str] = REPORT) -> dict[str, str]:
    """Name -> Markdown of the marked passages of a document: `<!-- report: NAME -->` to `<!-- end report -->`, or those of `MEASURED`."""
    begin, end = marks
    return {name: content.strip() for name, content in re.findall(rf"<!-- {begin}: ([\w-]+) -->\n(.*?)<!-- {end} -->", document, re.DOTALL)}


def as_html(markdown: str) -> str:
    """Markdown (CommonMark and tables) as HTML; HTML in it is shown as text.

    Raises ConfigError: markdown-it-py is missing.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError:
        raise ConfigError("write-up needs markdown-it-py: pip install 'speechadv[write-up]'") from None
    return MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
