"""Which words give way: word that was said against word that was wanted, or heard."""
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ...errors import InputError, shown
from ...evaluation.aggregate import by_cell
from ...evaluation.cells import CELL_KEYS
from ...evaluation.metrics import right_before, succeeded
from ...evaluation.rows import Row
from ..saved import SavedRun
from ..style import SHARES, ink_on, new_figure, percent, short

CROWDED = 20  # words: beyond, counts in the squares are too small to be read


def matrix(folder: Path, cell: int | None = None) -> Figure:
    """Successes of one cell: a row a word that was said, a column a word that was wanted, or without a target a word that is heard instead.

    Numbers are successes of tries (of clips of the word, without a target), among the clips that were right before.
    """
    key, rows = chosen_cell(folder, cell)
    right = [row for row in rows if right_before(row)]
    if not right:
        raise InputError(f"'{shown(folder)}': no clip of this cell was heard right before the attack")
    targeted = right[0]["target"] is not None
    column = "target" if targeted else "adversarial_prediction"
    words = sorted({row["label"] for row in right} | {row[column] for row in right if targeted or succeeded(row)})
    tries = Counter((row["label"], row["target"]) if targeted else row["label"] for row in right)
    won = Counter((row["label"], row[column]) for row in right if succeeded(row))
    of = lambda said, other: tries[(said, other) if targeted else said]
    shares = np.array([[won[said, other] / of(said, other) if of(said, other) and said != other else np.nan for other in words] for said in words])
    figure = new_figure(2.2 + 0.42 * len(words), 1.6 + 0.36 * len(words))
    axis = figure.subplots()
    image = axis.imshow(shares, cmap=SHARES, vmin=0, vmax=1, aspect="auto")
    if len(words) <= CROWDED:
        write_counts(axis, words, won, of, shares)
    axis.set_xticks(range(len(words)), [short(word) for word in words], rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(words)), [short(word) for word in words])
    axis.set(xlabel="target word (blank: no clip tried it)" if targeted else "word that is heard instead", ylabel="word that was said", title=cell_title(key))
    axis.grid(False)
    bar = figure.colorbar(image, ax=axis, label=("target word heard" if targeted else "share of the word's clips") + " (of clips right before)", pad=0.02)
    percent(bar.ax)
    return figure


def write_counts(axis, words: list[str], won: Counter, of, shares: np.ndarray) -> None:
    """Successes of tries in each square that has tries."""
    for y, said in enumerate(words):
        for x, other in enumerate(words):
            if not np.isnan(shares[y, x]):
                axis.text(x, y, f"{won[said, other]}/{of(said, other)}", ha="center", va="center", fontsize=7, color=ink_on(SHARES, shares[y, x]))


def chosen_cell(folder: Path, number: int | None) -> tuple[tuple, list[Row]]:
    """A cell by its line of table.csv, or the one with most successes. Raises InputError."""
    cells = list(by_cell(SavedRun(folder).rows).items())
    if not cells:
        raise InputError(f"'{shown(folder)}': has no rows yet")
    if number is None:
        return max(cells, key=lambda cell: sum(map(succeeded, cell[1])))
    if not 1 <= number <= len(cells):
        raise InputError(f"--cell {number}: expected a line of table.csv, 1 to {len(cells)}")
    return cells[number - 1]


def cell_title(key: tuple[Any, ...]) -> str:
    """What a figure of one cell is about."""
    cell = dict(zip(CELL_KEYS, key))
    behind = "" if cell["defense"] == "none" else f" behind {cell['defense']}"
    return f"{short(cell['model'])}{short(behind, 40)}\n{cell['attack']}, {cell['threat']}, {cell['budget']}"
