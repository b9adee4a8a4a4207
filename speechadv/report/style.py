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
DASHES = ("-", "--", "-.", ":")
LEVELS = "viridis"  # of spectrograms
SHARES = "cividis"  # of fractions in a matrix
LETTERS_AN_INCH = 13  # of the font below
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
    "legend.handlelength": 3.2,  # long enough to show a dash
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


def look(number: int) -> dict[str, str]:
    """The colour and the dash of the line of this number: another pair for each of the first 28."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def ink_on(colours: str, share: float) -> str:
    """Black or white, whichever can be read on the colour that stands for a share."""
    from matplotlib import colormaps

    red, green, blue, _ = colormaps[colours](share)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def legend_below(figure: Figure, handles, labels, columns: int = 3) -> None:
    """A legend under the axes, where it covers nothing: each label once, in as many columns as the figure is wide enough for."""
    once = dict(zip(labels, handles))
    if once:
        fit = int(figure.get_size_inches()[0] * LETTERS_AN_INCH / (max(map(len, once)) + 8))  # 8: the line before a label
        figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=max(1, min(columns, fit, len(once))))


def handles_of(axes) -> tuple[list, list[str]]:
    """What a legend of all these axes takes."""
    found = [axis.get_legend_handles_labels() for axis in axes]
    return [handle for handles, _ in found for handle in handles], [label for _, labels in found for label in labels]


def percent(axis, which: str = "y") -> None:
    """Ticks in percent on an axis of fractions."""
    from matplotlib.ticker import PercentFormatter

    getattr(axis, f"{which}axis").set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, SVG or PDF, all or nothing. Raises InputError for another suffix."""
    suffix = check_suffix(path)
    buffer = io.BytesIO()
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from (current )?font")  # a letter that the font lacks is a box; the page has the words
        figure.savefig(buffer, format=suffix[1:], metadata={".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[suffix])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())
    return path


def check_suffix(path: Path) -> str:
    """The format of a figure's file. Raises InputError for one that is none of ours."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"--out '{shown(path)}': expected a file that ends in {', '.join(FORMATS)}")
    return path.suffix.lower()
