"""Low-pass, high-pass, notch and resampling: the response that is documented, no delay, and the gradient of a linear filter."""
import numpy as np
import pytest
import scipy.signal
import soxr
import torch

from speechadv.defenses import parse_defense
from speechadv.defenses.cutoff import HighPass, LowPass
from speechadv.defenses.notch import Notch
from speechadv.defenses.resample import spread
from speechadv.errors import ConfigError


def level_db(defense):
    """(Hz, dB) of a filter."""
    frequencies, response = scipy.signal.freqz(defense.kernel.double().numpy(), worN=1 << 15, fs=16000, include_nyquist=True)
    return frequencies, 20 * np.log10(np.abs(response) + 1e-12)


def at(frequencies, level, hertz):
    return level[np.abs(frequencies - hertz).argmin()]


@pytest.mark.parametrize("cutoff", [40, 1000, 3400, 7900])
def test_low_and_high_pass_are_each_others_rest(cutoff):
    for defense in (LowPass(cutoff), HighPass(cutoff)):
        frequencies, level = level_db(defense)
        half = defense.transition / 2
        below, above = level[frequencies <= cutoff - half], level[frequencies >= cutoff + half]
        passed, stopped = (below, above) if isinstance(defense, LowPass) and not defense.high else (above, below)
        assert np.abs(passed).max() < 0.01 and stopped.max() <= -60 and abs(at(frequencies, level, cutoff) + 6) < 0.1
    assert torch.allclose(LowPass(cutoff).kernel + HighPass(cutoff).kernel, torch.eye(len(HighPass(cutoff).kernel))[len(HighPass(cutoff).kernel) // 2], atol=1e-7)


@pytest.mark.parametrize("middle, width", [(1000, 200), (60, 40), (7000, 1000), (100, 20)])
def test_the_notch(middle, width):
    defense = Notch(middle, width)
    frequencies, level = level_db(defense)
    half = defense.transition / 2
    beside = level[(frequencies <= defense.low - half) | (frequencies >= defense.high + half)]
    inside = level[(frequencies >= defense.low + half) & (frequencies <= defense.high - half)]
    assert np.abs(beside).max() < 0.01 and at(frequencies, level, middle) < -55 and (len(inside) == 0 or inside.max() <= -60)
    assert all(abs(at(frequencies, level, edge) + 6) < 0.2 for edge in (defense.low, defense.high))


@pytest.mark.parametrize("word", ["lowpass:2000", "highpass:300", "notch:1000", "resample:8000", "resample:6000", "resample:12000"])
def test_an_impulse_stays_in_its_place_and_the_filter_is_its_own_adjoint(word):
    (defense,) = parse_defense(word)
    click = torch.zeros(1, 3000)
    click[0, 1234] = 0.9
    assert int(defense(click)[0].abs().argmax()) == 1234
    inside = getattr(defense, "filtered", None) or defense.resampled
    one, other = torch.randn(2, 1, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_().unbind(0)
    back, = torch.autograd.grad((inside(one) * other.detach()).sum(), one)
    if word.startswith("resample"):  # samples that lie between those of the lower rate see another mean of them
        assert torch.autograd.gradcheck(inside, (one[:, :12].detach().requires_grad_(),))
    else:
        assert torch.allclose(back, inside(other), atol=1e-12)
    weights = torch.randn(1, 400, generator=torch.Generator().manual_seed(1))
    clip = one.detach().float().requires_grad_()
    assert torch.equal(*(torch.autograd.grad((pass_(clip) * weights).sum(), clip)[0] for pass_ in (defense, inside)))


@pytest.mark.parametrize("rate", [4000, 8000, 12000])
def test_resampling_agrees_with_soxr_within_the_band(rate):
    clip = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    heard = parse_defense(f"resample:{rate}")[0].resampled(clip)[0].numpy()
    theirs = soxr.resample(soxr.resample(clip[0].numpy(), 16000, rate, "HQ"), rate, 16000, "HQ")[:16000]
    spectrum, error, ours = (np.abs(np.fft.rfft(x)) ** 2 for x in (clip[0].numpy(), heard - theirs, heard))
    inside, beyond = slice(200, int(0.42 * rate)), slice(rate // 2 + 100, None)  # a bin is 1 Hz
    assert error[inside].sum() < 1e-4 * spectrum[inside].sum() and ours[beyond].sum() < 1e-4 * spectrum[beyond].sum()


def test_spread():
    assert spread(torch.tensor([[1.0, -2.0]]), 3).tolist() == [[3, 0, 0, -6, 0, 0]]


def test_other_numbers_are_refused():
    for make, message in ((lambda: LowPass("4000"), "cutoff in Hz, got '4000'"), (lambda: HighPass(float("nan")), "20 to 7980"), (lambda: Notch(True), "frequency and a width"),
                          (lambda: Notch(1000, float("inf")), "between 0 and 8000")):
        with pytest.raises(ConfigError, match=message):
            make()
    assert LowPass(3000, sample_rate=8000).name == "lowpass:3000"
