"""The universal perturbation: one waveform, heard wherever it begins, on clips that it was not fitted on; and its files."""
import pytest
import torch

from speechadv.attacks.universal import Universal, rolled
from speechadv.audio import write_pcm16
from speechadv.budgets import parse_budget
from speechadv.errors import ConfigError, InputError
from speechadv.goals import Misclassify, Target
from speechadv.randomness import clip_generators


def fitted(model, clips, goal, budget, seed=0, **options):
    attack = Universal(**{"steps": 25, "batch": 10} | options)
    fit = attack.fit(model, clips, goal, parse_budget(budget), generator=torch.Generator().manual_seed(seed))
    return attack, fit


def applied(attack, model, heard, goal, budget, seed=0):
    generators = clip_generators(seed, "cell", [str(i) for i in range(len(heard.waveforms))])
    return attack(model, heard.waveforms, goal, parse_budget(budget), generators=generators)


def test_turning_is_a_loop():
    clips = torch.arange(6.0).repeat(3, 1)
    assert rolled(clips, torch.tensor([0, 2, -1])).tolist() == [[0, 1, 2, 3, 4, 5], [4, 5, 0, 1, 2, 3], [1, 2, 3, 4, 5, 0]]


@pytest.mark.parametrize("budget, more", [("linf:0.03", 0.2), ("snr:8", 0.05)])
def test_one_waveform_changes_clips_that_it_was_not_fitted_on(budget, more, tiny, heard, speakers):
    clips, classes = speakers
    attack, fit = fitted(tiny, clips, Misclassify(classes), budget, steps=40)
    assert fit.waveform.shape == (16000,) and fit.passes == 40 * 10
    result = applied(attack, tiny, heard, Misclassify(heard.classes), budget)
    noise = torch.randn(16000, generator=torch.Generator().manual_seed(1))
    attack.fits = {None: noise * fit.waveform.norm() / noise.norm()}
    by_chance = applied(attack, tiny, heard, Misclassify(heard.classes), budget)
    tried = ~result.already
    assert result.reached[tried].float().mean() > by_chance.reached[tried].float().mean() + more
    assert not result.passes.any() and parse_budget(budget).satisfied(heard.waveforms, result.adversarial).all()


def test_what_is_added_is_the_waveform_turned(tiny, heard, speakers):
    clips, classes = speakers
    attack, fit = fitted(tiny, clips, Misclassify(classes), "linf:0.01", steps=3)
    result = applied(attack, tiny, heard, Misclassify(heard.classes), "linf:0.01")
    row = int((~result.already).nonzero()[0])
    added, louder = (result.adversarial - heard.waveforms)[row], torch.fft.rfft(fit.waveform)
    turned = int(torch.fft.irfft(torch.fft.rfft(added) * louder.conj()).argmax())
    assert torch.equal(added, torch.roll(fit.waveform, turned))


def test_each_target_has_its_own(tiny, heard, speakers):
    clips, classes = speakers
    attack = Universal(steps=25, batch=10)
    for target in (0, 2):
        keep = classes != target
        attack.fit(tiny, clips[keep], Target(torch.full_like(classes[keep], target)), parse_budget("snr:8"), generator=torch.Generator().manual_seed(0))
    wanted = torch.where(heard.classes == 0, 2, 0)
    assert applied(attack, tiny, heard, Target(wanted), "snr:8").reached.float().mean() > 0.4
    with pytest.raises(InputError, match="fitted for 0, 2, not for target 3"):
        applied(attack, tiny, heard, Target(torch.full_like(wanted, 3)), "snr:8")
    with pytest.raises(InputError, match="one target for all"):
        attack.fit(tiny, clips, Target(classes), parse_budget("snr:8"), generator=torch.Generator())


def test_a_saved_waveform_is_applied_again(tiny, heard, speakers, tmp_path):
    clips, classes = speakers
    attack, fit = fitted(tiny, clips, Misclassify(classes), "snr:15", steps=3)
    write_pcm16(tmp_path / "loop.wav", fit.waveform)
    again = Universal(perturbation=str(tmp_path / "loop.wav"))
    first, second = (applied(one, tiny, heard, Misclassify(heard.classes), "snr:15") for one in (attack, again))
    assert torch.equal(first.adversarial, second.adversarial)
    assert attack.learns and not again.learns, "what is given is not fitted"
    with pytest.raises(InputError, match="clips of 16000 samples"):
        again(tiny, heard.waveforms[:, :8000], Misclassify(heard.classes), parse_budget("snr:15"), generators=torch.Generator())
    with pytest.raises(InputError, match="no such file"):
        Universal(perturbation="nowhere.wav")


def test_the_same_generator_gives_the_same_waveform(tiny, speakers):
    clips, classes = speakers
    waveforms = [fitted(tiny, clips, Misclassify(classes), "snr:15", seed, steps=3)[1].waveform for seed in (0, 0, 1)]
    assert torch.equal(waveforms[0], waveforms[1]) and not torch.equal(waveforms[0], waveforms[2])


@pytest.mark.parametrize("options", [{"steps": 0}, {"batch": 0}, {"clips": 0}, {"shift": -1}, {"step_size": -1}, {"split": "test"}, {"loss": "mse"}])
def test_wrong_options_are_named(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Universal(**options)
