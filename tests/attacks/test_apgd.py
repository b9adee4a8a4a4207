"""APGD against what is known: the optimum on a linear classifier, the paper's schedule, and PGD on a small network."""
import math

import pytest
import torch

from speechadv.attacks.apgd import APGD
from speechadv.attacks.pgd import PGD
from speechadv.attacks.steps import Adaptive, checkpoints
from speechadv.budgets import parse_budget
from speechadv.budgets.base import LSB
from speechadv.errors import ConfigError
from speechadv.goals import Misclassify, Target

LOSSES = ("cross_entropy", "margin", "targeted")


def test_the_checkpoints_are_the_papers():
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert all(1 <= place <= steps for steps in range(1, 60) for place in checkpoints(steps))


def test_the_step_begins_at_twice_the_budget_and_is_halved_at_checkpoints_only():
    clean = torch.zeros(1, 50)
    bound, rule = parse_budget("linf:0.01").bind(clean), Adaptive(100)
    iterate, sizes = torch.zeros(1, 50), []
    for step in range(100):
        iterate = rule.advance(bound, iterate, torch.ones(1, 50), torch.zeros(1))  # a loss that never rises
        sizes.append(float(rule.size))
    assert sizes[:22] == [2.0] * 22
    places = [step for step in range(1, 100) if sizes[step] != sizes[step - 1]]
    assert places == sorted(checkpoints(100)) and sizes[-1] == 2.0 / 2**8


def test_a_loss_that_always_rises_keeps_the_step():
    bound, rule = parse_budget("linf:0.01").bind(torch.zeros(1, 50)), Adaptive(100)
    iterate = torch.zeros(1, 50)
    for step in range(100):
        iterate = rule.advance(bound, iterate, torch.ones(1, 50), torch.full((1,), float(step)))
    assert float(rule.size) == 2.0


def test_after_a_halving_the_search_goes_on_from_the_best_point():
    bound, rule = parse_budget("linf:0.5").bind(torch.zeros(1, 3)), Adaptive(10)  # looks at steps 3, 5, 6, ...
    points = [torch.full((1, 3), value) for value in (0.0, 0.1, 0.2, 0.3)]
    zero, one = torch.zeros(1, 3), torch.ones(1, 3)
    for point, loss, gradient in zip(points, (0.0, 5.0, 1.0, 1.0), (zero, one, zero, zero)):
        following = rule.advance(bound, point, gradient, torch.tensor([loss]))
    # From 0.1 with its gradient, a step of half the first size, 2 * 0.5 / 2, ends at the edge; 0.75 of the way there, 0.25 from the last point (0.2) on.
    expected = 0.1 + 0.75 * (bound.limit - 0.1) + 0.25 * (0.1 - 0.2)
    assert torch.allclose(following, torch.full((1, 3), expected), atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_it_finds_the_optimum_on_a_linear_classifier(loss, linear, attacked):
    model, waveforms, labels = linear(clips=24)
    shortest = model.shortest(waveforms, math.inf)
    eps = math.floor(float(shortest.median()) / LSB) * LSB
    result = attacked(APGD(steps=40, loss=loss), model, waveforms, labels, f"linf:{eps}")
    assert result.reached.tolist() == (shortest < eps).tolist()


@pytest.mark.parametrize("budget", ["linf:0.004", "snr:20"])
@pytest.mark.parametrize("loss", LOSSES)
def test_it_spends_the_whole_budget_where_asked(loss, budget, linear, attacked):
    model, waveforms, labels = linear(classes=3)
    target = (labels + 1) % 3
    result = attacked(APGD(steps=30, loss=loss, full=True), model, waveforms, target, budget, goal=Target)
    others = torch.stack([model.gaps(waveforms, target)[1]])[0]
    moved = ((waveforms - result.adversarial) * others).sum(1)
    bound = parse_budget(budget).bind(waveforms)
    most = (bound.size() * bound.steepest(others) * others).sum(1)  # what the strongest allowed perturbation takes off the gap
    # With three classes the goal's loss looks at the strongest other class, which need not be the first one.
    assert (moved >= (0.7 if loss == "cross_entropy" else 0.5) * most).all()
    assert parse_budget(budget).satisfied(waveforms, result.adversarial).all()


def gain(result, model, clean, labels):
    """How far each clip's margin rose, (batch,)."""
    after, before = (Misclassify(labels).loss(model(heard).detach(), "margin") for heard in (result.adversarial, clean))
    return after - before


def test_more_steps_and_more_restarts_never_lose(bent, attacked):
    model, clean, labels = bent

    def mean_gain(**options):
        return float(gain(attacked(APGD(loss="margin", full=True, **options), model, clean, labels, "linf:0.002"), model, clean, labels).mean())

    few, more, most, restarted = mean_gain(steps=2), mean_gain(steps=10), mean_gain(steps=60), mean_gain(steps=2, restarts=4)
    assert few < more <= most + 1e-3 and few <= restarted


@pytest.mark.parametrize("budget", ["linf:0.004", "snr:25"])
def test_it_is_as_strong_as_pgd(budget, bent, attacked):
    model, clean, labels = bent
    reached = [int(attacked(attack, model, clean, labels, budget).reached.sum()) for attack in (APGD(steps=40), PGD(steps=40))]
    assert reached[0] >= reached[1] > 0


def test_targeted_tries_the_likeliest_labels_in_turn_and_counts(linear, attacked):
    model, waveforms, labels = linear(classes=4)
    result = attacked(APGD(steps=5, loss="targeted", targets=3), model, waveforms, labels, f"linf:{LSB}")
    assert not result.reached.any()
    assert result.passes.tolist() == [3 * 5] * len(labels)
    assert result.queries.tolist() == [1 + 3] * len(labels)  # the labels' order, and the last iterate of each search


@pytest.mark.parametrize("options, word", [({"steps": 0}, "steps"), ({"loss": "mse"}, "loss"), ({"targets": 0}, "targets"), ({"restarts": 0}, "restarts")])
def test_wrong_options_are_named(options, word):
    with pytest.raises(ConfigError, match=word):
        APGD(**options)
