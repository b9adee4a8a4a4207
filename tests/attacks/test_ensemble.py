"""The ensemble: at least as strong as each of its parts, and what falls early costs no later stage."""
import pytest
import torch

from speechadv.attacks.apgd import APGD
from speechadv.attacks.ensemble import Ensemble
from speechadv.attacks.fmn import FMN
from speechadv.attacks.square import Square
from speechadv.budgets import parse_budget
from speechadv.goals import Misclassify, Target


@pytest.mark.parametrize("budget", ["linf:0.002", "snr:32"])
def test_it_is_as_strong_as_each_part(budget, bent, attacked):
    model, clean, labels = bent
    result = attacked(Ensemble(queries=60), model, clean, labels, budget)
    assert parse_budget(budget).satisfied(clean, result.adversarial).all()
    parts = [attacked(part, model, clean, labels, budget) for part in (APGD(steps=100), FMN(steps=100), Square(60))]
    assert 0 < result.reached.sum() < len(clean), "a budget at which some hold out"
    assert all(result.reached.sum() >= part.reached.sum() for part in parts)
    fallen = parts[0].reached  # by the first stage, which draws the same start here and there
    assert torch.equal(result.passes[fallen], parts[0].passes[fallen])
    assert (result.passes[~result.reached] == 100 + 3 * 50 + 100).all()


def test_the_recipes_are_the_settled_ones():
    default, full = Ensemble().stages, Ensemble(full_recipe=True).stages
    assert [type(stage).__name__ for stage in default] == ["APGD", "APGD", "FMN", "Square"]
    assert [(s.loss, s.steps, s.restarts) for s in default[:2]] == [("cross_entropy", 100, 1), ("targeted", 50, 1)]
    assert default[1].targets == 3 and default[2].steps == 100 and default[3].queries == 1000
    assert [(s.loss, s.steps, s.restarts) for s in full[:2]] == [("cross_entropy", 100, 5), ("targeted", 100, 1)]
    assert full[1].targets == 9 and full[2].restarts == 5 and full[3].queries == 5000


def test_targets_and_the_whole_budget(bent, attacked):
    model, clean, labels = bent
    target = (labels + 1) % 4
    results = []
    for full in (False, True):
        results.append(attacked(Ensemble(steps=10, queries=20, full=full), model, clean, target, "snr:15", goal=Target))
    margins = [Target(target).loss(model(result.adversarial).detach(), "margin") for result in results]
    assert results[0].reached.all() and results[1].reached.all() and (margins[1] > margins[0]).all()
    assert Misclassify(labels).reached(model(results[1].adversarial)).all()
