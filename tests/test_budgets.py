"""What is special about each budget: units, exact sizes, and the last LSB."""
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechadv.audio import snr_db
from speechadv.budgets import Intersection, parse_budget
from speechadv.budgets.base import HIGHEST, LSB, to_grid
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


def clip_of_a_tone(samples=4000):
    return ((0.2 * torch.sin(torch.arange(samples) * 0.2)) / LSB).round()[None] * LSB


def test_a_budget_says_what_it_is():
    assert repr(parse_budget("linf:66lsb")) == "Linf('linf:66lsb')" and repr(parse_budget("snr:30+masking")) == "Intersection('snr:30+masking')"
    assert [parse_budget(word).unit for word in ("linf:0.1", "snr:9", "masking", "snr:9+linf:0.1")] == [
        "fraction of full scale", "dB SNR", "dB above the masking threshold", "dB SNR"]


@pytest.mark.parametrize("spec", ["linf:0.01", "snr:20", "masking", "linf:0.01+snr:20"])
def test_the_budgets_own_methods_are_those_of_the_bound_one(spec):
    clean, noise = clip_of_a_tone(), torch.randn(1, 4000, generator=torch.Generator().manual_seed(3))
    budget = parse_budget(spec)
    bound = budget.bind(clean)
    for name in ("project", "quantise", "steepest"):
        assert torch.equal(getattr(budget, name)(clean, noise), getattr(bound, name)(noise)), name
    for name in ("distance", "satisfied"):
        assert torch.equal(getattr(budget, name)(clean, clean + noise), getattr(bound, name)(clean + noise - clean)), name
    starts = [one.random_start(*arguments) for one, arguments in ((budget, (clean, seeded(4))), (bound, (seeded(4),)))]
    assert torch.equal(*starts)


def seeded(seed):
    return [torch.Generator().manual_seed(seed)]


def test_nothing_is_left_of_a_perturbation_that_breaks_the_budget():
    clean = torch.zeros(2, 4)
    bound = parse_budget("linf:2lsb").bind(clean)
    perturbation = torch.tensor([[1.0, 2.0, -2.0, 0.0], [1.0, 3.0, 0.0, 0.0]]) * LSB
    assert torch.equal(bound.nothing_if_broken(perturbation), perturbation * torch.tensor([[1.0], [0.0]]))
    assert torch.equal(bound.nothing_if_broken(torch.full_like(perturbation, torch.nan)), torch.zeros_like(perturbation))


def test_what_16_bit_cannot_hold_is_cut():
    clean = torch.tensor([[-1.0, HIGHEST, 0.5]])
    bound = parse_budget("linf:0.9").bind(clean)
    assert torch.equal(bound.inside(torch.full((1, 3), -0.7)), torch.tensor([[0.0, -0.7, -0.7]]))
    assert torch.equal(bound.inside(torch.full((1, 3), 0.7)), torch.tensor([[0.7, 0.0, HIGHEST - 0.5]]))


def test_the_numbers_of_linf():
    clean = torch.zeros(1, 5)
    bound = parse_budget("linf:4lsb").bind(clean)
    steps = torch.tensor([[0.0, 1.4, 1.6, -9.0, 4.0]])
    assert torch.equal(bound.quantise(steps * LSB) / LSB, torch.tensor([[0.0, 1.0, 2.0, -4.0, 4.0]]))
    assert torch.equal(bound.project(steps * LSB) / LSB, torch.tensor([[0.0, 1.4, 1.6, -4.0, 4.0]]))
    assert bound.distance(steps * LSB) == 9 * LSB and bound.size().tolist() == [[4 * LSB]]
    assert torch.equal(bound.steepest(steps), torch.tensor([[0.0, 1.0, 1.0, -1.0, 1.0]]))
    assert bound.satisfied(torch.full((1, 5), 4 * LSB * (1 + 5e-7))) and not bound.satisfied(torch.full((1, 5), 4 * LSB * (1 + 3e-6)))
    start = parse_budget("linf:4lsb").bind(torch.zeros(1, 4000)).random_start(seeded(0)) / LSB
    assert -4 <= start.min() < -3.9 and 3.9 < start.max() <= 4 and abs(start.mean()) < 0.2


def test_the_numbers_of_snr():
    clean = clip_of_a_tone()
    bound, noise = parse_budget("snr:20").bind(clean), torch.randn(1, 4000, generator=torch.Generator().manual_seed(3))
    radius = clean.norm() / 10
    assert bound.size().shape == (1, 1) and bound.size().item() == pytest.approx(radius.item(), rel=1e-6)
    assert bound.project(noise).norm().item() == pytest.approx(radius.item(), rel=1e-5)
    torch.testing.assert_close(bound.project(noise), noise * radius / noise.norm(), atol=1e-7, rtol=1e-4)
    assert torch.equal(bound.project(noise * 1e-4), noise * 1e-4), "what is inside stays"
    assert bound.steepest(noise).norm().item() == pytest.approx(1, rel=1e-5) and not bound.steepest(torch.zeros(1, 4000)).any()
    start = bound.random_start(seeded(0))
    assert start.norm().item() == pytest.approx(radius.item(), rel=1e-4)
    rounded = bound.quantise(noise)
    assert 0.999 * radius <= rounded.norm() <= radius and (rounded - bound.project(noise)).abs().max() < 2 * LSB


def test_where_rounding_would_leave_the_snr_ball_it_goes_towards_zero():
    """A radius of 2.2 LSB: every sample of half an LSB would round up."""
    clean = torch.full((1, 16), 5.5).round() * LSB
    budget = Snr(20 * math.log10(float(clean.norm() / (2.2 * LSB))))
    for value in (0.5, 0.51, 0.75, 1.0, 3.0):
        quantised = budget.quantise(clean, torch.full((1, 16), value * LSB))
        assert budget.satisfied(clean, clean + quantised) and quantised.norm() <= 2.2 * LSB
    one = torch.zeros(1, 16)
    one[0, 3] = 9 * LSB
    assert torch.equal(budget.quantise(clean, one) / LSB, one / one.max() * 2), "a single sample takes the whole budget"


def test_the_numbers_of_masking():
    clean, noise = clip_of_a_tone(), torch.randn(1, 4000, generator=torch.Generator().manual_seed(3))
    bound, quieter = parse_budget("masking").bind(clean), parse_budget("masking:-6").bind(clean)
    found = bound.quantise(noise)
    assert -1 < bound.distance(found).item() <= 0.1 and bound.satisfied(found)
    assert quieter.distance(found).item() == pytest.approx(bound.distance(found).item(), abs=1e-3), "measured from the threshold, whatever the margin"
    assert not quieter.satisfied(found) and quieter.satisfied(quieter.quantise(noise))
    assert quieter.size().item() == pytest.approx(bound.size().item() / 10**0.3, rel=1e-4)
    assert bound.distance(torch.zeros(1, 4000)).item() == -math.inf and not bound.rough_is_exact and parse_budget("linf:3lsb").bind(clean).rough_is_exact
    assert torch.equal(bound.rough(noise * 1e-3) / LSB, (noise * 1e-3 / LSB).round()) and not parse_budget("snr:9+linf:0.1").bind(clean).rough_is_exact
    step = bound.steepest(noise)
    assert step.square().mean().sqrt().item() == pytest.approx(1, rel=0.1)
    loud = parse_budget("masking").bind(((0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))) / LSB).round() * LSB)
    assert loud.size().item() == pytest.approx(0.143466, rel=2e-4), "over all bins but the lowest and the highest"
    start = bound.random_start(seeded(0))
    assert 0.05 < (start.norm() / bound.size().item() / 4000**0.5) < 0.2
    assert not bound.quantise(torch.full((1, 4000), math.nan)).any() and bound.satisfied(bound.quantise(torch.full((1, 4000), math.inf)))


def test_a_loud_perturbation_is_turned_down_gently_before_full_scale():
    clean = torch.zeros(1, 1024)
    clean[0, 500:520] = HIGHEST
    bound = parse_budget("masking:60").bind(clean)
    turned = bound.storable(torch.full((1, 1024), 0.5))
    assert not turned[0, 500:520].any() and (clean + turned).max() <= HIGHEST
    assert torch.equal(turned[0, :190], torch.full((190,), 0.5)) and torch.equal(turned[0, 840:], torch.full((184,), 0.5))
    assert 0 < turned[0, 256] < 0.5 and (turned[0, 1:] - turned[0, :-1]).abs().max() < 0.01
    assert torch.equal(bound.storable(torch.full((1, 1024), -0.5)), torch.full((1, 1024), -0.5)), "there is room below"
    small = torch.full((1, 1024), -0.25 * LSB)
    assert bound.storable(small) is small


@pytest.mark.parametrize("word, name", [("masking:0", "masking"), ("masking:-0", "masking"), ("masking:3db", "masking:3"),
                                        ("masking: -6 ", "masking:-6"), ("masking:CLIP-PEAK", "masking:clip-peak"),
                                        ("masking:tonal:-3:clip-peak", "masking:-3:clip-peak:tonal"), ("masking:both:full-scale", "masking"),
                                        ("masking:100", "masking:100"), ("masking:-100", "masking:-100"),
                                        ("snr:120", "snr:120"), ("snr: 30DB ", "snr:30"), ("snr:0.5", "snr:0.5"),
                                        (" linf:0.1 + snr:9 ", "linf:0.1+snr:9"), ("linf:-0.1dbfs", "linf:-0.1dbfs")])
def test_words_and_names(word, name):
    assert parse_budget(word).name == name


@pytest.mark.parametrize("word, message", [("masking:3:4", r"budget 'masking:3:4': expected one margin, got 2"),
                                           ("snr:120.1", r"budget 'snr:120.1': expected decibels above 0, at most 120"),
                                           ("masking:100.5", r"budget 'masking:100.5': expected a margin of -100 to 100 dB"),
                                           ("linf:1e-9", r"budget 'linf:1e-9': smaller than one step of 16 bit \(3.05e-05\)"),
                                           ("linf:1.5", r"budget 'linf:1.5': expected a positive eps below 1 \(full scale\)$"),
                                           ("linf:x", r"budget 'linf:x': expected eps such as 0.002, 66lsb or -54dbfs$"),
                                           ("snr:x", r"budget 'snr:x': expected decibels, such as snr:30$"),
                                           (":3", r"budget ':3': expected linf:EPS, snr:DB or masking\[:MARGIN_DB\]$"),
                                           ("masking:x", r"budget 'masking:x': expected a margin in dB, such as masking:-6, or clip-peak or tonal$")])
def test_what_the_messages_say(word, message):
    with pytest.raises(ConfigError, match="^" + message):
        parse_budget(word)


def test_an_intersection_turns_down_until_all_parts_hold():
    clean, noise = clip_of_a_tone(), torch.randn(1, 4000, generator=torch.Generator().manual_seed(3))
    both = parse_budget("snr:25+linf:100lsb").bind(clean)
    found = both.quantise(noise)
    assert both.satisfied(found) and (found / LSB).abs().max() > 95, "it uses the budget"
    inside = (noise * 20).round() * LSB
    assert torch.equal(both.quantise(inside), inside), "what is allowed stays"
    projected = both.project(noise)
    for part in both.parts:
        assert part.satisfied(projected * 0.999)
    start = both.random_start(seeded(0))
    assert start.any() and torch.equal(start, both.project(both.parts[0].random_start(seeded(0))))
    part = both.select(torch.tensor([0]))
    assert both.size().tolist() == [[1.0]] and len(part.parts) == 2 and part.budget is both.budget


@settings(max_examples=12, deadline=None, database=None, derandomize=True)
@given(st.sampled_from(["silence", "full scale", "square", "click", "noise", "quiet"]), st.integers(0, 2**32 - 1), st.sampled_from([1e-5, 0.01, 1.0]),
       st.sampled_from(["masking", "masking:-12", "masking:clip-peak:tonal", "masking+linf:40lsb", "snr:12+masking:3"]))
def test_any_clip_under_masking(kind, seed, size, spec):
    """Random clips, silence and full scale among them: what is saved is on the grid, storable, allowed and stays when rounded again."""
    noise = torch.randn(2, 1, 1500, generator=torch.Generator().manual_seed(seed))
    clean = {"silence": 0 * noise[0], "full scale": noise[0].sign(), "square": 0.3 * noise[0].sign(), "click": (noise[0] > 3) * 0.9,
             "noise": 0.1 * noise[0], "quiet": 2 * LSB * noise[0]}[kind]
    clean = ((clean / LSB).round() * LSB).clamp(-1, HIGHEST)
    budget = parse_budget(spec)
    quantised = budget.quantise(clean, budget.project(clean, size * noise[1]))
    assert torch.equal((quantised / LSB).round(), quantised / LSB) and -1 <= (clean + quantised).min() and (clean + quantised).max() <= HIGHEST
    assert budget.satisfied(clean, clean + quantised).all() and torch.equal(budget.quantise(clean, quantised), quantised)


@settings(max_examples=80, deadline=None, database=None, derandomize=True)
@given(st.integers(1, 32767))
def test_units_of_linf_agree(lsb):
    """The same bound in LSB, as a fraction and in dBFS, one word from another."""
    assert Linf.from_spec(f"{lsb}lsb").lsb == Linf(lsb * LSB).lsb == Linf.from_spec(repr(lsb * LSB)).lsb == lsb
    assert Linf.from_spec(f"{20 * math.log10(lsb * LSB + LSB / 2):.9f}dbfs").lsb == lsb


def test_rounding_to_the_grid():
    """The quick way for floats of 32 bit is the plain one, halves to even."""
    samples = torch.cat([torch.linspace(-2, 2, 40_001), torch.arange(-70_000, 70_000) / 65_536, torch.tensor([1e-9, -1e-9])])
    assert torch.equal(to_grid(samples), to_grid(samples.double()).float()) and torch.equal(to_grid(samples), (samples / LSB).round() * LSB)
