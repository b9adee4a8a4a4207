"""The stand-in for MP3: an MDCT that inverts, bits that suffice, and a gradient that knows what the codec throws away."""
import pytest
import torch

from speechadv.defenses import Defended, parse_defense
from speechadv.defenses.mdct import EDGES, SIDE_BITS, SIZE, band_power, bands, coded, highest, imdct, mdct, steps
from speechadv.defenses.mp3 import BITRATES, LEVEL, MP3
from speechadv.errors import ConfigError


def db(wanted, found):
    return 10 * torch.log10(wanted.square().sum(1) / (wanted - found).square().sum(1))


@pytest.mark.parametrize("time", [1, 575, 576, 1600, 16000])
def test_the_transform_inverts_and_keeps_the_energy(time):
    waveforms = torch.randn(2, time, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    coefficients = mdct(waveforms)
    assert coefficients.shape == (2, -(-time // SIZE) + 1, SIZE)
    assert torch.allclose(imdct(coefficients, time), waveforms, atol=1e-12)
    assert torch.allclose(coefficients.square().sum((1, 2)), waveforms.square().sum(1))


def test_a_sine_stands_in_its_coefficient():
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)[None]
    assert (mdct(tone)[0, 5:-5].abs().argmax(1) - 1000 / 8000 * SIZE).abs().max() <= 1


def test_the_bits_of_a_granule_are_spent_and_not_exceeded(heard):
    for kbps in (8, 32, 160):
        coefficients = mdct(heard.waveforms[:3])
        noise = steps(coefficients, kbps) / 12**0.5
        inside = torch.arange(SIZE) < highest(kbps)
        power = band_power(coefficients) @ bands(torch.float32, coefficients.device).into.T
        bits = ((1 + power / noise.square()).log2() / 2 * inside).sum(-1)
        wanted = kbps * 36 - SIDE_BITS
        assert (bits <= 1.01 * wanted).all() and (bits.amax() > 0.97 * wanted)


def test_the_noise_follows_the_masking_threshold(heard):
    step = steps(mdct(heard.waveforms[:1]), 32)[0, 10]
    loud = mdct(heard.waveforms[:1])[0, 10].abs().argmax()
    assert step[loud] > step[-50] and all((step[a:b] == step[a]).all() for a, b in zip(EDGES, EDGES[1:]))


@pytest.mark.parametrize("kbps", BITRATES)
def test_it_is_the_codec_but_for_its_noise(kbps, heard):
    """What differs between the two is no more than a decibel above what the codec itself adds (its level apart)."""
    mp3, clips = MP3(kbps, threads=1), heard.waveforms[:4]
    exact = mp3(clips)
    assert db(exact, mp3.fitted_surrogate(clips, exact, "mdct")).median() > db(exact, LEVEL * clips).median() - 1


def test_no_gradient_comes_from_above_the_low_pass(heard):
    clip = heard.waveforms[:1].clone().requires_grad_()
    weights = torch.randn(1, 16000, generator=torch.Generator().manual_seed(1))
    slope = torch.autograd.grad((coded(clip, 16) * weights).sum(), clip)[0]
    spectrum = torch.fft.rfft(slope).abs().square()
    assert spectrum[0, 5800:].sum() < 1e-3 * spectrum[0, :5500].sum()


def test_gradcheck():
    waveforms = torch.randn(1, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    fixed = steps(mdct(waveforms.detach()), 8)  # the step is taken as it is: its own change is not followed

    import speechadv.defenses.mdct as module
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "steps", lambda coefficients, kbps: fixed)
        assert torch.autograd.gradcheck(lambda x: coded(x, 8), waveforms)


def test_each_stand_in_by_its_name(tiny, heard):
    clips = heard.waveforms[:2]

    def slope(gradient):
        x = clips.clone().requires_grad_()
        return torch.autograd.grad(Defended(tiny, *parse_defense("mp3:16"), gradient=gradient)(x)[:, 0].sum(), x)[0]

    found = {name: slope(name) for name in ("surrogate", "identity", "none", *MP3.surrogates)}
    assert torch.equal(found["surrogate"], found[MP3.surrogates[0]]) and set(MP3.surrogates) == {"mdct", "gain"}
    assert not found["none"].any()
    different = [found[name] for name in ("mdct", "gain", "identity")]
    assert not any(torch.equal(a, b) for a, b in zip(different, different[1:]))
    with pytest.raises(ConfigError, match="surrogate, identity, none, .*'mdtc'"):
        Defended(tiny, *parse_defense("mp3:16"), gradient="mdtc")
    with pytest.raises(ConfigError, match="surrogate, identity, none, got 'mdct'"):
        Defended(tiny, *parse_defense("bandpass:100-4000"), gradient="mdct")
