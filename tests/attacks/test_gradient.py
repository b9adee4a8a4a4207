"""The gradient attacks: against analytic optima, against each other, and how they count."""
import pytest
import torch
from torch import nn

from speechadv.attacks.apgd import APGD
from speechadv.attacks.base import Problem, frozen, padded_call
from speechadv.attacks.gradient import Best, Lane
from speechadv.attacks.pgd import FGSM, PGD, Noise
from speechadv.budgets import parse_budget
from speechadv.budgets.base import LSB
from speechadv.errors import ConfigError
from speechadv.goals import Misclassify, Target
from speechadv.randomness import clip_generators

TIME = 2000


class Linear(nn.Module):
    """Logits are (-w·x - b, w·x + b): how far a perturbation gets is known in closed form."""

    labels, sample_rate = ("no", "yes"), 16000

    def __init__(self, bias=0.0):
        super().__init__()
        self.register_buffer("weights", torch.randn(TIME, generator=torch.Generator().manual_seed(5)))
        self.bias = bias

    def forward(self, waveforms):
        score = waveforms @ self.weights + self.bias
        return torch.stack([-score, score], 1)


REACH = float(65 * LSB * Linear().weights.abs().sum())  # how far linf:0.002 can move the score


class Needing(Linear):
    """Each clip needs a share of that reach, whatever batch it is in."""

    def __init__(self, clips, shares):
        super().__init__()
        self.clips, self.biases = clips, -(clips @ self.weights) - REACH * torch.tensor(shares)

    def forward(self, waveforms):
        score = waveforms @ self.weights + self.biases[torch.cdist(waveforms, self.clips).argmin(1)]
        return torch.stack([-score, score], 1)


@pytest.fixture
def clips():
    return (0.1 * torch.randn(4, TIME, generator=torch.Generator().manual_seed(1)) * 32768).round() / 32768


def generators(count, seed=0):
    return clip_generators(seed, "cell", [str(i) for i in range(count)])


def gained(model, clips, result):
    """How far the score moved."""
    return (result.adversarial - clips) @ model.weights


@pytest.mark.parametrize("options", [{}, {"loss": "margin"}, {"momentum": 0.75}, {"random_start": False}, {"restarts": 2}])
def test_on_a_linear_model_pgd_finds_the_optimum(clips, options):
    model, goal = Linear(bias=-1e3), Target(torch.ones(4, dtype=torch.int64))  # out of reach: nobody leaves early
    for spec, best in (("linf:0.002", 65 * LSB * model.weights.abs().sum()),
                       ("snr:30", clips.norm(dim=1) * 10 ** (-30 / 20) * model.weights.norm())):
        result = PGD(steps=20, **options)(model, clips, goal, parse_budget(spec), generators=generators(4))
        assert not result.reached.any()
        assert (gained(model, clips, result) > 0.975 * best).all(), (spec, gained(model, clips, result) / best)
        assert (gained(model, clips, result) <= best * (1 + 1e-5)).all()


def test_it_succeeds_where_success_is_possible_and_only_there(clips):
    model, goal = Needing(clips, [0.5, 0.9, 0.98, 1.02]), Target(torch.ones(4, dtype=torch.int64))
    result = PGD(steps=40)(model, clips, goal, parse_budget("linf:0.002"), generators=generators(4))
    assert result.reached.tolist() == [True, True, True, False]


def test_one_whole_step_without_a_random_start_is_fgsm(tiny, heard):
    goal = Misclassify(heard.classes)
    for spec in ("linf:0.002", "snr:30"):
        budget = parse_budget(spec)
        one = PGD(steps=1, step_size=1.0, random_start=False)(tiny, heard.waveforms, goal, budget, generators=generators(15))
        fgsm = FGSM()(tiny, heard.waveforms, goal, budget, generators=generators(15, seed=9))
        assert torch.equal(one.adversarial, fgsm.adversarial) and torch.equal(one.reached, fgsm.reached)


def test_fgsm_is_the_sign_of_the_gradient(tiny, heard):
    waveforms = heard.waveforms.clone().requires_grad_()
    torch.nn.functional.cross_entropy(tiny(waveforms), heard.classes, reduction="sum").backward()
    result = FGSM()(tiny, heard.waveforms, Misclassify(heard.classes), parse_budget("linf:20lsb"), generators=generators(15))
    moved = (result.adversarial != heard.waveforms).any(1)  # where the step led downhill the clip stays as it was
    assert moved.float().mean() > 0.6
    expected = (20 * LSB * waveforms.grad.sign() + heard.waveforms).clamp(-1, 1 - LSB) - heard.waveforms
    agreeing = (result.adversarial - heard.waveforms == expected)[moved].float().mean()
    assert agreeing > 0.99  # the folded copy rounds otherwise where the gradient is nearly zero


def test_attacks_break_the_small_network_and_stronger_ones_break_more(tiny, heard):
    right = padded_call(tiny, heard.waveforms).argmax(1) == heard.classes
    assert right.float().mean() > 0.7
    goal, budget = Misclassify(heard.classes), parse_budget("snr:20")
    noise, pgd = (attack(tiny, heard.waveforms, goal, budget, generators=generators(15)).reached[right].float().mean()
                  for attack in (Noise(), PGD(steps=20)))
    assert pgd > 0.9 > noise + 0.2


def test_clips_that_left_early_are_counted_and_asked_no_more(clips):
    model, goal, budget = Needing(clips, [0.15, 0.45, 0.75, 5.0]), Target(torch.ones(4, dtype=torch.int64)), parse_budget("linf:0.002")
    result = PGD(steps=10, step_size=0.1, random_start=False)(model, clips, goal, budget, generators=generators(4))
    assert result.reached.tolist() == [True, True, True, False]
    assert result.passes.tolist() == [3, 6, 9, 10]  # 2, 5 and 8 steps of a tenth, and the look at where they led
    assert result.queries.tolist() == [0, 0, 0, 1]
    every = PGD(steps=10, step_size=0.1, random_start=False, full=True)(model, clips, goal, budget, generators=generators(4))
    assert every.passes.tolist() == [10] * 4 and every.reached.tolist() == [True, True, True, False]
    assert (gained(model, clips, every) >= gained(model, clips, result)).all()


def test_restarts_go_on_with_those_that_are_not_there_yet(clips):
    model, goal = Needing(clips, [0.3, 5.0, 0.3, 5.0]), Target(torch.ones(4, dtype=torch.int64))
    result = PGD(steps=5, restarts=3)(model, clips, goal, parse_budget("linf:0.002"), generators=generators(4))
    assert result.reached.tolist() == [True, False, True, False]
    assert result.passes[[1, 3]].tolist() == [15, 15] and (result.passes[[0, 2]] <= 5).all()


def test_the_whole_budget_is_spent_with_full(tiny, heard):
    goal, budget = Misclassify(heard.classes), parse_budget("linf:0.002")
    early = PGD(steps=8, loss="margin")(tiny, heard.waveforms, goal, budget, generators=generators(15))
    full = PGD(steps=8, loss="margin", full=True)(tiny, heard.waveforms, goal, budget, generators=generators(15))
    with torch.no_grad():
        margins = [goal.loss(tiny(result.adversarial), "margin") for result in (early, full)]
    moved = ~full.already
    assert (full.passes[moved] == 8).all() and (early.passes <= full.passes).all()
    assert (margins[1][moved] >= margins[0][moved] - 1e-3).all() and margins[1][moved].mean() > margins[0][moved].mean()


def test_a_network_without_a_gradient_does_not_stop_it(clips):
    class Deaf(Linear):
        def forward(self, waveforms):
            return torch.tensor([[1.0, 0.0]]).expand(len(waveforms), 2)

    result = PGD(steps=3)(Deaf(), clips, Target(torch.ones(4, dtype=torch.int64)), parse_budget("snr:30"), generators=generators(4))
    assert not result.reached.any() and result.adversarial.isfinite().all()


def test_a_network_with_nan_gradients_does_not_stop_it(clips):
    class Root(Linear):
        def forward(self, waveforms):
            score = (waveforms * 0).sum(1).sqrt() + waveforms @ self.weights  # the root's slope at zero is infinite, times zero is NaN
            return torch.stack([-score, score], 1)

    result = PGD(steps=3)(Root(), clips, Target(torch.ones(4, dtype=torch.int64)), parse_budget("linf:0.002"), generators=generators(4))
    assert result.adversarial.isfinite().all()


def test_noise_fills_the_budget(clips):
    model = Linear(bias=-1e3)
    result = Noise(draws=3)(model, clips, Target(torch.ones(4, dtype=torch.int64)), parse_budget("snr:30"), generators=generators(4))
    assert (result.distance < 30.2).all() and result.queries.tolist() == [3] * 4 and not result.passes.any()


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"restarts": 0}, {"step_size": -0.1}, {"momentum": -1}, {"loss": "hinge"}, {"step_size": float("nan")}])
def test_values_out_of_range(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PGD(**wrong)
    with pytest.raises(ConfigError, match="draws"):
        Noise(draws=0)


def test_frozen_and_thawed(tiny):
    tiny.train()
    tiny.head[1].bias.requires_grad_(False)
    with frozen(tiny):
        assert not tiny.training and not any(p.requires_grad for p in tiny.parameters())
    assert tiny.training and [p.requires_grad for p in tiny.parameters()].count(False) == 1


def test_a_single_clip_is_heard_as_in_a_batch(tiny, heard):
    with torch.no_grad():
        together, alone = padded_call(tiny, heard.waveforms), torch.cat([padded_call(tiny, clip[None]) for clip in heard.waveforms])
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["pgd", "momentum", "adam", "apgd"])
@pytest.mark.parametrize("full", [False, True])
def test_lanes_change_the_speed_alone(name, full, monkeypatch):
    """Many clips are heard in several calls a step; the short ones are joined as clips leave, and every rule's memory goes along."""
    clips = (0.1 * torch.randn(12, TIME, generator=torch.Generator().manual_seed(2)) * 32768).round() / 32768
    model = Needing(clips, [0.1, 0.9, 0.3, 1.2, 0.5, 0.7, 0.2, 0.8, 0.99, 0.4, 1.5, 0.6])
    attack = {"pgd": lambda: PGD(steps=12, full=full), "momentum": lambda: PGD(steps=12, momentum=0.8, full=full), "adam": lambda: PGD(steps=12, optimizer="adam", full=full),
              "apgd": lambda: APGD(steps=12, full=full)}[name]()
    calls = []
    monkeypatch.setattr(Lane, "joined", lambda self, other, original=Lane.joined: calls.append(len(self) + len(other)) or original(self, other))
    results = []
    for width in (64, 4):
        monkeypatch.setattr("speechadv.attacks.gradient.LANE", width)
        results.append(attack(model, clips, Target(torch.ones(12, dtype=torch.int64)), parse_budget("linf:0.002"), generators=generators(12)))
    one, several = results
    assert torch.equal(one.adversarial, several.adversarial) and torch.equal(one.reached, several.reached) and torch.equal(one.passes, several.passes)
    assert 6 <= one.reached.sum() < 12 and bool(calls) is not full and max(calls, default=0) <= 4


@pytest.mark.parametrize("budget", ["linf:0.001", "snr:30"])
@pytest.mark.parametrize("attack", [PGD(steps=6), APGD(steps=8)])
def test_the_fast_copy_reaches_what_the_network_itself_would(tiny, heard, monkeypatch, attack, budget):
    budget = parse_budget(budget)
    run = lambda: attack(tiny, heard.waveforms, Misclassify(heard.classes), budget, generators=clip_generators(0, "x", list(map(str, range(len(heard.classes))))))
    fast = run()
    monkeypatch.setattr("speechadv.attacks.base.fast_copy", lambda model: model)
    plain = run()
    assert torch.equal(fast.reached, plain.reached) and torch.equal(fast.passes, plain.passes) and fast.reached.any() and not fast.reached.all()
    torch.testing.assert_close(fast.distance, plain.distance, rtol=0.02, atol=0.0)


def test_the_best_is_kept_whoever_owns_it(tiny, heard):
    problem = Problem(tiny, heard.waveforms[:3], Misclassify(heard.classes[:3]), parse_budget("linf:0.01").bind(heard.waveforms[:3]), [torch.Generator()] * 3)
    best, every, nowhere = Best(problem), torch.arange(3), torch.zeros(3, dtype=torch.bool)
    first = torch.full_like(problem.clean, 0.001)
    best.offer(every, first, torch.tensor([1.0, 1.0, 1.0]), nowhere, fresh=True)
    best.offer(every, 2 * first, torch.tensor([0.0, 2.0, 0.0]), nowhere, fresh=True)
    best.offer(every.flip(0), 3 * first * every.flip(0)[:, None], torch.full((3,), 9.0), nowhere, fresh=True)
    assert torch.equal(first, torch.full_like(first, 0.001)), "what was lent is not written to"
    assert best.perturbation[:, 0].tolist() == pytest.approx([0.0, 0.003, 0.006]) and best.loss.tolist() == [9.0] * 3
