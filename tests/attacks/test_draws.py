"""Random defenses: gradients and verdicts are means over draws, every draw is counted, and a clip's draws are its own."""
import pytest
import torch

from speechadv.attacks import base
from speechadv.attacks.base import FULL_CALL, Problem
from speechadv.attacks.mifgsm import MIFGSM
from speechadv.attacks.pgd import PGD
from speechadv.budgets import parse_budget
from speechadv.defenses import Defended, Defense
from speechadv.errors import ConfigError, InputError
from speechadv.goals import Misclassify
from speechadv.randomness import apart, clip_generators, drawing, uniform
from speechadv.registry import create, keywords, lookup, names


class Louder(Defense):
    """Turns each clip down to a share of its loudness, drawn anew at each pass."""

    name, stochastic = "louder", True

    def forward(self, waveforms):
        return uniform(self.generators_for(waveforms), (1,)) * waveforms


def generators(count, seed=0):
    return clip_generators(seed, "cell", [str(i) for i in range(count)])


def problem_of(defended, clean, labels, seed=0):
    return Problem(defended, clean, Misclassify(labels), parse_budget("linf:0.01").bind(clean), generators(len(clean), seed))


@pytest.mark.parametrize("draws", [3, FULL_CALL])  # in one call, and in several
def test_gradient_and_loss_are_means_over_independent_draws(draws, bent):
    model, clean, labels = bent
    mean = problem_of(Defended(model, Louder(), draws=draws), clean, labels)
    logits, loss, gradient = mean.gradient(torch.zeros_like(clean), "margin")
    own, each = apart(mean.model, generators(len(clean)), draws), []
    for number in range(draws):
        single = problem_of(Defended(model, Louder()), clean, labels)
        single.generators = [clip[number] for clip in own]
        each.append(single.gradient(torch.zeros_like(clean), "margin"))
    assert (mean.passes == draws).all() and (single.passes == 1).all() and not torch.equal(each[0][2], each[1][2])
    for found, column in zip((logits, loss, gradient), zip(*each)):
        assert torch.allclose(found, torch.stack(column).mean(0), rtol=1e-3, atol=1e-5)


def test_every_draw_is_counted(bent, counting):
    model, clean, labels = bent
    ear = counting(Defended(model, Louder(), draws=4))
    ear.draws, ear.stochastic = 4, True
    result = PGD(steps=5, full=True)(ear, clean, Misclassify(labels), parse_budget("linf:0.001"), generators=generators(len(clean)))
    assert (result.passes[~result.already] == 5 * 4).all() and (result.queries[~result.already] == 4).all()
    assert ear.clips == int(result.passes.sum() + result.queries.sum()) + 2 * 4 * len(clean), "and the judge's, before and after"


@pytest.mark.parametrize("attack", [PGD(steps=4, full=True), MIFGSM(steps=3)])
def test_a_clips_draws_do_not_depend_on_the_others(attack, bent):
    model, clean, labels = bent
    defended, goal, budget = Defended(model, Louder(), draws=2), Misclassify(labels), parse_budget("linf:0.01")
    together = attack(defended, clean, goal, budget, generators=generators(len(clean))).adversarial
    again = attack(defended, clean, goal, budget, generators=generators(len(clean))).adversarial
    alone = attack(defended, clean[5:6], goal.select(torch.tensor([5])), budget, generators=generators(len(clean))[5:6]).adversarial
    assert torch.equal(together, again) and torch.equal(together[5:6], alone)
    other = attack(defended, clean, goal, budget, generators=generators(len(clean), seed=1)).adversarial
    assert not torch.equal(together, other)


def test_two_random_parts_draw_the_same_in_one_call_and_in_several(bent, monkeypatch):
    """Several rows of a clip that shared its generator would draw in an order that hangs on how many are in a call."""
    model, clean, labels = bent
    found = []
    for size in (FULL_CALL, 5):
        monkeypatch.setattr(base, "FULL_CALL", size)
        problem = problem_of(Defended(model, Louder(), Louder(), draws=6), clean, labels)
        found.append((*problem.gradient(torch.zeros_like(clean), "margin"), problem.expected(torch.zeros_like(clean)), problem.logits(torch.zeros(len(clean), 3, clean.shape[1]))))
    for one, several in zip(*found):
        assert torch.allclose(one, several, rtol=1e-4, atol=1e-6)


class Coin(Defense):
    """Sends one draw in ten through with the sign changed, which is another class."""

    name, stochastic = "coin", True

    def forward(self, waveforms):
        return torch.where(uniform(self.generators_for(waveforms), (1,)) < 0.1, -waveforms, waveforms)


@pytest.mark.parametrize("name, options", [("square", {"queries": 400}), ("simba", {"queries": 400}), ("nes", {"queries": 400, "samples": 6}), ("noise", {"draws": 13}),
                                           ("genetic", {"queries": 400, "population": 6})])
def test_a_search_takes_no_lucky_draw_for_its_success(name, options, linear):
    model, clean, labels = linear(time=200)
    attack, small = create("attack", name, **options), parse_budget("linf:0.0001")
    result = attack(Defended(model, Coin(), draws=32), clean, Misclassify(labels), small, generators=generators(len(clean)))
    all_spent = 60 if name == "genetic" else 380  # ten generations of six: it keeps 32 queries of each for the best one, which most of them do not need
    assert not result.reached.any() and (result.queries >= all_spent).all(), "nobody leaves"


@pytest.mark.parametrize("name, least", [("square", 33), ("simba", 33), ("nes", 34), ("genetic", 35)])
def test_too_few_queries_to_be_sure_of_a_success_are_told_before_the_first(name, least, linear):
    model, clean, labels = linear(time=200)
    defended, goal, budget = Defended(model, Coin(), draws=32), Misclassify(labels), parse_budget("linf:0.0001")
    with pytest.raises(ConfigError, match=f"queries: expected {least} or more, since a success on a random model is heard 32 times, got {least - 1}"):
        create("attack", name, queries=least - 1)(defended, clean, goal, budget, generators=generators(len(clean)))
    result = create("attack", name, queries=least)(defended, clean, goal, budget, generators=generators(len(clean)))
    assert (result.queries > 0).all() and (result.queries <= least).all()


def test_success_is_judged_by_the_mean_of_the_draws(linear):
    model, clean, labels = linear(time=200)

    small = parse_budget("linf:0.0001")
    lucky = [PGD(steps=20)(Defended(model, Coin(), draws=draws), clean, Misclassify(labels), small, generators=generators(len(clean)))
             for draws in (1, 64)]
    assert lucky[0].passes[~lucky[0].already].min() < 20, "with one draw a clip leaves at a lucky one"
    assert not lucky[1].reached.any() and not lucky[1].already.any() and (lucky[1].passes == 20 * 64).all()


def test_draws_without_generators_and_with_too_few():
    louder, clean = Louder(), torch.ones(2, 10)
    assert not torch.equal(louder(clean), louder(clean))
    with drawing(louder, generators(2)):
        first = louder(clean)
    with drawing(louder, generators(2)):
        assert torch.equal(louder(clean), first)
    assert louder.generators is None
    with drawing(louder, generators(1)), pytest.raises(InputError, match="expected 2 generators"):
        louder(clean)


@pytest.mark.parametrize("name", [name for name in names("attack") if "queries" in keywords("attack", name) and not lookup("attack", name).white_box])
def test_a_budget_of_queries_holds_for_random_models_too(name, bent):
    model, clean, labels = bent
    budget = parse_budget("linf:0.001+snr:30")  # rounds roughly while searching: successes are confirmed, which is asked for as well
    result = create("attack", name, queries=40)(Defended(model, Louder(), draws=4), clean, Misclassify(labels), budget, generators=generators(len(clean)))
    assert (result.queries <= 40).all() and (result.queries[~result.already] > 0).all() and not result.passes.any()
