"""Objectives: their formulas on fixed logits, what the adversary climbs, and that each learns what it says under every budget."""
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from speechadv import load_model
from speechadv.budgets import parse_budget
from speechadv.errors import ConfigError
from speechadv.training.inner import Inner, divergence
from speechadv.training.objectives import OBJECTIVES, Batch, Standard, objective
from speechadv.training.run import train
from speechadv.training.settings import OBJECTIVES as NAMES
from speechadv.training.settings import Adversary, Teaching, TrainingConfig

SMALL = {"widths": [6, 8], "n_mels": 16, "n_fft": 512, "hop_length": 512}


class Linear(nn.Module):
    """Logits are a matrix times the samples, scaled up: eight samples, three labels."""

    labels, sample_rate, draws = ("yes", "no", "stop"), 16000, 1

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))

    def forward(self, waveforms):
        return 20 * waveforms @ self.matrix


def batch(clean=1, steps=3, budget="linf:0.05", network=None):
    """Five clips of eight samples, the first `clean` of them not attacked, soft targets."""
    generator, network = torch.Generator().manual_seed(1), network or Linear()
    sound = (torch.rand(5, 8, generator=generator) * 0.4 - 0.2).mul(32768).round() / 32768
    targets = torch.rand(5, 3, generator=generator).mul(3).softmax(1)
    hard = torch.eye(3)[torch.tensor([0, 1, 2, 0, 1])]
    bound = parse_budget(budget).bind(sound[clean:])
    start = bound.random_start([generator] * (5 - clean))
    inner = Inner(lambda: network, sound[clean:], targets[clean:], hard[clean:], bound, start, [generator] * (5 - clean))
    return Batch(sound, targets, hard, lambda heard, rows: network(heard), steps, inner)


class Noted:
    """An adversary that returns the same perturbation whatever it is asked, and remembers that."""

    def __init__(self, inner):
        self.sound, self.bound, self.asked = inner.sound, inner.bound, []
        self.answer = 0.5 * inner.start

    def __len__(self):
        return len(self.sound)

    def perturbation(self, *words):
        self.asked.append(words)
        return self.answer


def of_fixed(name, **settings):
    """(the objective's loss, logits of the clean clips, logits as attacked, targets, hard labels, what the adversary was asked)"""
    some, network = batch(), Linear()
    noted = Noted(some.inner)
    some = replace(some, inner=noted)
    (loss,) = objective(Adversary(objective=name, **settings)).losses(some)
    attacked = some.sound.clone()
    attacked[1:] += noted.answer
    return loss.item(), network(some.sound), network(attacked), some.targets, some.hard, noted.asked


def cross_entropy(logits, targets):
    return -(targets * logits.softmax(1).log()).sum(1)


def kl(p, q):
    return (p * (p.log() - q.log())).sum(1)


def test_the_names_of_the_settings_are_those_of_the_classes():
    assert tuple(OBJECTIVES) == NAMES and all(kind.__doc__ for kind in OBJECTIVES.values()) and objective(None).name == "standard"


@pytest.mark.parametrize("name, steps, asked", [("at", 3, ("soft", 3, pytest.approx(1.25 / 3))), ("fast", 3, ("soft", 3, pytest.approx(1.25 / 3)))])
def test_at_is_cross_entropy_under_attack(name, steps, asked):
    loss, _, attacked, targets, _, words = of_fixed(name)
    assert loss == pytest.approx(cross_entropy(attacked, targets).mean().item(), rel=1e-5) and words == [asked]


def test_trades():
    """Zhang et al. 2019, in three lines; the clip that is left alone adds no divergence."""
    loss, clean, attacked, targets, _, words = of_fixed("trades", beta=2.0)
    apart = kl(clean.softmax(1), attacked.softmax(1))
    assert apart[0] == 0 and loss == pytest.approx((cross_entropy(clean, targets) + 2.0 * apart).mean().item(), rel=1e-5) and words[0][0] == "kl"


def test_mart():
    """Wang et al. 2020, clip by clip."""
    loss, clean, attacked, targets, _, words = of_fixed("mart", beta=3.0)
    expected = 0.0
    for before, after, wanted in zip(clean.softmax(1), attacked.softmax(1), targets):
        own = int(wanted.argmax())
        others = max(after[k].item() for k in range(3) if k != own)
        expected += -(wanted * after.log()).sum() - torch.log(torch.tensor(1 - others)) + 3.0 * (before * (before / after).log()).sum() * (1 - before[own])
    assert loss == pytest.approx(expected.item() / 5, rel=1e-4) and words[0][0] == "soft"


def test_mart_of_a_sure_mistake_is_large_and_finite():
    some = batch(network=lambda heard: torch.tensor([0.0, 0.0, 200.0]).expand(len(heard), 3) + 0 * heard[:, :3])
    (loss,) = objective(Adversary(objective="mart")).losses(replace(some, targets=some.hard, inner=Noted(some.inner)))
    assert 50 < loss.item() < 1000


@pytest.mark.parametrize("name, kind", [("ard", "hard"), ("rslad", "soft")])
def test_robust_students(name, kind):
    loss, clean, attacked, targets, hard, words = of_fixed(name, beta=5.0)
    first = cross_entropy(clean, hard if name == "ard" else targets).mean()
    assert loss == pytest.approx((first / 6 + 5 / 6 * cross_entropy(attacked, targets).mean()).item(), rel=1e-5) and words[0][0] == kind


def test_the_inner_loss_of_the_config_counts():
    assert of_fixed("trades", inner="soft")[-1][0][0] == "soft" and of_fixed("at", loss="margin")[-1][0][0] == "margin" and of_fixed("at", inner="kl")[-1][0][0] == "kl"


def test_free_takes_its_gradient_from_the_pass_of_the_weights():
    some, network = batch(steps=3), Linear()
    heard = []
    some = replace(some, hear=lambda sound, rows: (heard.append(sound.detach()), network(sound))[1])
    values = []
    for loss in objective(Adversary(objective="free")).losses(some):
        loss.backward()
        values.append(loss.item())
    start = some.inner.bound.rough(some.inner.start)
    torch.testing.assert_close(heard[0][1:], some.inner.sound + start)
    moved = (some.inner.sound + start).requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(network(moved), some.targets[1:]).sum(), moved)
    full = some.inner.bound.rough(some.inner.bound.project(some.inner.start + some.inner.bound.limit * gradient.sign()))
    torch.testing.assert_close(heard[1][1:], some.inner.sound + full)
    assert len(values) == 3 and values[1] > values[0] and torch.equal(heard[0][0], heard[2][0])


@pytest.mark.parametrize("kind", ["soft", "hard", "kl", "margin"])
def test_the_adversary_climbs_the_loss_that_it_is_named(kind):
    """More than a random start, a fixed half of it or nothing does."""
    inner, network = batch(clean=0, budget="linf:0.05").inner, Linear()
    found = inner.perturbation(kind, 10, 0.25)
    clean = network(inner.sound)
    losses = {"soft": lambda logits: cross_entropy(logits, inner.targets), "hard": lambda logits: cross_entropy(logits, inner.hard),
              "kl": lambda logits: kl(clean.softmax(1), logits.softmax(1)),
              "margin": lambda logits: (logits - 1e9 * torch.eye(3)[inner.targets.argmax(1)]).amax(1) - logits.gather(1, inner.targets.argmax(1)[:, None])[:, 0]}
    reached = losses[kind](network(inner.sound + found))
    for other in (inner.start, inner.start / 2, 0 * inner.start):
        assert (reached > losses[kind](network(inner.sound + other)) - 1e-5).all()
    assert inner.bound.satisfied(found).all()


def test_on_a_linear_network_trades_finds_the_largest_divergence():
    """Eight samples, so that all 256 corners of the budget can be tried; the divergence of a linear network is convex: its maximum is a corner. A search from one
    start may climb the lower of two hills, one from twelve starts must not.
    """
    inner, network = batch(clean=0, budget="linf:0.02").inner, Linear()
    corners = inner.bound.limit * (2.0 * (torch.arange(256)[:, None] >> torch.arange(8) & 1) - 1)
    with torch.no_grad():
        clean = network(inner.sound)
        best = torch.stack([divergence(clean, network(inner.sound + corner)) for corner in corners]).amax(0)
        starts = [inner.bound.random_start([torch.Generator().manual_seed(seed)] * 5) for seed in range(12)]
        found = [replace(inner, start=start).perturbation("kl", 20, 0.25) for start in starts]
        torch.testing.assert_close(torch.stack([divergence(clean, network(inner.sound + each)) for each in found]).amax(0), best, rtol=1e-3, atol=1e-4)


def test_where_16_bit_leaves_nothing_of_a_small_start_it_is_a_whole_one():
    inner = batch(clean=0, budget="linf:0.0001").inner
    assert torch.equal(inner.near(), inner.start) and inner.bound.rough(inner.start).any()
    assert torch.equal(batch(clean=0).inner.near(), 0.1 * batch(clean=0).inner.start)


@pytest.mark.parametrize("name", NAMES)
def test_each_objective_lowers_its_own_loss(name):
    network = Linear()
    optimizer, goal, values = torch.optim.Adam(network.parameters(), 0.02), objective(Adversary(objective=name)), []
    for _ in range(30):
        for loss in goal.losses(batch(network=network)):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.7 * values[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_share_without_attacked_clips(name):
    """Of several processes one may have the clean clips alone."""
    some = replace(batch(), inner=None)
    losses = [loss for loss in objective(Adversary(objective=name)).losses(some)]
    assert len(losses) == (3 if name == "free" else 1) and all(torch.isfinite(loss) for loss in losses)
    (plain,) = Standard(Adversary()).losses(some)
    if name in ("at", "fast", "free", "trades", "rslad"):
        torch.testing.assert_close(losses[0], plain)


@pytest.fixture
def small(data_root, tiny_weights):
    """A config of a quick run; keywords change it."""

    def make(**changes):
        plain = {"name": "small", "task": ["yes", "no", "stop", "_silence_"], "model": "tc_resnet8", "model_options": SMALL, "data": [str(data_root)], "epochs": 1,
                 "batch_size": 16, "learning_rate": 0.02, "averaging": 0.8, "validation_clips": 4, "teaching": Teaching([str(tiny_weights)])}
        return TrainingConfig(**plain | changes)

    return make


def go(config, out, progress=lambda items, label: items):
    lines = []
    return train(config, out, progress=progress, say=lines.append), lines


@pytest.mark.parametrize("budget", ["linf:0.002", "snr:30", "masking"])
@pytest.mark.parametrize("name", NAMES)
def test_each_objective_under_each_budget(small, tmp_path, name, budget):
    adversary = Adversary(objective=name, budget=budget, steps=[[0, 2]], clean_share=0.25, replays=2, beta=3.0, guard_clips=4)
    weights, _ = go(small(adversary=adversary), tmp_path / "run")
    card = json.loads(weights.with_suffix(".json").read_text())
    inner = {"trades": "kl", "ard": "hard"}.get(name, "soft")
    assert card["training"] == {"objective": name, "inner": inner, "defense": "none"} | ({"beta": 3.0} if name in ("trades", "mart", "ard", "rslad") else {})
    row = json.loads((tmp_path / "run" / "history.jsonl").read_text())
    assert 0 < row["loss"] < 20 and ("guard_pgd" in row) == (name in ("fast", "free"))


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_ends_in_the_same_weights(small, tmp_path, name):
    config = small(epochs=2, validate_every=2, adversary=Adversary(objective=name, steps=[[0, 2]], clean_share=0.25, replays=2, guard_clips=4))

    def killed(items, label):
        for number, item in enumerate(items):
            if label.startswith("epoch 2 ") and number == 1:
                raise KeyboardInterrupt
            yield item

    whole, _ = go(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        go(config, tmp_path / "killed", killed)
    weights, lines = go(config, tmp_path / "killed")
    assert "going on after epoch 1" in lines and weights.read_bytes() == whole.read_bytes()
    before = load_model(str(whole))
    assert before.labels == ("yes", "no", "stop", "_silence_")


@pytest.mark.parametrize("make, message", [
    (lambda: Adversary(objective="trade"), "adversary.objective: expected one of at, trades, mart, fast, free, ard, rslad, got trade"),
    (lambda: Adversary(inner="mse"), "adversary.inner: expected one of soft, hard, kl, margin, got mse"),
    (lambda: Adversary(inner="kl", loss="margin"), "adversary.inner: expected none beside loss = margin"),
    (lambda: Adversary(objective="free", inner="kl"), "none with objective free"), (lambda: Adversary(beta=-1.0), "adversary.beta"),
    (lambda: Adversary(replays=0), "adversary.replays"), (lambda: Adversary(guard=2.0), "adversary.guard"), (lambda: Adversary(guard_clips=0), "adversary.guard_clips"),
    (lambda: TrainingConfig("x", adversary=Adversary(objective="ard")), "adversary.objective: expected another one without teaching.models, got ard"),
])
def test_what_makes_no_objective(make, message):
    with pytest.raises(ConfigError, match=message) as problem:
        make()
    assert len(str(problem.value).splitlines()) == 1
