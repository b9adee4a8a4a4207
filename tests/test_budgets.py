"""What is special about each budget: units, exact sizes, and the last LSB."""
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechadv.audio import snr_db
from speechadv.budgets import Intersection, parse_budget
from speechadv.budgets.base import HIGHEST, LSB
from speechadv.budgets.linf import Linf
from speechadv.budgets.snr import Snr
from speechadv.errors import ConfigError


@pytest.mark.parametrize("spec, lsb", [("linf:0.002", 65), ("linf:66lsb", 66), ("linf:1lsb", 1), ("linf:-54dbfs", 65), ("linf:0.001", 32),
                                       ("linf:2e-3", 65), ("linf: 66LSB ", 66), ("linf:0.5", 16384), (f"linf:{LSB}", 1)])
def test_units_of_linf(spec, lsb):
    assert parse_budget(spec).lsb == lsb


@pytest.mark.parametrize("spec, message", [
    ("linf:0", "positive eps"), ("linf:-0.1", "positive eps"), ("linf:1", "below 1"), ("linf:0.00001", "one step of 16 bit"), ("linf:0lsb", "positive"),
    ("linf", "0.002, 66lsb or -54dbfs"), ("linf:0.002db", "66lsb"), ("linf:1dbfs", "below 1"), ("snr:0", "above 0"), ("snr:-3", "above 0"),
    ("snr:121", "at most 120"), ("snr", "such as snr:30"), ("masking:101", "-100 to 100"), ("masking:loud", "masking:-6"), ("", "linf:EPS, snr:DB"),
    ("snr:30+", "linf:EPS, snr:DB"), ("lnf:3", "did you mean 'linf'"), ("linf\n:3", r"linf\\n"),
])
def test_values_out_of_range(spec, message):
    with pytest.raises(ConfigError, match=message) as problem:
        parse_budget(spec)
    assert len(str(problem.value).splitlines()) == 1


def test_words_compose():
    assert parse_budget(["masking", "linf:0.005"]).name == parse_budget("masking+linf:0.005").name == "masking+linf:0.005"
    assert isinstance(parse_budget(["snr:30"]), Snr) and isinstance(parse_budget("snr:30+linf:1lsb"), Intersection)
    assert parse_budget("snr:30db").name == "snr:30" and parse_budget("linf:66lsb").name == "linf:66lsb" and Linf(0.002).name == "linf:0.002"


def test_the_snr_ball_has_the_radius_that_its_name_says():
    clean = (0.1 * torch.randn(3, 8000, generator=torch.Generator().manual_seed(0)) / LSB).round() * LSB
    budget = Snr(30.0)
    bound = budget.bind(clean)
    direction = torch.randn(3, 8000, generator=torch.Generator().manual_seed(1))
    step = bound.size() * bound.steepest(direction)
    torch.testing.assert_close(snr_db(clean, step), torch.full((3,), 30.0, dtype=torch.float64), atol=1e-4, rtol=0)
    torch.testing.assert_close(budget.distance(clean, clean + step), torch.full((3,), 30.0), atol=1e-2, rtol=0)
    assert budget.satisfied(clean, clean + 0.999 * step).all() and not budget.satisfied(clean, clean + 1.001 * step).any()


@pytest.mark.parametrize("decibels", [10, 30, 50])
def test_snr_round_trip_on_the_grid(decibels):
    """What is saved lies within 0.1 dB of what was asked for: rounding gives nothing away."""
    clean = (0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(0)) / LSB).round() * LSB
    quantised = parse_budget(f"snr:{decibels}").quantise(clean, torch.randn(2, 16000, generator=torch.Generator().manual_seed(1)))
    measured = snr_db(clean, quantised)
    assert ((measured >= decibels - 1e-5) & (measured < decibels + 0.1)).all(), measured


def test_distances_of_silence_and_of_nothing():
    clean = torch.stack([torch.zeros(100), 0.5 * torch.ones(100)])
    assert parse_budget("linf:1lsb").distance(clean, clean).tolist() == [0, 0]
    distance = parse_budget("snr:30").distance(clean, clean)
    assert math.isnan(distance[0]) and distance[1] == math.inf
    moved = clean + LSB
    assert parse_budget("snr:30").satisfied(clean, moved).tolist() == [False, True]
    assert parse_budget("linf:1lsb").satisfied(clean, moved).all()
    assert not parse_budget("linf:1lsb").satisfied(clean, clean + 2 * LSB).any()


def test_an_intersection_is_in_all_of_its_parts():
    clean = (0.1 * torch.randn(4, 4000, generator=torch.Generator().manual_seed(0)) / LSB).round() * LSB
    wild = torch.randn(4, 4000, generator=torch.Generator().manual_seed(1))
    both = parse_budget("linf:0.001+snr:35")
    found = clean + both.quantise(clean, wild)
    for part in both.budgets:
        assert part.satisfied(clean, found).all()
    assert torch.equal(both.distance(clean, found), both.budgets[0].distance(clean, found))


def test_an_intersection_steps_by_its_tightest_part():
    clean = torch.stack([0.3 * torch.ones(1000), 0.001 * torch.ones(1000)])
    bound = parse_budget("linf:0.002+snr:30").bind(clean)
    gradient = torch.randn(2, 1000, generator=torch.Generator().manual_seed(1))
    step = bound.size() * bound.steepest(gradient)
    linf, snr = (part.size() * part.steepest(gradient) for part in bound.parts)
    assert torch.equal(step[0], linf[0]) and torch.equal(step[1], snr[1])


sample = st.integers(-32768, 32767)
EDGES = [-32768, 32767, 0, 1, -1]


@settings(max_examples=120, deadline=None, database=None, derandomize=True)
@given(st.lists(sample | st.sampled_from(EDGES), min_size=1, max_size=40), st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 1e-4, 0.01, 1.0, 4.0]),
       st.sampled_from(["linf:1lsb", "linf:2lsb", "linf:0.3", "snr:1", "snr:20", "snr:40", "snr:90", "linf:1lsb+snr:10", "snr:15+linf:3lsb"]))
def test_quantising_never_leaves_the_budget(samples, seed, size, spec):
    """Any clip, any perturbation, down to one LSB: on the grid, storable, allowed, and not worse when rounded again."""
    clean = torch.tensor([samples], dtype=torch.float32) * LSB
    perturbation = size * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    budget = parse_budget(spec)
    quantised = budget.quantise(clean, perturbation)
    steps = quantised / LSB
    assert torch.equal(steps.round(), steps)
    assert -1 <= (clean + quantised).min() and (clean + quantised).max() <= HIGHEST
    assert budget.satisfied(clean, clean + quantised).all()
    assert torch.equal(budget.quantise(clean, quantised), quantised)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.lists(sample | st.sampled_from(EDGES), min_size=1, max_size=40), st.integers(0, 2**32 - 1), st.sampled_from(["linf:3lsb", "linf:0.3", "snr:20"]))
def test_projection_is_idempotent_and_never_longer(samples, seed, spec):
    clean = torch.tensor([samples], dtype=torch.float32) * LSB
    perturbation = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    budget = parse_budget(spec)
    once = budget.project(clean, perturbation)
    torch.testing.assert_close(budget.project(clean, once), once, atol=1e-9, rtol=1e-6)
    assert (once.abs() <= perturbation.abs() + 1e-7).all()


def test_the_threshold_is_that_of_the_clips_rate():
    assert parse_budget("masking:-3:tonal", 8000).model.sample_rate == 8000 and parse_budget("masking").model.sample_rate == 16000
    assert parse_budget("linf:0.005+masking", 8000).budgets[1].model.sample_rate == 8000
