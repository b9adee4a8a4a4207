"""The black-box attacks: never a query too many, nothing but logits or labels, and better than chance."""
import pytest
import torch
from torch import nn

from speechadv.attacks.genetic import Genetic
from speechadv.attacks.hopskipjump import HopSkipJump
from speechadv.attacks.nes import NES
from speechadv.attacks.pgd import Noise
from speechadv.attacks.simba import Directions, SimBA, tone_bursts
from speechadv.budgets import parse_budget
from speechadv.budgets.base import LSB
from speechadv.errors import ConfigError
from speechadv.goals import Misclassify
from speechadv.randomness import clip_generators

BLOCK = {"block": 128, "highest": 0.5}
MAKERS = {
    "nes": lambda queries: NES(queries, samples=20),
    "simba-frequency": lambda queries: SimBA(queries, **BLOCK),
    "simba-time": lambda queries: SimBA(queries, domain="time", **BLOCK),
    "genetic": lambda queries: Genetic(queries, population=10),
    "hopskipjump": lambda queries: HopSkipJump(queries, samples=20),
}
everyone = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@everyone
@pytest.mark.parametrize("budget", ["linf:0.003", "snr:28", "linf:0.003+snr:25"])
def test_the_budgets_of_queries_and_of_loudness_hold(make, budget, bent, attacked):
    model, clean, labels = bent
    for queries in (6, 77):
        result = attacked(make(queries), model, clean, labels, budget)
        assert (result.queries <= queries).all() and (result.passes == 0).all()
        assert parse_budget(budget).satisfied(clean, result.adversarial).all()


@everyone
def test_queries_are_what_the_network_heard(make, bent, attacked, counting):
    model, clean, labels = bent
    ear = counting(model)
    result = attacked(make(60), ear, clean, labels, f"linf:{LSB}")  # too little for anyone
    assert not result.reached.any()
    assert ear.clips == int(result.queries.sum()) + 2 * len(clean)  # and the clean clips and the verdict
    if not isinstance(make(60), HopSkipJump):  # which gives up clips that no noise changes
        assert min(ear.calls) == len(clean)  # never a call that is not full


@everyone
def test_they_find_more_than_noise_does(make, bent, attacked):
    model, clean, labels = bent
    budget = "snr:24"
    reached = attacked(make(400), model, clean, labels, budget).reached.sum()
    assert reached > attacked(Noise(400), model, clean, labels, budget).reached.sum()


@everyone
def test_a_clip_does_not_depend_on_the_others(make, bent, attacked):
    model, clean, labels = bent
    together = attacked(make(60), model, clean, labels, "snr:25").adversarial
    generators = clip_generators(0, "cell", ["3", "4"])
    alone = make(60)(model, clean[3:5], Misclassify(labels[3:5]), parse_budget("snr:25"), generators=generators).adversarial
    assert torch.equal(together[3:5], alone)


class LabelOnly(nn.Module):
    """A network that tells the label and nothing else."""

    def __init__(self, model):
        super().__init__()
        self.model, self.labels, self.sample_rate = model, model.labels, model.sample_rate

    def forward(self, waveforms):
        logits = self.model(waveforms)
        return nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits)


def test_hopskipjump_needs_the_label_alone(bent, attacked):
    model, clean, labels = bent
    results = [attacked(HopSkipJump(300, samples=20), ear, clean, labels, "linf:0.01") for ear in (model, LabelOnly(model))]
    assert torch.equal(results[0].adversarial, results[1].adversarial) and results[0].reached.any()


def test_hopskipjump_gets_closer_round_by_round(linear, attacked):
    model, clean, labels = linear(time=200)
    shortest = model.shortest(clean, 2.0)
    loud = parse_budget("snr:14").bind(clean).radius
    assert (attacked(HopSkipJump(1500), model, clean, labels, "snr:14").reached == (shortest < loud))[shortest < 0.7 * loud].all()


def test_nes_follows_the_gradient(linear):
    from speechadv.attacks.base import Problem

    model, clean, labels = linear(time=100)
    bound = parse_budget("linf:0.01").bind(clean)
    problem = Problem(model, clean, Misclassify(labels), bound, clip_generators(0, "cell", [str(i) for i in range(len(clean))]))
    estimate = NES(2000, samples=1000).estimate(problem, torch.zeros_like(clean), 1000)
    truth = problem.gradient(torch.zeros_like(clean), "margin")[2]
    # A thousand random directions of a hundred: a cosine of about sqrt(500 / 600).
    assert (torch.nn.functional.cosine_similarity(estimate, truth) > 0.85).all()


def test_tone_bursts_are_orthogonal_and_lie_below_the_highest_frequency():
    shapes = tone_bursts(64, 0.5)
    gram = shapes @ shapes.T
    assert len(shapes) == 31 and torch.allclose(gram, 32 * torch.eye(31), atol=1e-3)


def test_simba_goes_forwards_then_backwards_and_uses_each_direction_once(linear):
    from speechadv.attacks.base import Problem

    model, clean, labels = linear(time=64, clips=1)
    problem = Problem(model, clean, Misclassify(labels), parse_budget("linf:0.01").bind(clean), clip_generators(0, "cell", ["0"]))
    walk, zero, no, yes = Directions(problem, torch.ones(1, 4), 1.0), torch.zeros_like(clean), torch.tensor([False]), torch.tensor([True])
    first, second, third = (walk.propose(problem, zero, 0, accepted) for accepted in (no, no, no))
    assert torch.equal(first, -second) and (first != 0).sum() == 4 and not torch.equal(third != 0, first != 0)
    fourth = walk.propose(problem, zero, 0, yes)  # after a success the next direction, forwards
    assert not torch.equal(fourth != 0, third != 0) and fourth.sum() > 0
    touched = {tuple((walk.propose(problem, zero, 0, yes) != 0).nonzero()[:, 1].tolist()) for _ in range(13)}
    assert len(touched) == 13


@pytest.mark.parametrize("make, word", [
    (lambda: NES(queries=2), "queries"), (lambda: NES(samples=3), "samples"), (lambda: NES(spread=0.0), "spread"), (lambda: NES(loss="x"), "loss"),
    (lambda: SimBA(domain="phase"), "domain"), (lambda: SimBA(step_size=0.0), "step_size"), (lambda: SimBA(block=4), "block"),
    (lambda: SimBA(highest=2.0), "highest"), (lambda: Genetic(population=2), "population"), (lambda: Genetic(mutation=0.0), "mutation"),
    (lambda: HopSkipJump(queries=1), "queries"), (lambda: HopSkipJump(samples=1), "samples"), (lambda: HopSkipJump(spread=0.0), "spread")])
def test_wrong_options_are_named(make, word):
    with pytest.raises(ConfigError, match=word):
        make()
