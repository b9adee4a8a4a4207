"""MI-FGSM on varied inputs: what is varied, what it costs, and what it is without variation."""
import pytest
import torch

from speechadv.attacks.mifgsm import MIFGSM, Change, resampled
from speechadv.attacks.pgd import PGD
from speechadv.budgets import parse_budget
from speechadv.errors import ConfigError
from speechadv.randomness import clip_generators


def test_clips_are_moved_and_played_faster():
    clips = torch.arange(1.0, 7.0).repeat(4, 1)
    heard = resampled(clips, torch.tensor([0.0, 2.0, -1.0, 0.0]), torch.tensor([1.0, 1.0, 1.0, 2.0]))
    assert heard[:3].tolist() == [[1, 2, 3, 4, 5, 6], [0, 0, 1, 2, 3, 4], [2, 3, 4, 5, 6, 0]]
    # The middle, between 3 and 4, stays; places are twice as far from it, between samples by lines, with silence beyond the ends.
    assert heard[3].tolist() == [0, 0.5, 2.5, 4.5, 3, 0]


def test_each_change_stays_within_its_limits():
    clips = torch.zeros(40, 400)
    clips[:, 200] = 0.5
    generators = clip_generators(0, "vary", [str(i) for i in range(40)])
    moved = Change(50, 0, 0, 0)(clips, generators).argmax(1)
    assert moved.min() >= 150 and moved.max() <= 250 and moved.float().std() > 15
    louder = Change(0, 6, 0, 0)(clips, generators).amax(1) / 0.5
    assert louder.min() >= 0.5 and louder.max() <= 2 and louder.max() > 1.5 > 0.7 > louder.min()
    noise = Change(0, 0, 0, 20)(clips, generators) - clips
    assert torch.allclose(noise.norm(dim=1), clips.norm(dim=1) / 10, rtol=1e-4)


def test_without_variation_it_is_pgd_with_momentum(bent, attacked):
    model, clean, labels = bent
    plain = attacked(MIFGSM(steps=8, copies=1, shift=0, gain_db=0), model, clean, labels, "linf:0.002")
    # PGD keeps the highest loss that it saw, which here is that of the last iterate; it looks at it as a query.
    pgd = attacked(PGD(steps=8, step_size=0.25, momentum=1.0, random_start=False, full=True), model, clean, labels, "linf:0.002")
    same = (plain.adversarial == pgd.adversarial).float().mean(1)
    assert same.median() == 1.0
    assert plain.passes.tolist() == pgd.passes.tolist() == [8] * len(clean)


@pytest.mark.parametrize("budget", ["linf:0.004", "snr:25"])
def test_each_copy_is_a_pass_and_the_budget_holds(budget, bent, attacked):
    model, clean, labels = bent
    result = attacked(MIFGSM(steps=10, copies=3, shift=0), model, clean, labels, budget)  # a random network knows no shifts
    assert result.passes.tolist() == [30] * len(clean) and result.queries.tolist() == [0] * len(clean)
    assert parse_budget(budget).satisfied(clean, result.adversarial).all() and result.reached.any()


def test_a_single_clip(bent, attacked):
    model, clean, labels = bent
    assert attacked(MIFGSM(steps=3, shift=0.0005), model, clean[:1], labels[:1], "linf:0.004").adversarial.shape == (1, 800)


@pytest.mark.parametrize("options", [{"steps": 0}, {"copies": 0}, {"shift": -1}, {"gain_db": -1}, {"momentum": -1}, {"speed": 0.6}, {"noise_db": -1}, {"loss": "mse"}])
def test_wrong_options_are_named(options):
    with pytest.raises(ConfigError, match="loss" if "loss" in options else next(iter(options))):
        MIFGSM(**options)
