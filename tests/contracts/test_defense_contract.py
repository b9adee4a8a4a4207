"""What every registered defense must hold. A newcomer is tested as soon as its file exists, with its default configuration."""
import inspect

import pytest
import torch
from torch import nn

from speechadv import registry
from speechadv.defenses import Defended, Defense, defense_name, parse_defense
from speechadv.errors import ConfigError, InputError
from speechadv.randomness import clip_generators, drawing

NAMES = registry.names("defense")


class Linear(nn.Module):
    labels, sample_rate = ("no", "yes"), 16000

    def __init__(self):
        super().__init__()
        self.register_buffer("weights", torch.randn(1600, 2, generator=torch.Generator().manual_seed(5)))

    def forward(self, waveforms):
        return waveforms @ self.weights


@pytest.fixture(params=NAMES)
def defense(request):
    return registry.create("defense", request.param).eval()


@pytest.fixture
def waveforms():
    generator = torch.Generator().manual_seed(3)
    tone = torch.sin(torch.arange(1600) * 0.3) * 0.2
    return ((tone + 0.01 * torch.randn(4, 1600, generator=generator)) * 32768).round() / 32768


def drawn(defense, waveforms, first=0):
    """What the defense makes of clips whose generators are passed in, clip i drawing from generator first + i: random or not, it repeats."""
    with drawing(defense, clip_generators(0, "contract", [str(first + i) for i in range(len(waveforms))])):
        return defense(waveforms)


def test_there_are_defenses():
    assert {"mp3", "bandpass"} <= set(NAMES)


def test_it_is_a_documented_defense(defense):
    assert isinstance(defense, Defense)
    assert inspect.getdoc(type(defense)) and "Raises" in inspect.getdoc(type(defense))
    assert isinstance(defense.stochastic, bool) and isinstance(defense.sample_rate, int)


def test_its_name_makes_it_again(defense, waveforms):
    again = parse_defense(defense.name)
    assert defense_name(again) == defense.name
    assert torch.equal(drawn(again[0].eval(), waveforms), drawn(defense, waveforms))


def test_output_is_audio_as_saved(defense, waveforms):
    heard = defense(waveforms)
    assert heard.shape == waveforms.shape and heard.dtype == torch.float32 and heard.device == waveforms.device
    assert heard.min() >= -1 and heard.max() <= 1 - 2**-15
    assert torch.equal((heard * 32768).round(), heard * 32768)


def test_loud_and_silent_clips(defense, waveforms):
    loud = defense(torch.sign(waveforms).clamp(max=1 - 2**-15))
    assert loud.isfinite().all() and loud.min() >= -1 and loud.max() <= 1 - 2**-15
    assert defense(torch.zeros(1, 1600)).isfinite().all()


def test_the_input_is_left_alone(defense, waveforms):
    before = waveforms.clone()
    defense(waveforms)
    assert torch.equal(waveforms, before)


def test_it_repeats_and_a_batch_equals_its_clips(defense, waveforms):
    heard = drawn(defense, waveforms)
    assert torch.equal(drawn(defense, waveforms), heard)
    for i in range(len(waveforms)):
        assert torch.equal(drawn(defense, waveforms[i : i + 1], first=i)[0], heard[i])
    assert not defense.stochastic or not torch.equal(drawn(defense, waveforms, first=len(waveforms)), heard)


def test_it_does_not_delay(defense, waveforms):
    if getattr(defense, "moves", False):
        pytest.skip("moves the clip on purpose")
    heard = defense(waveforms)
    product = torch.fft.rfft(heard, 4096) * torch.fft.rfft(waveforms, 4096).conj()
    assert (torch.fft.irfft(product, 4096).argmax(1) == 0).all()


def test_its_surrogate_has_the_shape_and_a_gradient(defense, waveforms):
    waveforms = waveforms.requires_grad_()
    stand_in = defense.surrogate(waveforms)
    assert stand_in.shape == waveforms.shape
    slope = torch.autograd.grad((stand_in * stand_in.detach()).sum(), waveforms)[0]
    assert slope.isfinite().all() and slope.abs().max() > 0


@pytest.mark.parametrize("gradient", ["surrogate", "identity", "none"])
def test_in_front_of_a_model(defense, waveforms, gradient):
    model = Linear().eval()
    defended = Defended(model, defense, gradient=gradient)
    waveforms = waveforms.requires_grad_()
    logits = defended(waveforms)
    if not defense.stochastic:
        assert torch.equal(logits, model(defense(waveforms.detach())))
    slope = torch.autograd.grad(logits[:, 0].sum(), waveforms)[0]
    plain = model.weights[:, 0].expand(4, -1)
    assert {"surrogate": slope.isfinite().all() and slope.abs().max() > 0, "identity": torch.equal(slope, plain), "none": slope.eq(0).all()}[gradient]


def test_mode_passes_through(defense):
    defended = Defended(Linear().train(), defense)
    assert defense.training and not defended.eval().defenses[0].training


def test_wrong_waveforms_are_refused(defense, waveforms):
    for wrong in (waveforms[0], waveforms[:, None], waveforms[:, :0]):
        with pytest.raises(InputError, match=r"\(batch, time\)"):
            defense(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_keywords_and_arguments_are_errors(name):
    with pytest.raises(ConfigError, match="has no option 'no_such_option'"):
        registry.create("defense", name, no_such_option=1)
    with pytest.raises(ConfigError, match=f"defense {name}: expected"):
        parse_defense(f"{name}:no such argument")
