"""Square in one dimension: its schedule, its moves, and the queries that it counts."""
import pytest
import torch

from speechadv.attacks.pgd import Noise
from speechadv.attacks.square import Square, Stretches, moved_energy
from speechadv.budgets import parse_budget
from speechadv.budgets.base import LSB
from speechadv.errors import ConfigError
from speechadv.goals import Misclassify, Target
from speechadv.randomness import clip_generators

BUDGETS = ("linf:0.004", "snr:25", "linf:0.004+snr:22")


def test_the_stretch_is_halved_on_the_papers_schedule():
    stretches = Stretches(10000, 0.4, 0)
    assert [stretches.width(query, 16000) for query in (1, 10, 11, 51, 201, 1001)] == [6400, 6400, 3200, 1600, 800, 400]
    assert Stretches(100, 0.4, 0).width(3, 16000) == 800  # scaled to the queries that there are
    assert stretches.width(9000, 16000) == 25 and stretches.width(9000, 100) == 8 and stretches.width(0, 4) == 4


def test_energy_moves_from_one_stretch_to_the_other():
    iterate = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
    radius = iterate.norm(dim=1)
    stretch, other, signs = torch.zeros(2, 100, dtype=torch.bool), torch.zeros(2, 100, dtype=torch.bool), torch.zeros(2, 100)
    stretch[:, 10:30], other[:, 60:80], signs[:, 10:30] = True, True, 1.0
    moved = moved_energy(iterate, signs, stretch, other, radius)
    assert torch.allclose(moved.norm(dim=1), radius)
    assert (moved[:, 60:80] == 0).all() and torch.equal(moved[:, 30:60], iterate[:, 30:60])
    assert torch.allclose(moved[:, 10:30].norm(dim=1) ** 2, (iterate[:, 10:30] ** 2 + iterate[:, 60:80] ** 2).sum(1), rtol=1e-5)


def test_a_push_covers_its_stretch_and_nothing_else():
    signs, stretch, other = Stretches(100, 0.3, 4)._drawn(20, 50, torch.Generator().manual_seed(1))
    assert stretch.sum() == other.sum() == 20 and torch.equal(signs != 0, stretch) and (signs.abs() <= 1).all()


@pytest.mark.parametrize("budget", BUDGETS)
def test_each_query_keeps_or_raises_the_margin(budget, bent, attacked):
    model, clean, labels = bent
    target = (labels + 1) % 4
    margins = []
    for queries in (1, 10, 80):
        result = attacked(Square(queries), model, clean, target, budget, goal=Target)
        assert (result.queries <= queries).all() and (result.passes == 0).all()
        assert (result.queries == queries)[~result.reached & ~result.already].all()
        assert parse_budget(budget).satisfied(clean, result.adversarial).all()
        margins.append(Target(target).loss(model(result.adversarial).detach(), "margin").clamp(max=0))
    # Rough roundings of an intersection are made exact at the end, which may cost a little.
    slack = 0.0 if "+" not in budget else 0.05
    assert margins[2].mean() > margins[0].mean() and margins[2].mean() >= margins[1].mean() - slack


@pytest.mark.parametrize("budget", BUDGETS[:2])
def test_it_finds_more_than_noise_does(budget, bent, attacked):
    model, clean, labels = bent
    reached = [attacked(attack, model, clean, labels, budget).reached for attack in (Square(100), Noise(100))]
    assert reached[0].sum() > reached[1].sum()


@pytest.mark.parametrize("budget", [f"linf:{LSB}", f"linf:{LSB}+snr:50"])
def test_queries_are_what_the_network_heard(budget, bent, attacked, counting):
    model, clean, labels = bent
    ear = counting(model)
    result = attacked(Square(15), ear, clean, labels, budget)
    assert not result.reached.any() and result.queries.tolist() == [15] * len(clean)
    assert ear.clips == 15 * len(clean) + 2 * len(clean)  # and the clean clips and the verdict
    assert set(ear.calls) == {len(clean)}


def test_a_clip_does_not_depend_on_the_others(bent, attacked):
    model, clean, labels = bent
    together = attacked(Square(30), model, clean, labels, "snr:25").adversarial
    few = Square(30)(model, clean[3:5], Misclassify(labels[3:5]), parse_budget("snr:25"), generators=clip_generators(0, "cell", ["3", "4"])).adversarial
    assert torch.equal(together[3:5], few)


@pytest.mark.parametrize("options, word", [({"queries": 0}, "queries"), ({"share": 0.0}, "share"), ({"pieces": -1}, "pieces")])
def test_wrong_options_are_named(options, word):
    with pytest.raises(ConfigError, match=word):
        Square(**options)
