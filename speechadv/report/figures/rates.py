"""What figures of a whole run share: the rate that they show, and the names of their lines."""
from typing import Any, Sequence

from ...errors import InputError
from ...evaluation.cells import CELL_KEYS, WORST
from ..style import short


def rate_of(cells: list[dict]) -> tuple[str, str]:
    """The rate that a figure shows, and its name: targeted success where the run was targeted, else robust accuracy."""
    if not cells:
        raise InputError("this run has no cells to draw")
    if any(cell.get("targeted_success") is not None for cell in cells):
        return "targeted_success", "target word heard (of clips right before)"
    return "robust_accuracy", "right before and after (of all clips)"


def line_names(groups: Sequence[tuple], keys: Sequence[str] = CELL_KEYS) -> list[str]:
    """A name for each group of values of `keys`, made of those that differ between groups; the model where none does."""
    varied = [i for i in range(len(keys)) if len({group[i] for group in groups}) > 1] or [0]
    return [", ".join(f"seed {group[i]}" if keys[i] == "seed" else short(str(group[i])) for i in varied) for group in groups]


def without_parts_of_worst(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of several attacks on the same thing the cell that takes the worst of them, where there is one."""
    place = lambda cell: tuple(cell[key] for key in CELL_KEYS if key != "attack")
    worst = {place(cell) for cell in cells if cell["attack"] == WORST}
    return [cell for cell in cells if cell["attack"] == WORST or place(cell) not in worst]
