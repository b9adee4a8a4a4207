"""Rows to the lines of the table: one a cell, and one for the worst of several attacks on each clip."""
from typing import Any, Iterable, Sequence

from .cells import WORST
from .metrics import by_label, quality_medians, succeeded, summary
from .rows import Row, cell_key


def by_cell(rows: Sequence[Row]) -> dict[tuple, list[Row]]:
    """The rows of each cell, in the order of first appearance; those of the worst case after the attacks of a model, defense and threat.

    Worst cases have the attack "worst-of": for each model, defense, threat, budget and seed with two attacks or more, each clip's row of the attack
    that did worst to it. Clips that some attack lacks are left out; passes and queries are those of all attacks together."""
    cells: dict[tuple, list[Row]] = {}
    for row in rows:
        cells.setdefault(cell_key(row), []).append(row)
    found = {key: cells[key] if key in cells else worst_rows([cells[cell] for cell in those]) for key, those in grouped(cells).items()}
    return {key: those for key, those in found.items() if those}


def grouped(cells: Iterable[tuple]) -> dict[tuple, list[tuple]]:
    """The keys of the table's lines in their order, and for each the cells that it is made from: itself, or the attacks whose worst case it is."""
    blocks: dict[tuple, list[tuple]] = {}
    for key in cells:
        blocks.setdefault(key[:2] + key[3:4], []).append(key)
    lines: dict[tuple, list[tuple]] = {}
    for block in blocks.values():
        together: dict[tuple, list[tuple]] = {}
        for key in block:
            together.setdefault((*key[:2], WORST, *key[3:]), []).append(key)
        lines |= {key: [key] for key in block} | {key: those for key, those in together.items() if len(those) > 1}
    return lines


def worst_rows(attacks: Sequence[Sequence[Row]]) -> list[Row]:
    """The worst row of each clip: a success before none, then the clip heard wrong in any way, then the quieter one, then the earlier attack."""
    tables = [{row["clip"]: row for row in rows} for rows in attacks]
    common = [row["clip"] for row in attacks[0] if all(row["clip"] in table for table in tables)]
    result = []
    for clip in common:
        candidates = [table[clip] for table in tables]
        spent = {key: sum(row[key] for row in candidates) for key in ("passes", "queries")}
        result.append(min(candidates, key=_harmlessness) | spent | {"attack": WORST, "adaptive": any(row["adaptive"] for row in candidates)})
    return result


def _harmlessness(row: Row) -> tuple:
    loudness = -row["snr_db"] if row["snr_db"] is not None else float("inf")
    return not succeeded(row), row["adversarial_prediction"] == row["label"], loudness


def attacked_adaptively(adaptive: dict[tuple, bool]) -> set[tuple]:
    """(model, defense, budget, seed) of the cells in which an attack knew the whole defended model; `adaptive` says of each cell whether it did."""
    return {_attacked(key) for key, knew in adaptive.items() if knew}


def _attacked(key: tuple) -> tuple:
    return key[0], key[1], key[4], key[5]


def table(rows: Sequence[Row], targeted: bool) -> list[dict[str, Any]]:
    """The lines of the table, see docs/methodology.md: the cell's keys, then counts, rates with intervals, medians, passes, the goal, and medians of the
    measures of quality that the rows have."""
    cells = by_cell(rows)
    known = _known(cells)
    return [table_line(key, those, targeted, known) for key, those in cells.items()]


def table_line(key: tuple, rows: Sequence[Row], targeted: bool, known: set[tuple]) -> dict[str, Any]:
    """One line of the table; `known` as of `attacked_adaptively`."""
    goal = {"goal": "targeted" if targeted else "untargeted"}
    return _keys(key, rows) | summary(rows, targeted, _attacked(key) in known) | goal | quality_medians(rows)


def classes(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The accuracies by label of each cell."""
    cells = by_cell(rows)
    known = _known(cells)
    return [classes_of(key, those, known) for key, those in cells.items()]


def classes_of(key: tuple, rows: Sequence[Row], known: set[tuple]) -> dict[str, Any]:
    """The accuracies by label of one cell; `known` as of `attacked_adaptively`."""
    return _keys(key, rows) | by_label(rows, _attacked(key) in known)


def _known(cells: dict[tuple, list[Row]]) -> set[tuple]:
    return attacked_adaptively({key: rows[0]["adaptive"] for key, rows in cells.items()})


def _keys(key: tuple, rows: Sequence[Row]) -> dict[str, Any]:
    model, defense, attack, threat, budget, seed = key
    return {"model": model, "defense": defense, "attack": attack, "threat": threat, "adaptive": rows[0]["adaptive"], "budget": budget, "seed": seed}
