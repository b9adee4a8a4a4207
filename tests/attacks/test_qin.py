"""Qin et al.'s two stages: the penalty by hand and by differences, and what the second stage hides without losing the goal."""
import pytest
import torch

from speechadv.attacks.pgd import PGD
from speechadv.attacks.qin import Penalty, Qin
from speechadv.budgets import parse_budget
from speechadv.errors import ConfigError
from speechadv.goals import Target
from speechadv.masking import MaskingModel


@pytest.fixture
def penalty(heard):
    model = MaskingModel()
    return Penalty(model, model.threshold_db(heard.waveforms[:4]))


def test_the_penalty_is_the_mean_excess_in_dB(penalty, heard):
    noise = 0.01 * torch.randn(4, 16000, generator=torch.Generator().manual_seed(0))
    over = penalty.model.spectrum.level_db(noise) - penalty.threshold
    assert torch.allclose(penalty.value(noise), over.clamp(min=0).mean((1, 2)), rtol=1e-4) and (penalty.value(noise) > 0).all()
    assert not penalty.value(torch.zeros(4, 16000)).any() and not penalty.gradient(torch.zeros(4, 16000)).any()
    assert torch.allclose(penalty[torch.tensor([2])].value(noise[2:3]), penalty.value(noise)[2:3])


def test_its_gradient_agrees_with_differences(heard):
    model = MaskingModel()
    exact = Penalty(model, model.threshold_db(heard.waveforms[:1].double()))
    noise = 0.01 * torch.randn(1, 16000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    way = torch.randn(1, 16000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    slope = float((exact.gradient(noise) * way).sum())
    difference = float(exact.value(noise + 1e-7 * way) - exact.value(noise - 1e-7 * way)) / 2e-7
    assert slope == pytest.approx(difference, rel=1e-3)


def test_it_hides_what_it_found_and_still_reaches_the_goal(tiny, heard, attacked, penalty):
    clips, target = heard.waveforms[:4], (heard.classes[:4] + 1) % 4
    plain = attacked(PGD(steps=30, step_size=0.1, random_start=False), tiny, clips, target, "linf:0.05", goal=Target)
    hidden = attacked(Qin(steps=30, hiding=40), tiny, clips, target, "linf:0.05", goal=Target)
    both = plain.reached & hidden.reached & ~plain.already
    assert torch.equal(plain.reached, hidden.reached) and both.sum() >= 2
    assert (penalty.value(hidden.adversarial - clips)[both] < 0.7 * penalty.value(plain.adversarial - clips)[both]).all()
    assert parse_budget("linf:0.05").satisfied(clips, hidden.adversarial).all()


@pytest.mark.parametrize("options", [{"steps": 0}, {"hiding": 0}, {"step_size": 0.0}, {"loss": "mse"}, {"calibration": "loud"}, {"maskers": "none"}])
def test_wrong_options_are_named(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Qin(**options)
