"""What every registered budget, alone and in company, must hold. A newcomer needs one line in SPECS."""
import pytest
import torch

from speechadv.budgets import parse_budget
from speechadv.budgets.base import HIGHEST, LSB
from speechadv.errors import ConfigError
from speechadv.randomness import clip_generators
from speechadv.registry import names

SPECS = {
    "linf": ["linf:0.002", "linf:1lsb", "linf:-12dbfs"],
    "snr": ["snr:30", "snr:3", "snr:75"],
    "masking": ["masking", "masking:-12"],
}
TOGETHER = ["linf:0.001+snr:30", "masking+linf:0.005", "snr:10+linf:200lsb+masking:6"]
ALL = [spec for specs in SPECS.values() for spec in specs] + TOGETHER
CASES = ("speech", "quiet", "full scale", "silence", "click")


def test_every_registered_budget_is_tested():
    assert set(SPECS) == set(names("budget"))


@pytest.fixture(scope="module")
def clips():
    """(5, 4000), one a case: speech-like, near silence, a full-scale square, silence, a single sample."""
    time = torch.arange(4000)
    speech = 0.2 * torch.sin(time * 0.2) * torch.sin(time * 0.0023).clamp(min=0) + 0.05 * torch.sin(time * 0.71)
    square = torch.where(time % 40 < 20, -1.0, HIGHEST)
    click = torch.zeros(4000)
    click[2000] = 0.5
    quiet = 3 * LSB * torch.sin(time * 0.3)
    return (torch.stack([speech, quiet, square, torch.zeros(4000), click]) / LSB).round() * LSB


@pytest.fixture(scope="module")
def wild(clips):
    """Perturbations that no budget allows."""
    return 0.5 * torch.randn(clips.shape, generator=torch.Generator().manual_seed(5))


@pytest.fixture(params=ALL)
def budget(request):
    return parse_budget(request.param)


def on_grid(x):
    return torch.equal((x / LSB).round() * LSB, x)


def storable(clean, perturbation):
    total = clean + perturbation
    return bool(total.min() >= -1 and total.max() <= HIGHEST)


def test_its_name_makes_it_again(budget, clips, wild):
    again = parse_budget(budget.name)
    assert again.name == budget.name and budget.unit
    assert torch.equal(again.quantise(clips, wild), budget.quantise(clips, wild))


def test_no_perturbation_is_allowed(budget, clips):
    assert budget.satisfied(clips, clips).all()
    assert torch.equal(budget.quantise(clips, torch.zeros_like(clips)), torch.zeros_like(clips))


@pytest.mark.parametrize("size", [1.0, 0.01, LSB])
def test_quantised_it_is_on_the_grid_and_inside(budget, clips, wild, size):
    quantised = budget.quantise(clips, wild * size)
    assert on_grid(quantised) and storable(clips, quantised)
    assert budget.satisfied(clips, clips + quantised).all()


def test_quantising_again_changes_nothing(budget, clips, wild):
    """The search rounds what it hears and the caller rounds what it found: the same audio."""
    once = budget.quantise(clips, wild)
    assert torch.equal(budget.quantise(clips, once), once)


def test_quantising_uses_the_budget(budget, clips, wild):
    speech = budget.quantise(clips, wild)[0]
    if budget.name != "snr:75":  # there the clip's budget is a third of an LSB a sample
        assert speech.abs().max() >= LSB


def test_projected_it_can_be_stored(budget, clips, wild):
    assert storable(clips, budget.project(clips, wild))


def test_projection_is_idempotent(budget, clips, wild):
    if "masking" in budget.name:
        return  # its projection is a cheap one that only comes near; quantise is exact, and tested above
    once = budget.project(clips, wild)
    torch.testing.assert_close(budget.project(clips, once), once, atol=1e-7, rtol=1e-5)


def test_what_is_inside_stays(budget, clips, wild):
    if "masking" in budget.name:
        return  # as above
    inside = 0.5 * budget.project(clips, wild)
    torch.testing.assert_close(budget.project(clips, inside), inside, atol=1e-9, rtol=1e-6)


def test_a_random_start_is_the_clips_own(budget, clips):
    start = budget.random_start(clips, clip_generators(0, "cell", CASES))
    assert start.isfinite().all() and storable(clips, start)
    assert start[0].abs().max() > 0
    assert torch.equal(budget.random_start(clips, clip_generators(0, "cell", CASES)), start)
    alone = budget.random_start(clips[:1], clip_generators(0, "cell", CASES[:1]))
    torch.testing.assert_close(alone[0], start[0], atol=1e-6, rtol=1e-4)


def test_a_step_goes_uphill_and_is_finite(budget, clips, wild):
    bound = budget.bind(clips)
    step = bound.size() * bound.steepest(wild)
    assert step.isfinite().all()
    assert ((step * wild).sum(1) >= 0).all() and (step[0] * wild[0]).sum() > 0
    assert bound.steepest(torch.zeros_like(wild)).isfinite().all()


def test_a_direction_may_be_written_to(budget, clips, wild):
    """The loop writes the step over it."""
    bound, before = budget.bind(clips), wild.clone()
    first = bound.steepest(wild)
    kept = first.clone()
    first.fill_(7)
    assert torch.equal(wild, before) and torch.equal(bound.steepest(wild), kept)


def test_the_fast_rounding_of_what_is_allowed_is_the_plain_one(budget, clips, wild):
    bound = budget.bind(clips)
    for allowed in (bound.project(wild), bound.project(0.01 * wild), bound.random_start(clip_generators(0, "cell", CASES))):
        assert torch.equal(bound.rough_of_allowed(allowed), bound.rough(allowed))


def test_a_part_of_the_clips_is_the_same_budget(budget, clips, wild):
    bound, index = budget.bind(clips), torch.tensor([4, 0])
    part = bound.select(index)
    assert torch.equal(part.quantise(wild[index]), bound.quantise(wild)[index])
    assert torch.equal(bound.select(torch.tensor([True, False, False, False, True])).satisfied(wild[[0, 4]]), bound.satisfied(wild)[[0, 4]])


def test_nothing_that_comes_in_is_changed(budget, clips, wild):
    before = clips.clone(), wild.clone()
    bound = budget.bind(clips)
    for call in (bound.project, bound.quantise, bound.rough, bound.rough_of_allowed, bound.steepest, bound.satisfied, bound.distance):
        call(wild)
    assert torch.equal(clips, before[0]) and torch.equal(wild, before[1])


@pytest.mark.parametrize("kind", names("budget"))
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "abc", "0x10", "1;2", " "])
def test_values_that_are_none(kind, value):
    if kind == "masking" and not value.strip():
        return  # a margin may be left out
    with pytest.raises(ConfigError, match=f"budget '{kind}:") as problem:
        parse_budget(f"{kind}:{value}")
    assert len(str(problem.value).splitlines()) == 1
