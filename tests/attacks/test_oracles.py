"""Analytic oracles: on a linear classifier over raw samples every attack with gradients finds the known minimal perturbation within 5 %.

An attack that looks for the smallest one must return it; one that fills its budget must succeed with a budget 5 % above the known minimum.
"""
import math

import pytest

from speechadv.budgets.base import LSB
from speechadv.goals import Misclassify, Target
from speechadv.registry import create, keywords, lookup, names

# What each attack needs on a classifier that knows no time: no moving in time, no rooms, no change of level; and enough steps.
STILL = {"shift": 0.0, "gain_db": 0.0, "copies": 1}
OPTIONS = {
    "pgd": [{}, {"optimizer": "adam"}, {"momentum": 0.75}, {"loss": "margin"}],
    "apgd": [{"loss": loss, "steps": 40} for loss in ("cross_entropy", "margin", "targeted")],
    "fgsm": [{}], "ensemble": [{"steps": 30, "queries": 1}], "mifgsm": [STILL], "universal": [{"steps": 30, "shift": 0.0}],
    "fmn": [{"steps": 40}], "ddn": [{"steps": 60}], "cw": [{"steps": 50, "searches": 4}],
}
EXEMPT = {"over_the_air": "a room has no classifier of samples behind it", "qin": "looks for what is hidden, not for what is small"}
WHITE = [name for name in names("attack") if lookup("attack", name).white_box]
CASES = [(name, options) for name in WHITE for options in OPTIONS.get(name, ())]
SMALLEST = [(name, options) for name, options in CASES if "quietest" in keywords("attack", name) or name in ("ddn", "cw")]
FILLING = [case for case in CASES if case not in SMALLEST]


def test_every_attack_with_gradients_has_its_oracle_or_a_reason():
    assert set(WHITE) == set(OPTIONS) | set(EXEMPT)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("order", [math.inf, 2.0], ids=["linf", "l2"])
@pytest.mark.parametrize("name, options", FILLING, ids=str)
def test_it_succeeds_5_percent_above_the_known_minimum(name, options, order, targeted, linear, attacked):
    model, clean, labels = linear(time=800, clips=3)
    for row, shortest in enumerate(model.shortest(clean, order).tolist()):
        clip, label = clean[row : row + 1], labels[row : row + 1]
        budget = f"linf:{1.05 * shortest + LSB}" if order == math.inf else f"snr:{20 * math.log10(float(clip.norm()) / (1.05 * shortest))}"
        goal, wanted = (Target, 1 - label) if targeted else (Misclassify, label)
        assert attacked(create("attack", name, **options), model, clip, wanted, budget, goal=goal).reached.all()


@pytest.mark.parametrize("order", [math.inf, 2.0], ids=["linf", "l2"])
@pytest.mark.parametrize("name, options", SMALLEST, ids=str)
def test_it_finds_the_known_minimum(name, options, order, linear, attacked):
    if order == math.inf and name != "fmn":
        pytest.skip("looks for little energy")
    model, clean, labels = linear(time=800, clips=3)
    found = attacked(create("attack", name, **options), model, clean, labels, "linf:0.1" if order == math.inf else "snr:6")
    lengths, shortest = (found.adversarial - clean).norm(p=order, dim=1), model.shortest(clean, order)
    assert found.reached.all() and (lengths < 1.05 * shortest + LSB * (order == math.inf)).all(), lengths / shortest


@pytest.mark.parametrize("name, options", FILLING, ids=str)
def test_it_does_not_succeed_where_nothing_can(name, options, linear, attacked):
    model, clean, labels = linear(time=800, clips=3)
    quiet = 20 * math.log10(float((clean.norm(dim=1) / (0.95 * model.shortest(clean, 2.0))).max()))
    assert not attacked(create("attack", name, **options), model, clean, labels, f"snr:{quiet}").reached.any()
