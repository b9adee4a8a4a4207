"""Signs that a number cannot be trusted. Each flag has a section in docs/warnings.md; none changes a number."""
import functools
import operator
from collections import Counter
from dataclasses import dataclass
from typing import Any, Iterator, Sequence

from ..budgets import parse_budget
from ..budgets.base import Budget
from ..budgets.intersection import Intersection
from ..budgets.linf import Linf
from ..budgets.masking import Masking
from ..budgets.snr import Snr
from ..defenses import NONE
from .aggregate import by_cell
from .cells import CELL_KEYS, WORST, AttackSpec, attack_specs
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

Flag = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """What the checks ask of a cell's rows, so that the rows themselves need not be kept.

    Attributes:
        adaptive, threat: of its first row.
        broken: the clips that the attack broke, a bit each.
        right: how many were right before.
        passes: of the broken clips, how many took how many.
        untouched, changed: clips that nothing was added to, and those of them that are heard differently.
        reached, lost: clips whose goal the attack saw reached, and those of them whose saved file does not reach it.
    """

    adaptive: bool
    threat: str
    broken: int
    right: int
    passes: Counter[int]
    untouched: int
    changed: int
    reached: int
    lost: int

    @property
    def fell(self) -> int:
        """How many are broken."""
        return self.broken.bit_count()


Cells = dict[tuple, Seen]


def seen(rows: Sequence[Row], places: dict[str, int]) -> Seen:
    """What the checks ask of the rows of one cell; `places` gives each clip its bit and learns those that it does not know."""
    fallen = [row for row in rows if succeeded(row)]
    bits = sum(1 << place for place in {places.setdefault(row["clip"], len(places)) for row in fallen})
    untouched, reached = ([row for row in rows if row["linf"] == 0], [row for row in rows if row["reached"]])
    return Seen(rows[0]["adaptive"], rows[0]["threat"], bits, sum(map(right_before, rows)), Counter(row["passes"] for row in fallen), len(untouched),
                sum(row["clean_prediction"] != row["adversarial_prediction"] for row in untouched), len(reached), sum(not _reaches(row) for row in reached))


def flags(rows: Sequence[Row], config: EvaluationConfig, probes: Sequence[dict[str, Any]]) -> list[Flag]:
    """All flags of a run from its rows, see `flags_of`."""
    places: dict[str, int] = {}
    return flags_of({key: seen(those, places) for key, those in by_cell(rows).items() if key[2] != WORST}, config, probes)


def flags_of(all_cells: Cells, config: EvaluationConfig, probes: Sequence[dict[str, Any]]) -> list[Flag]:
    """All flags of a run.

    Args:
        all_cells: of the run, in the order of the table.
        config: of the run.
        probes: the answers of `probes.probe_all`.

    Returns:
        {"flag", "cell" (the table's keys; a probe's has model and defense alone), "figure" (the numbers in words), "page"} each.
    """
    specs = {spec.label: spec for spec in attack_specs(config.attacks)}
    cells = {key: cell for key, cell in all_cells.items() if key[2] in specs}
    found: list[Flag] = []
    for check in (not_monotone, one_step_as_good, black_box_better, oblivious_better, noise_as_good):
        found += check(cells, specs)
    random = {(probe["model"], probe["defense"]) for probe in probes if probe["largest_difference"]}
    found += not_converged(cells, specs, random)
    found += eps_zero_differs(cells)
    found += lost_in_saving({key: cell for key, cell in cells.items() if key[:2] not in random})  # another draw is another verdict, saved or not
    for check in (unbounded_fails, zero_gradients, random_passes, probabilities):
        found += filter(None, map(check, probes))
    return found


def _flag(name: str, cell: tuple | dict, figure: str) -> Flag:
    keys = cell if isinstance(cell, dict) else dict(zip(CELL_KEYS, cell))
    return {"flag": name, "cell": keys, "figure": figure, "page": f"{PAGE}#{name}"}


def _white_box(cells: Cells, specs: dict[str, AttackSpec]) -> Iterator[tuple[tuple, Seen]]:
    """Cells in which gradients of the very model that is scored were followed, for each clip: one waveform for all clips proves nothing about a gradient."""
    return ((key, cell) for key, cell in cells.items() if cell.adaptive and specs[key[2]].white_box and not specs[key[2]].make().learns)


def _unlike(here: int, there: int) -> bool:
    """Whether two sets of broken clips, a bit each, differ by more than chance."""
    return sign_test((here & ~there).bit_count(), (there & ~here).bit_count()) < UNLIKELY


def not_monotone(cells: Cells, specs: dict[str, AttackSpec]) -> Iterator[Flag]:
    """A larger budget breaks fewer clips: it holds everything that the smaller one holds, so the attack stopped short."""
    white = dict(_white_box(cells, specs))
    for small, here in white.items():
        for large, there in white.items():
            if small[:4] + small[5:] != large[:4] + large[5:] or small == large or not contains(parse_budget(large[4]), parse_budget(small[4])):
                continue
            if here.fell > there.fell and _unlike(here.broken, there.broken):
                yield _flag("not_monotone", large, f"{there.fell} of {there.right} clips broken with {large[4]}, {here.fell} with the smaller {small[4]}")


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
    for key, cell in white.items():
        single = [other for other in white if _same_but_attack(key, other) and specs[other[2]].name == "fgsm"]
        if specs[key[2]].name == "fgsm" or not single:
            continue
        yield from _as_good("one_step_as_good", key, cell, single[0], white[single[0]])


def noise_as_good(cells: Cells, specs: dict[str, AttackSpec]) -> Iterator[Flag]:
    """Random noise breaks as many clips as an attack with gradients, which does not break all."""
    for key, cell in _white_box(cells, specs):
        for other in cells:
            if specs[other[2]].name == "noise" and key[:2] + key[4:] == other[:2] + other[4:]:
                yield from _as_good("noise_as_good", key, cell, other, cells[other])


def _as_good(name: str, key: tuple, strong: Seen, weak: tuple, weaker: Seen) -> Iterator[Flag]:
    if weaker.fell >= max(FEW, strong.fell) and strong.fell < strong.right:
        yield _flag(name, key, f"{weak[2]} breaks {weaker.fell} of {weaker.right} clips, {key[2]} {strong.fell} of {strong.right}")


def _same_but_attack(key: tuple, other: tuple) -> bool:
    return key != other and key[:2] + key[3:] == other[:2] + other[3:]


def black_box_better(cells: Cells, specs: dict[str, AttackSpec]) -> Iterator[Flag]:
    """An attack without gradients breaks clips that those with gradients leave, and hardly the other way round."""
    for key, black in cells.items():
        spec = specs[key[2]]
        if spec.white_box or spec.name == "noise":
            continue
        stronger = [cell.broken for other, cell in _white_box(cells, specs) if key[:2] + key[4:] == other[:2] + other[4:]]
        white = functools.reduce(operator.or_, stronger, 0)
        if stronger and black.fell > white.bit_count() and _unlike(black.broken, white):
            yield _flag("black_box_better", key, f"{key[2]} breaks {black.fell} of {black.right} clips, the attacks with gradients together {white.bit_count()}")


def oblivious_better(cells: Cells, specs: dict[str, AttackSpec]) -> Iterator[Flag]:
    """What was made without knowing the defense does better than the attack that knows it: that attack failed, the defense has shown nothing."""
    for key, knowing in _white_box(cells, specs):
        other = (*key[:3], "oblivious", *key[4:])
        if key[1] == NONE or key == other or other not in cells:
            continue
        sent = cells[other]
        if sent.fell > knowing.fell and _unlike(sent.broken, knowing.broken):
            yield _flag("oblivious_better", key, f"the attack that knows the defense breaks {knowing.fell} of {knowing.right} clips, the one that does not {sent.fell}")


def not_converged(cells: Cells, specs: dict[str, AttackSpec], random: set[tuple[str, str]]) -> Iterator[Flag]:
    """Clips still fall in the last tenth of the steps. Seen from the passes of attacks whose clips leave early: behind a `random` (model, defense) all stay."""
    for key, cell in _white_box(cells, specs):
        steps = _steps(specs[key[2]])
        if not steps or key[3] == "oblivious" or key[:2] in random:
            continue
        late = sum(clips for passes, clips in cell.passes.items() if passes and (passes - 1) % steps >= steps * (1 - LATE))
        if late >= 2 and late > STILL * cell.right:
            yield _flag("not_converged", key, f"{late} of {cell.right} clips fall in the last tenth of {steps} steps")


def _steps(spec: AttackSpec) -> int | None:
    """The steps of an attack whose clips leave when they are done; None where passes do not tell when that was."""
    attack = spec.make()
    steps = getattr(attack, "steps", 0)
    return steps if steps >= 1 / LATE and not getattr(attack, "full", True) else None


def eps_zero_differs(cells: Cells) -> Iterator[Flag]:
    """A clip that nothing was added to is heard as another word than before."""
    for key, cell in cells.items():
        if cell.changed:
            yield _flag("eps_zero_differs", key, f"{cell.changed} of {cell.untouched} clips without a perturbation are heard differently")


def lost_in_saving(cells: Cells) -> Iterator[Flag]:
    """The attack saw its goal reached, the saved file does not reach it."""
    for key, cell in cells.items():
        if cell.lost and (cell.adaptive or cell.threat == "black-box"):
            yield _flag("lost_in_saving", key, f"{cell.lost} of {cell.reached} successes are gone when the file is read back")


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
