"""Rows to the lines of the table: one a cell, and one for the worst of several attacks on each clip."""
from typing import Any, Sequence

from .cells import CELL_KEYS, WORST
from .metrics import by_label, quality_medians, succeeded, summary
from .rows import Row


def by_cell(rows: Sequence[Row]) -> dict[tuple, list[Row]]:
    """The rows of each cell, in the order of first appearance; those of the worst case after the attacks of a model, defense and threat."""
    cells: dict[tuple, list[Row]] = {}
    for row in rows:
        cells.setdefault(tuple(row[key] for key in CELL_KEYS), []).append(row)
    ordered: dict[tuple, list[Row]] = {}
    for block in dict.fromkeys(key[:2] + key[3:4] for key in cells):
        part = {key: those for key, those in cells.items() if key[:2] + key[3:4] == block}
        ordered |= part | worst(part)
    return ordered


def worst(cells: dict[tuple, list[Row]]) -> dict[tuple, list[Row]]:
    """Cells with the attack "worst-of": for each model, defense, threat, budget and seed with two attacks or more, each clip's row of the attack
    that did worst to it. Clips that some attack lacks are left out; passes and queries are those of all attacks together."""
    found: dict[tuple, list[list[Row]]] = {}
    for key, rows in cells.items():
        found.setdefault((*key[:2], WORST, *key[3:]), []).append(rows)
    return {key: worst_rows(several) for key, several in found.items() if len(several) > 1}


def worst_rows(attacks: Sequence[Sequence[Row]]) -> list[Row]:
    """The worst row of each clip: a success before none, then the clip heard wrong in any way, then the quieter one, then the earlier attack."""
    tables = [{row["clip"]: row for row in rows} for rows in attacks]
    common = [row["clip"] for row in attacks[0] if all(row["clip"] in table for table in tables)]
    result = []
    for clip in common:
        candidates = [table[clip] for table in tables]
        spent = {key: sum(row[key] for row in candidates) for key in ("passes", "queries")}
        result.append(min(candidates, key=_harmlessness) | spent | {"attack": WORST})
    return result


def _harmlessness(row: Row) -> tuple:
    loudness = -row["snr_db"] if row["snr_db"] is not None else float("inf")
    return not succeeded(row), row["adversarial_prediction"] == row["label"], loudness


def attacked_adaptively(cells: dict[tuple, list[Row]]) -> set[tuple]:
    """(model, defense, budget, seed) of the cells in which an attack knew the whole defended model."""
    return {_attacked(key) for key, rows in cells.items() if rows and rows[0]["adaptive"]}


def _attacked(key: tuple) -> tuple:
    return key[0], key[1], key[4], key[5]


def table(rows: Sequence[Row], targeted: bool) -> list[dict[str, Any]]:
    """The lines of the table, see docs/methodology.md: the cell's keys, then counts, rates with intervals, medians, passes, the goal, and medians of the
    measures of quality that the rows have."""
    cells = by_cell(rows)
    known = attacked_adaptively(cells)
    goal = {"goal": "targeted" if targeted else "untargeted"}
    return [_keys(key, those) | summary(those, targeted, _attacked(key) in known) | goal | quality_medians(those) for key, those in cells.items()]


def classes(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The accuracies by label of each cell."""
    cells = by_cell(rows)
    known = attacked_adaptively(cells)
    return [_keys(key, those) | by_label(those, _attacked(key) in known) for key, those in cells.items()]


def _keys(key: tuple, rows: Sequence[Row]) -> dict[str, Any]:
    model, defense, attack, threat, budget, seed = key
    return {"model": model, "defense": defense, "attack": attack, "threat": threat, "adaptive": rows[0]["adaptive"], "budget": budget, "seed": seed}

