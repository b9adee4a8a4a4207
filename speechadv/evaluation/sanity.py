"""Signs that a number cannot be trusted. Each flag has a section in docs/warnings.md; none changes a number."""
from typing import Any, Iterable, Iterator, Sequence

from ..budgets import parse_budget
from ..budgets.base import Budget
from ..budgets.intersection import Intersection
from ..budgets.linf import Linf
from ..budgets.masking import Masking
from ..budgets.snr import Snr
from ..defenses import NONE
from .aggregate import by_cell
from .cells import CELL_KEYS, AttackSpec, attack_specs
from .metrics import right_before, succeeded
from .rows import Row
from .settings import EvaluationConfig
from .statistics import sign_test

PAGE = "docs/warnings.md"
UNLIKELY = 0.05  # a difference between paired cells is one from here down
FEW = 5  # broken clips below which "as good as" says nothing
LATE = 0.1  # the last part of the steps ...
STILL = 0.05  # ... in which no larger part of the clips may fall, or the attack was not done
ALIKE = 1e-4  # of probabilities: how far their sum may be from 1
UNBOUNDED_RATE = 0.95
NO_GRADIENT_RATE = 0.05

Cells = dict[tuple, list[Row]]
Flag = dict[str, Any]


def flags(rows: Sequence[Row], config: EvaluationConfig, probes: Sequence[dict[str, Any]]) -> list[Flag]:
    """All flags of a run.

    Args:
        rows: of the run.
        config: of the run.
        probes: the answers of `probes.probe_all`.

    Returns:
        {"flag", "cell" (the table's keys; a probe's has model and defense alone), "figure" (the numbers in words), "page"} each.
    """
    specs = {spec.label: spec for spec in attack_specs(config.attacks)}
    cells = {key: those for key, those in by_cell(rows).items() if key[2] in specs}
    found: list[Flag] = []
    for check in (not_monotone, one_step_as_good, black_box_better, oblivious_better, noise_as_good):
        found += check(cells, specs)
    draws = {(probe["model"], probe["defense"]): config.draws for probe in probes if probe["largest_difference"]}
    found += not_converged(cells, specs, draws)
    found += eps_zero_differs(cells)
    found += lost_in_saving({key: those for key, those in cells.items() if key[:2] not in draws})  # another draw is another verdict, saved or not
    for check in (unbounded_fails, zero_gradients, random_passes, probabilities):
        found += filter(None, map(check, probes))
    return found


def _flag(name: str, cell: tuple | dict, figure: str) -> Flag:
    keys = cell if isinstance(cell, dict) else dict(zip(CELL_KEYS, cell))
    return {"flag": name, "cell": keys, "figure": figure, "page": f"{PAGE}#{name}"}


def _white_box(cells: Cells, specs: dict[str, AttackSpec]) -> Iterator[tuple[tuple, list[Row]]]:
    """Cells in which gradients of the very model that is scored were followed, for each clip: one waveform for all clips proves nothing about a gradient."""
    return ((key, rows) for key, rows in cells.items() if rows[0]["adaptive"] and specs[key[2]].white_box and not specs[key[2]].make().learns)


def _broken(rows: Iterable[Row]) -> set[str]:
    return {row["clip"] for row in rows if succeeded(row)}


def _right(rows: Iterable[Row]) -> set[str]:
    return {row["clip"] for row in rows if right_before(row)}


def not_monotone(cells: Cells, specs: dict[str, AttackSpec]) -> Iterator[Flag]:
    """A larger budget breaks fewer clips: it holds everything that the smaller one holds, so the attack stopped short."""
    white = dict(_white_box(cells, specs))
    for small, rows in white.items():
        for large, others in white.items():
            if small[:4] + small[5:] != large[:4] + large[5:] or small == large or not contains(parse_budget(large[4]), parse_budget(small[4])):
                continue
            here, there = _broken(rows), _broken(others)
            if sign_test(len(here - there), len(there - here)) < UNLIKELY and len(here) > len(there):
                yield _flag("not_monotone", large, f"{len(there)} of {len(_right(others))} clips broken with {large[4]}, {len(here)} with the smaller {small[4]}")


def contains(large: Budget, small: Budget) -> bool:
    """Whether every perturbation that `small` allows is allowed by `large`, as far as their kinds tell."""
    return all(any(_part_contains(whole, part) for part in _parts(small)) for whole in _parts(large))


def _parts(budget: Budget) -> list[Budget]:
    return budget.budgets if isinstance(budget, Intersection) else [budget]


def _part_contains(large: Budget, small: Budget) -> bool:
    if isinstance(large, Linf) and isinstance(small, Linf):
        return small.lsb <= large.lsb
    if isinstance(large, Snr) and isinstance(small, Snr):
        return small.snr_db >= large.snr_db
    if isinstance(large, Masking) and isinstance(small, Masking):
        return large.model == small.model and small.margin_db <= large.margin_db
    return False


def one_step_as_good(cells: Cells, specs: dict[str, AttackSpec]) -> Iterator[Flag]:
    """One step breaks as many clips as many steps, which do not break all: a sign of masked gradients."""
    white = dict(_white_box(cells, specs))
    for key, rows in white.items():
        single = [other for other in white if _same_but_attack(key, other) and specs[other[2]].name == "fgsm"]
        if specs[key[2]].name == "fgsm" or not single:
            continue
        yield from _as_good("one_step_as_good", key, rows, single[0], white[single[0]])


def noise_as_good(cells: Cells, specs: dict[str, AttackSpec]) -> Iterator[Flag]:
    """Random noise breaks as many clips as an attack with gradients, which does not break all."""
    for key, rows in _white_box(cells, specs):
        for other in cells:
            if specs[other[2]].name == "noise" and key[:2] + key[4:] == other[:2] + other[4:]:
                yield from _as_good("noise_as_good", key, rows, other, cells[other])


def _as_good(name: str, key: tuple, rows: list[Row], weak: tuple, others: list[Row]) -> Iterator[Flag]:
    strong, right = _broken(rows), _right(rows)
    weaker = _broken(others)
    if len(weaker) >= max(FEW, len(strong)) and len(strong) < len(right):
        yield _flag(name, key, f"{weak[2]} breaks {len(weaker)} of {len(_right(others))} clips, {key[2]} {len(strong)} of {len(right)}")


def _same_but_attack(key: tuple, other: tuple) -> bool:
    return key != other and key[:2] + key[3:] == other[:2] + other[3:]


def black_box_better(cells: Cells, specs: dict[str, AttackSpec]) -> Iterator[Flag]:
    """An attack without gradients breaks clips that those with gradients leave, and hardly the other way round."""
    for key, rows in cells.items():
        spec = specs[key[2]]
        stronger = [those for other, those in _white_box(cells, specs) if key[:2] + key[4:] == other[:2] + other[4:]]
        if spec.white_box or spec.name == "noise" or not stronger:
            continue
        black, white = _broken(rows), set().union(*map(_broken, stronger))
        if len(black) > len(white) and sign_test(len(black - white), len(white - black)) < UNLIKELY:
            yield _flag("black_box_better", key, f"{key[2]} breaks {len(black)} of {len(_right(rows))} clips, the attacks with gradients together {len(white)}")


def oblivious_better(cells: Cells, specs: dict[str, AttackSpec]) -> Iterator[Flag]:
    """What was made without knowing the defense does better than the attack that knows it: that attack failed, the defense has shown nothing."""
    for key, rows in _white_box(cells, specs):
        other = (*key[:3], "oblivious", *key[4:])
        if key[1] == NONE or key == other or other not in cells:
            continue
        knowing, sent = _broken(rows), _broken(cells[other])
        if len(sent) > len(knowing) and sign_test(len(sent - knowing), len(knowing - sent)) < UNLIKELY:
            yield _flag("oblivious_better", key, f"the attack that knows the defense breaks {len(knowing)} of {len(_right(rows))} clips, the one that does not {len(sent)}")


def not_converged(cells: Cells, specs: dict[str, AttackSpec], draws: dict[tuple[str, str], int]) -> Iterator[Flag]:
    """Clips still fall in the last tenth of the steps. Seen from the passes of attacks whose clips leave early; `draws`: passes a step of a random
    (model, defense)."""
    for key, rows in _white_box(cells, specs):
        steps = _steps(specs[key[2]])
        if not steps or key[3] == "oblivious":
            continue
        each = draws.get(key[:2], 1)
        late = [row for row in rows if succeeded(row) and row["passes"] and (row["passes"] // each - 1) % steps >= steps * (1 - LATE)]
        right = len(_right(rows))
        if len(late) >= 2 and len(late) > STILL * right:
            yield _flag("not_converged", key, f"{len(late)} of {right} clips fall in the last tenth of {steps} steps")


def _steps(spec: AttackSpec) -> int | None:
    """The steps of an attack whose clips leave when they are done; None where passes do not tell when that was."""
    attack = spec.make()
    steps = getattr(attack, "steps", 0)
    return steps if steps >= 1 / LATE and not getattr(attack, "full", True) else None


def eps_zero_differs(cells: Cells) -> Iterator[Flag]:
    """A clip that nothing was added to is heard as another word than before."""
    for key, rows in cells.items():
        untouched = [row for row in rows if row["linf"] == 0]
        differing = sum(row["clean_prediction"] != row["adversarial_prediction"] for row in untouched)
        if differing:
            yield _flag("eps_zero_differs", key, f"{differing} of {len(untouched)} clips without a perturbation are heard differently")


def lost_in_saving(cells: Cells) -> Iterator[Flag]:
    """The attack saw its goal reached, the saved file does not reach it."""
    for key, rows in cells.items():
        if not rows[0]["adaptive"] and rows[0]["threat"] != "black-box":
            continue
        lost = sum(row["reached"] and not _reaches(row) for row in rows)
        if lost:
            yield _flag("lost_in_saving", key, f"{lost} of {sum(row['reached'] for row in rows)} successes are gone when the file is read back")


def _reaches(row: Row) -> bool:
    heard = row["adversarial_prediction"]
    return heard == row["target"] if row["target"] is not None else heard != row["label"]


def _probe_flag(name: str, probe: dict[str, Any], figure: str) -> Flag:
    return _flag(name, {"model": probe["model"], "defense": probe["defense"]}, figure)


def unbounded_fails(probe: dict[str, Any]) -> Flag | None:
    """With half of full scale allowed an attack with gradients must succeed: no clip sounds like itself then."""
    tried, reached = probe["unbounded_tried"], probe["unbounded_reached"]
    bad = tried and reached < UNBOUNDED_RATE * tried
    return _probe_flag("unbounded_fails", probe, f"{reached} of {tried} clips broken with linf:0.5") if bad else None


def zero_gradients(probe: dict[str, Any]) -> Flag | None:
    """The loss has no gradient at all on clips: an attack has nothing to follow."""
    zero, clips = probe["zero_gradients"], probe["clips"]
    return _probe_flag("zero_gradients", probe, f"{zero} of {clips} clips") if zero > NO_GRADIENT_RATE * clips else None


def random_passes(probe: dict[str, Any]) -> Flag | None:
    """Two passes over the same clips differ: a verdict may be luck."""
    difference = probe["largest_difference"]
    return _probe_flag("random_passes", probe, f"logits differ by up to {difference:.3g} between two passes") if difference > 0 else None


def probabilities(probe: dict[str, Any]) -> Flag | None:
    """The outputs look like probabilities: a softmax inside the model squeezes the gradient of the loss."""
    low, high = probe["sums"]
    are = abs(low - 1) < ALIKE and abs(high - 1) < ALIKE and probe["lowest_output"] >= 0
    return _probe_flag("probabilities", probe, f"outputs are at least {probe['lowest_output']:.3g} and sum to {low:.6f} to {high:.6f}") if are else None


NAMES = tuple(check.__name__ for check in (not_monotone, unbounded_fails, one_step_as_good, black_box_better, oblivious_better, noise_as_good, eps_zero_differs,
                                           zero_gradients, random_passes, probabilities, not_converged, lost_in_saving))
