"""`Defended` is a classifier: the defenses' exact output goes forward, the chosen gradient goes backward."""
import copy

import pytest
import torch
from torch import nn

from speechadv.defenses import Defended, Defense, defense_name, parse_defense, straight_through
from speechadv.errors import ConfigError, InputError


class Sums(nn.Module):
    """A classifier with a known gradient: logits are a fixed linear map."""

    labels, sample_rate = ("no", "yes"), 16000

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(400, 2)

    def forward(self, waveforms):
        return self.layer(waveforms)


class Coarse(Defense):
    """Rounds to 1/64; its surrogate doubles, so that its gradient is recognisable."""

    name = "coarse"

    def forward(self, waveforms):
        return (waveforms * 64).round() / 64

    def surrogate(self, waveforms):
        return 2 * waveforms


class Noisy(Defense):
    name, stochastic = "noisy", True

    def forward(self, waveforms):
        return waveforms


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Sums().eval().requires_grad_(False)


@pytest.fixture
def waveforms():
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(3, 400, generator=generator) * 2000 - 1000).round() / 32768


def gradient(classifier, waveforms):
    waveforms = waveforms.clone().requires_grad_()
    return torch.autograd.grad(classifier(waveforms)[:, 1].sum(), waveforms)[0]


def test_straight_through_is_exact_where_adding_and_subtracting_is_not():
    exact, surrogate = torch.tensor([[1e-8, 1 / 3]]), torch.tensor([[0.7, -0.9]], requires_grad=True)
    assert not torch.equal(surrogate + (exact - surrogate).detach(), exact)
    out = straight_through(exact, surrogate)
    assert torch.equal(out, exact)
    assert torch.equal(torch.autograd.grad(out.sum(), surrogate)[0], torch.ones(1, 2))


def test_attributes_and_logits_are_those_of_the_model(model, waveforms):
    defended = Defended(model, Coarse())
    assert defended.labels == ("no", "yes") and defended.sample_rate == 16000
    for mode in ("surrogate", "identity", "none"):
        defended = Defended(model, Coarse(), gradient=mode)
        assert torch.equal(defended(waveforms), model(Coarse()(waveforms)))
        assert torch.equal(defended(waveforms.clone().requires_grad_()), model(Coarse()(waveforms)))


def test_gradient_modes(model, waveforms):
    plain = model.layer.weight[1].expand(3, 400)
    assert torch.equal(gradient(Defended(model, Coarse(), gradient="identity"), waveforms), plain)
    assert torch.equal(gradient(Defended(model, Coarse()), waveforms), 2 * plain)
    assert torch.equal(gradient(Defended(model, Coarse(), gradient="none"), waveforms), torch.zeros(3, 400))


def test_a_defense_without_a_surrogate_of_its_own_differentiates_itself(model, waveforms):
    bandpass = parse_defense("bandpass:500-3000")[0]
    assert bandpass.differentiable and not Coarse().differentiable
    expected = bandpass.filtered(model.layer.weight[1].expand(3, 400))  # symmetric taps: the filter is its own adjoint
    assert torch.allclose(gradient(Defended(model, bandpass), waveforms), expected, atol=1e-6)
    assert torch.equal(gradient(Defended(model, bandpass, gradient="identity"), waveforms), model.layer.weight[1].expand(3, 400))


def test_defenses_apply_in_order(model, waveforms):
    bandpass, coarse = parse_defense("bandpass:500-3000")[0], Coarse()
    assert torch.equal(Defended(model, bandpass, coarse).defend(waveforms), coarse(bandpass(waveforms)))
    assert torch.equal(Defended(model, coarse, bandpass).defend(waveforms), bandpass(coarse(waveforms)))
    assert not torch.equal(coarse(bandpass(waveforms)), bandpass(coarse(waveforms)))


def test_without_defenses_and_nested(model, waveforms):
    assert torch.equal(Defended(model)(waveforms), model(waveforms))
    bandpass, coarse = parse_defense("bandpass:500-3000")[0], Coarse()
    nested = Defended(Defended(model, coarse), bandpass)
    assert torch.equal(nested(waveforms), Defended(model, bandpass, coarse)(waveforms))
    assert torch.equal(gradient(nested, waveforms), gradient(Defended(model, bandpass, coarse), waveforms))


def test_mode_and_freezing_pass_through(model):
    defended = Defended(model, *parse_defense("mp3:32"))
    assert not any(module.training for module in defended.modules())
    defended.train()
    assert model.training
    defended.eval().requires_grad_(True)
    assert not model.training and all(p.requires_grad for p in model.parameters())
    assert Defended(model.train()).training


def test_input_is_left_alone_and_a_copy_works(model, waveforms):
    before = waveforms.clone()
    defended = Defended(model, *parse_defense("bandpass:100-4000+mp3:32"))
    logits = defended(waveforms)
    assert torch.equal(waveforms, before)
    assert torch.equal(copy.deepcopy(defended)(waveforms), logits)


def test_draws_count_only_where_something_is_stochastic(model):
    assert Defended(model, Coarse(), draws=8).draws == 1
    assert Defended(model, Noisy(), draws=8).draws == 8
    assert Defended(Defended(model, Noisy()), Coarse(), draws=4).draws == 4
    with pytest.raises(ConfigError, match="draws"):
        Defended(model, Noisy(), draws=0)


def test_errors_name_what_was_expected(model, waveforms):
    with pytest.raises(ConfigError, match="surrogate, identity, none.*'surogate'"):
        Defended(model, gradient="surogate")
    with pytest.raises(ConfigError, match="8000 Hz.*16000 Hz"):
        Defended(model, *parse_defense("bandpass:100-3000", sample_rate=8000))
    for wrong in (waveforms[0], waveforms[:, None], (waveforms * 32768).int(), waveforms[:, :0]):
        with pytest.raises(InputError, match=r"\(batch, time\)"):
            Defended(model, Coarse())(wrong)


@pytest.mark.parametrize("spec", ["none", "mp3:32", "mp3:8:q2", "bandpass:100-4000", "bandpass:62.5-3999.25", "bandpass:100-4000+mp3:32+mp3:64"])
def test_specifications_come_back(spec):
    assert defense_name(parse_defense(spec)) == spec


def test_spaces_around_parts_are_fine():
    assert defense_name(parse_defense(" bandpass:100-4000 + mp3:032:q7 ")) == "bandpass:100-4000+mp3:32"


@pytest.mark.parametrize("spec, message", [
    ("mp4:32", "unknown defense 'mp4', did you mean 'mp3'"),
    ("", "NAME:ARGUMENT"),
    ("mp3:32+", "NAME:ARGUMENT"),
    ("none+mp3:32", "'none' stands alone"),
    ("mp3", "8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160"),
    ("mp3:33", "8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160 kbit/s, got '33'"),
    ("mp3:-8", "KBPS"),
    ("mp3:32:q", "KBPS"),
    ("mp3:³²", "KBPS"),
    ("mp3:3\n2", r"KBPS.*\\n"),
    ("bandpass", "bandpass:LO-HI"),
    ("bandpass:100", "bandpass:LO-HI"),
    ("bandpass:nan-100", "bandpass:LO-HI"),
    ("bandpass:4000-100", "0 < LO < HI < 8000 Hz, got LO = 4000 and HI = 100"),
    ("bandpass:0-100", "0 < LO < HI"),
    ("bandpass:100-8000", "0 < LO < HI"),
    ("bandpass:100-110", "20 Hz above"),
])
def test_wrong_specifications_say_what_was_expected(spec, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_defense(spec)
    assert "\n" not in str(caught.value)
