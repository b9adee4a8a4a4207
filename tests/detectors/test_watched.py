"""A model and its detector attacked as one thing, by the library's own loop."""
import pytest
import torch

from speechadv.attacks.pgd import PGD
from speechadv.budgets import parse_budget
from speechadv.defenses import Defended, parse_defense
from speechadv.detectors import Detector, Undetected, Watched, parse_detector
from speechadv.detectors.watched import CONFIDENT, SLACK
from speechadv.goals import Misclassify, Target
from speechadv.randomness import clip_generators, drawing


class Loud(Detector):
    """Suspects what is loud: the attacker must become quieter to pass, and louder to be heard otherwise."""

    name = "loud"

    def score(self, model, waveforms, logits):
        return waveforms.square().mean(1)


def test_the_last_output_is_the_score(linear, waveforms):
    model, detector = linear(), parse_detector("margin")
    outputs = Watched(model, detector)(waveforms)
    assert torch.equal(outputs[:, :-1], model(waveforms)) and torch.equal(outputs[:, -1], detector(model, waveforms))


def test_draws_only_where_something_is_random(linear):
    assert Watched(linear(), parse_detector("margin"), draws=8).draws == 1
    assert Watched(linear(), parse_detector("margin:noise=0.01"), draws=8).draws == 8


def test_reached_is_fooled_and_unseen():
    goal = Undetected(Misclassify(torch.zeros(4, dtype=torch.int64)), threshold=2.0, scale=1.0, weight=torch.ones(4))
    outputs = torch.tensor([[0.0, 1.0, 1.9], [0.0, 1.0, 2.1], [1.0, 0.0, 1.9], [0.0, 1.0, 2.0 - SLACK / 2]])
    assert goal.reached(outputs).tolist() == [True, False, False, False]  # the last is not far enough below to survive another rounding
    assert Undetected(Target(torch.ones(4, dtype=torch.int64)), 2.0, 1.0, torch.ones(4)).reached(outputs).tolist() == [True, False, False, False]


def test_the_loss_asks_for_what_is_missing():
    weight = torch.tensor([0.5, 2.0])
    goal = Undetected(Misclassify(torch.zeros(2, dtype=torch.int64)), threshold=2.0, scale=4.0, weight=weight)
    outputs = torch.tensor([[3.0, 1.0, 12.0], [0.0, 9.0, 12.0]], requires_grad=True)
    excess = torch.tensor((12 - 2) / 4 + SLACK).log1p()
    assert torch.allclose(goal.loss(outputs), torch.tensor([-2.0, CONFIDENT]) - weight * excess)
    slope = torch.autograd.grad(goal.loss(outputs).sum(), outputs)[0]
    assert slope[0].tolist()[:2] == [-1.0, 1.0] and slope[1].tolist()[:2] == [0.0, 0.0] and (slope[:, 2] < 0).all()
    unseen = torch.tensor([[3.0, 1.0, 0.0], [0.0, 9.0, 0.0]], requires_grad=True)
    assert torch.autograd.grad(goal.loss(unseen).sum(), unseen)[0][:, 2].abs().max() == 0
    assert goal.loss(outputs, "cross_entropy").equal(goal.loss(outputs))
    assert goal.select(torch.tensor([1])).loss(outputs[1:]) == goal.loss(outputs)[1] and len(goal.select(torch.tensor([1]))) == 1


@pytest.mark.parametrize("targeted", [False, True])
def test_one_loop_attacks_both(linear, waveforms, targeted):
    """The detector hears loudness alone, so that it can be passed: the attack's own result says so, on the 16-bit grid inside the budget."""
    model = linear()
    heard = model(waveforms).argmax(1)
    goal = Target((heard + 1) % 3) if targeted else Misclassify(heard)
    watched, budget = Watched(model, Loud()), parse_budget("linf:0.05")
    threshold = float(waveforms.square().mean(1).min()) * 0.98  # all clips are suspected as they are
    drawn = lambda: clip_generators(0, "watched", "0123")
    alone = PGD(steps=20, loss="margin")(model, waveforms, goal, budget, generators=drawn())
    both = PGD(steps=60, loss="margin")(watched, waveforms, Undetected(goal, threshold, 0.001, torch.ones(4)), budget, generators=drawn())
    assert alone.reached.all() and (alone.adversarial.square().mean(1) > threshold).any()
    assert both.reached.all() and (both.adversarial.square().mean(1) <= threshold).all() and goal.reached(model(both.adversarial)).all()
    assert budget.satisfied(waveforms, both.adversarial).all() and (both.passes > 0).all()


@pytest.mark.parametrize("spec", ["temporal:shift=10,parts=3", "margin:noise=0.01"])
def test_a_random_model_is_watched_too(spec, linear, waveforms):
    """The detector hears each clip several times in one call; each time the model draws apart."""
    watched = Watched(Defended(linear(), *parse_defense("noise:20", 16000)), parse_detector(spec))
    generators = lambda: clip_generators(0, "a", [str(i) for i in range(len(waveforms))])
    with drawing(watched, generators()):
        whole = watched(waveforms)
    with drawing(watched, generators()[1:2]):
        alone = watched(waveforms[1:2])
    torch.testing.assert_close(whole[1:2], alone, rtol=1e-4, atol=1e-5)
