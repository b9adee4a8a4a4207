"""The minimum-norm attacks against the known distance on a linear classifier, and against each other where the boundary is curved."""
import math

import pytest
import torch

from speechadv.attacks.cw import CW
from speechadv.attacks.ddn import DDN
from speechadv.attacks.fmn import FMN, Ball
from speechadv.attacks.pgd import PGD
from speechadv.budgets import parse_budget
from speechadv.budgets.base import LSB
from speechadv.errors import ConfigError
from speechadv.goals import Target

QUIETEST = [FMN(steps=40), DDN(steps=60), CW(steps=50, searches=4)]


def name(attack):
    return type(attack).__name__


def norms(result, clean, order):
    return (result.adversarial - clean).norm(p=order, dim=1)


@pytest.mark.parametrize("attack, budget, order", [(FMN(steps=30), "linf:0.1", math.inf)] + [(attack, "snr:6", 2.0) for attack in QUIETEST],
                         ids=["FMN-linf", "FMN", "DDN", "CW"])
def test_the_distance_on_a_linear_classifier_is_found_within_5_percent(attack, budget, order, linear, attacked):
    model, clean, labels = linear(time=800)
    shortest = model.shortest(clean, order)
    found = attacked(attack, model, clean, labels, budget)
    assert found.reached.all() and parse_budget(budget).satisfied(clean, found.adversarial).all()
    lengths = norms(found, clean, order)
    rounding = LSB if order == math.inf else 0.0  # a peak between two LSBs becomes the higher one
    assert (lengths > 0.99 * shortest).all() and (lengths < 1.05 * shortest + rounding).all(), lengths / shortest


@pytest.mark.parametrize("attack", QUIETEST, ids=name)
def test_a_target_is_reached_the_short_way(attack, linear, attacked):
    model, clean, labels = linear(classes=2, time=800)
    found = attacked(attack, model, clean, 1 - labels, "snr:6", goal=Target)
    assert found.reached.all() and (norms(found, clean, 2) < 1.05 * model.shortest(clean, 2.0)).all()


def test_the_three_agree_where_the_boundary_is_curved(bent, attacked):
    model, clean, labels = bent
    found = [attacked(attack, model, clean, labels, "snr:3") for attack in QUIETEST]
    assert all(result.reached.all() for result in found)
    lengths = torch.stack([norms(result, clean, 2) for result in found])
    assert (lengths.median(1).values.amax() < 1.15 * lengths.median(1).values.amin())
    assert (lengths < 0.9 * parse_budget("snr:3").bind(clean).radius).all()  # quieter than the budget


@pytest.mark.parametrize("attack", QUIETEST, ids=name)
@pytest.mark.parametrize("budget", ["linf:0.002", "snr:30", "linf:0.002+snr:25"])
def test_the_budget_holds_where_it_is_too_tight(attack, budget, bent, attacked):
    model, clean, labels = bent
    found = attacked(attack, model, clean, labels, budget)
    assert parse_budget(budget).satisfied(clean, found.adversarial).all()
    if isinstance(attack, FMN):  # the others look for little energy and not for what an L-infinity ball has in its corners
        assert found.reached.sum() >= attacked(PGD(steps=30, loss="margin"), model, clean, labels, budget).reached.sum() - 1


def test_a_ball_grows_until_it_works_and_then_closes_in():
    bound = parse_budget("linf:0.5").bind(torch.zeros(1, 10))
    rule, gradient, share = Ball(50, 0.05, torch.zeros(1, 1)), torch.ones(1, 10), []
    iterate = torch.zeros(1, 10)
    for _ in range(50):
        margin = (iterate - 0.2).sum(1)  # reached at 0.2 = 0.4 of the budget
        share.append(float(rule.share))
        iterate = rule.advance(bound, iterate, gradient, margin, margin > 0)
    assert share[0] == 0 and 0.4 < float(rule.smallest) < 0.41
    assert all(0 < value <= 1 for value in share[1:])


def test_without_the_quietest_a_clip_leaves_at_once(bent, attacked):
    model, clean, labels = bent
    patient, hasty = (attacked(FMN(steps=20, quietest=q), model, clean, labels, "snr:10") for q in (True, False))
    assert patient.reached.all() and hasty.reached.all()
    assert (hasty.passes < patient.passes).all() and patient.passes.tolist() == [20] * len(clean)
    assert (norms(patient, clean, 2) <= norms(hasty, clean, 2) * 1.01).all()


@pytest.mark.parametrize("make, word", [
    (lambda: FMN(steps=0), "steps"), (lambda: FMN(rate=1.0), "rate"), (lambda: FMN(restarts=0), "restarts"), (lambda: DDN(steps=0), "steps"),
    (lambda: DDN(rate=0.0), "rate"), (lambda: DDN(loss="mse"), "loss"), (lambda: CW(searches=0), "searches"), (lambda: CW(step_size=0.0), "step_size")])
def test_wrong_options_are_named(make, word):
    with pytest.raises(ConfigError, match=word):
        make()
