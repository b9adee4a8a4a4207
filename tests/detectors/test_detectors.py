"""What is special about each detector, against sums by hand."""
import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from speechadv.defenses import parse_defense
from speechadv.detectors import Watched, divergence, parse_detector
from speechadv.detectors.base import gap
from speechadv.detectors.margin import Margin
from speechadv.detectors.temporal import Temporal
from speechadv.errors import ConfigError, InputError
from speechadv.randomness import clip_generators, drawing, normal


class Loudness(nn.Module):
    """Hears how much energy there is, not when."""

    labels, sample_rate = ("loud", "soft"), 16000

    def forward(self, waveforms):
        energy = waveforms.square().sum(1, keepdim=True)
        return torch.cat([10 * energy, 20 + 0 * energy], 1)


def test_divergence_is_jeffreys():
    one, other = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    p, q = (torch.distributions.Categorical(logits=logits) for logits in (one, other))
    expected = torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p)
    assert torch.allclose(divergence(one, other), expected, atol=1e-5) and torch.equal(divergence(one, other), divergence(other, one))
    assert divergence(one, one + 3).abs().max() < 1e-5  # logits are what they are but for a constant
    sure = torch.tensor([[50.0, 0.0]])
    assert divergence(sure, sure.flip(1)) == 100  # where probabilities saturate it still counts


def test_disagreement_is_the_largest_distance(linear, waveforms):
    model, specs = linear(), ("bandpass:200-3000", "bandpass:100-7000", "mp3:64")
    alone = []
    for spec in specs:
        behind = waveforms
        for defense in parse_defense(spec):
            behind = defense(behind)
        alone.append(divergence(model(waveforms), model(behind)))
        assert torch.equal(parse_detector(f"disagreement:{spec}")(model, waveforms), alone[-1])
    assert torch.equal(parse_detector(f"disagreement:{', '.join(specs)}")(model, waveforms), torch.stack(alone).amax(0))
    joined = parse_detector("disagreement:bandpass:200-3000+mp3:64")
    assert joined.name == "disagreement:bandpass:200-3000+mp3:64" and len(joined.chains) == 1


@pytest.mark.parametrize("spec", ["disagreement:none", "disagreement:mp3:16,none", "disagreement:mp3:16,,mp3:32", "disagreement:mp3:17", "disagreement:pm3:16"])
def test_disagreement_with_nothing(spec):
    with pytest.raises(ConfigError, match="expected|did you mean 'mp3'"):
        parse_detector(spec)


def test_margin_statistics(linear, waveforms):
    model = linear()
    logits = model(waveforms)
    ordered, probabilities = logits.sort(1).values, logits.softmax(1).amax(1)
    assert torch.allclose(parse_detector("margin")(model, waveforms), ordered[:, -2] - ordered[:, -1], atol=1e-6)
    assert torch.equal(parse_detector("margin:sure")(model, waveforms), -parse_detector("margin:gap")(model, waveforms))
    assert torch.allclose(parse_detector("margin:softmax")(model, waveforms), -probabilities.log(), atol=1e-5)
    certain = parse_detector("margin:softmax").score(model, waveforms, torch.tensor([[40.0, 0.0]]))
    assert 4e-18 < certain < 5e-18  # where 1 - probability is 0 in 32 bits


def test_stability_under_noise(linear, waveforms):
    """The mean fall of the heard label's gap over copies that are drawn as they are drawn within."""
    model, names = linear(curved=True), "0123"
    detector = Margin("noise", noise=0.05, copies=3)
    with drawing(detector, clip_generators(0, "noise", names)):
        scores = detector(model, waveforms)
    noise = normal(clip_generators(0, "noise", names), (3, 1600))
    heard = model(waveforms).argmax(1)
    falls = [gap(model(waveforms), heard) - gap(model(waveforms + 0.05 * noise[:, copy]), heard) for copy in range(3)]
    assert torch.allclose(scores, sum(falls) / 3, atol=1e-4) and scores.abs().min() > 1e-3
    assert Margin("noise", noise=1e-6, copies=2)(linear(), waveforms).abs().max() < 1e-3


def test_temporal_by_hand(linear, waveforms):
    model = linear()
    logits, nothing = model(waveforms), torch.zeros(4, 160)
    earlier, later = torch.cat([waveforms[:, 160:], nothing], 1), torch.cat([nothing, waveforms[:, :-160]], 1)
    halves = [torch.cat([waveforms[:, :800], torch.zeros(4, 800)], 1), torch.cat([torch.zeros(4, 800), waveforms[:, 800:]], 1)]
    distances = [divergence(logits, model(other)) for other in (earlier, later, *halves)]
    assert torch.allclose(parse_detector("temporal:shift=10,parts=2")(model, waveforms), sum(distances) / 4, atol=1e-5)
    assert torch.allclose(parse_detector("temporal:shift=0,parts=2")(model, waveforms), sum(distances[2:]) / 2, atol=1e-5)
    assert torch.allclose(parse_detector("temporal:parts=0,shift=10")(model, waveforms), sum(distances[:2]) / 2, atol=1e-5)


def test_a_network_that_does_not_listen_when_is_consistent_in_time():
    clips = torch.zeros(2, 1600)
    clips[0, 700:900] = 0.1
    clips[1, 200:1400] = 0.04
    assert parse_detector("temporal:shift=10,parts=0")(Loudness(), clips).abs().max() < 1e-4
    assert (parse_detector("temporal:shift=0,parts=4")(Loudness(), clips) > 0.1).all()


@pytest.mark.parametrize("spec, message", [
    ("temporal:shift=0,parts=0", "a shift above 0 or two parts or more"), ("temporal:parts=1", "two parts or more"), ("temporal:parts=2.5", "parts: expected a whole number"),
    ("temporal:parts=65", "from 0 to 64"), ("temporal:shift=50,shift=20", "each once"), ("temporal:shift=-5", "expected temporal:shift=50"),
    ("margin:noise=0", "expected margin"), ("margin:noise=2", "noise: expected a number"), ("margin:noise=0.1,copies=0", "copies: expected"),
    ("margin:copies=4", "expected margin"), ("margin:noise", "expected margin"), ("margin:noise=nan", "expected margin")])
def test_values_out_of_range(spec, message):
    with pytest.raises(ConfigError, match=message):
        parse_detector(spec)


def test_keywords_out_of_range():
    with pytest.raises(ConfigError, match="expected one of gap, sure, softmax, noise, got 'gapp'"):
        Margin("gapp")
    for wrong in (float("nan"), True, "50"):
        with pytest.raises(ConfigError, match="shift: expected a number"):
            Temporal(shift=wrong)
    with pytest.raises(InputError, match="clips of more than 800 samples, got 800"):
        Temporal()(Loudness(), torch.zeros(1, 800))


def test_another_sample_rate(linear):
    with pytest.raises(ConfigError, match="detector 'margin:gap' is made for 8000 Hz, the model hears 16000 Hz"):
        Watched(linear(), parse_detector("margin", 8000))
    assert parse_detector("temporal:shift=10,parts=0", 8000).samples == 80


@pytest.mark.parametrize("spec", ["margin", "margin:sure", "margin:softmax", "temporal:shift=1,parts=2"])
def test_gradients_are_exact(spec, linear):
    model = linear(time=40).double()
    clips = 0.3 * torch.randn(2, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert gradcheck(lambda heard: parse_detector(spec)(model, heard), clips.requires_grad_())


def test_gap():
    logits = torch.tensor([[3.0, 1.0, 2.5], [0.0, 4.0, 1.0]])
    assert gap(logits, torch.tensor([0, 2])).tolist() == [0.5, -3.0]
