"""One look for all figures: colours that colour-blind people can tell apart, a marker and a dash beside every colour, no legend over data."""
import io
import warnings
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from ..audio import write_bytes
from ..errors import InputError, shown

# Okabe and Ito (2008), without the yellow that is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "////", "....", "xxxx")
LEVELS = "viridis"  # of spectrograms
FORMATS = (".png", ".svg", ".pdf")
RC = {
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 9,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere, and with non-Latin letters
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#D9D9D9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "svg.hashsalt": "speechadv",  # the same rows, the same bytes
    "svg.fonttype": "path",
    "text.parse_math": False,  # a `$` in a file name is a `$`
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches; call it and draw inside `styled()`."""
    return Figure(figsize=(width, height), dpi=150)


def styled():
    """The context in which figures are drawn and saved."""
    return rc_context(RC)


def short(text: str, length: int = 24) -> str:
    """A name that fits a label: the end of a long one, where names of files differ."""
    return text if len(text) <= length else "…" + text[1 - length :]


def legend_below(figure: Figure, handles, labels, columns: int = 2) -> None:
    """A legend under the axes, where it covers nothing."""
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(handles)))


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, SVG or PDF, all or nothing. Raises InputError for another suffix."""
    suffix = check_suffix(path)
    buffer = io.BytesIO()
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a letter that the font lacks is a box; the page has the words
        figure.savefig(buffer, format=suffix[1:], metadata={".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[suffix])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())
    return path


def check_suffix(path: Path) -> str:
    """The format of a figure's file. Raises InputError for one that is none of ours."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"--out '{shown(path)}': expected a file that ends in {', '.join(FORMATS)}")
    return path.suffix.lower()
