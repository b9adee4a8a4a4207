"""The band-pass against scipy's design, its response, its delay and its gradient."""
import numpy as np
import pytest
import scipy.signal
import torch

from speechadv.defenses.bandpass import BandPass
from speechadv.defenses.filters import ATTENUATION, kaiser_beta
from speechadv.errors import ConfigError

BANDS = [(100, 4000), (300, 3400), (20, 7900), (5, 7990), (1000, 1030), (40, 200)]


@pytest.mark.parametrize("low, high", BANDS)
def test_kernel_agrees_with_scipy(low, high):
    kernel = BandPass(low, high).kernel.double().numpy()
    expected = scipy.signal.firwin(len(kernel), [low, high], window=("kaiser", kaiser_beta(ATTENUATION)), pass_zero=False, fs=16000)
    np.testing.assert_allclose(kernel, expected, atol=1e-7)


@pytest.mark.parametrize("low, high", BANDS)
def test_documented_response(low, high):
    bandpass = BandPass(low, high)
    taps, half = len(bandpass.kernel), bandpass.transition / 2
    assert taps % 2 == 1
    frequencies, response = scipy.signal.freqz(bandpass.kernel.double().numpy(), worN=1 << 16, fs=16000, include_nyquist=True)
    level = 20 * np.log10(np.abs(response) + 1e-12)
    passed = level[(frequencies >= low + half) & (frequencies <= high - half)]
    assert len(passed) == 0 or np.abs(passed).max() < 0.01
    stopped = level[(frequencies <= low - half) | (frequencies >= high + half)]
    assert stopped.max() <= -60
    for edge in (low, high):
        assert abs(level[np.abs(frequencies - edge).argmin()] + 6) < 0.1


def test_filter_agrees_with_scipy_and_keeps_time_and_length():
    generator = torch.Generator().manual_seed(0)
    for time in (1, 7, 580, 581, 3001):
        waveforms = torch.randn(2, time, generator=generator) * 0.1
        bandpass = BandPass(100, 4000)
        expected = np.stack([np.convolve(w, bandpass.kernel.numpy().astype(np.float64)) for w in waveforms.double().numpy()])
        half = len(bandpass.kernel) // 2
        np.testing.assert_allclose(bandpass.filtered(waveforms).numpy(), expected[:, half : half + time], atol=1e-6)
        assert bandpass(waveforms).shape == waveforms.shape


def test_an_impulse_is_not_delayed():
    waveform = torch.zeros(1, 16000)
    waveform[0, 5000] = 0.9
    heard = BandPass(100, 4000)(waveform)[0]
    assert int(heard.abs().argmax()) == 5000
    assert torch.equal(heard[4000:5000].flip(0), heard[5001:6001])


def test_tones_pass_or_stop():
    time = torch.arange(16000, dtype=torch.float64) / 16000
    inside, outside = (0.5 * torch.sin(2 * torch.pi * f * time)[None].float() for f in (1000.0, 6000.0))
    bandpass = BandPass(100, 4000)
    assert (bandpass(inside) - inside)[:, 1000:-1000].abs().max() < 1e-3
    assert bandpass(outside)[:, 1000:-1000].abs().max() < 1e-3


def test_gradcheck():
    bandpass = BandPass(500, 3000, sample_rate=16000)
    waveforms = torch.randn(1, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(bandpass.filtered, (waveforms,))


def test_the_gradient_passes_the_rounding():
    bandpass = BandPass(500, 3000)
    waveforms = torch.randn(2, 400, generator=torch.Generator().manual_seed(0)).mul(0.1).requires_grad_()
    weights = torch.randn(2, 400, generator=torch.Generator().manual_seed(1))
    through = torch.autograd.grad((bandpass(waveforms) * weights).sum(), waveforms)[0]
    filtered = torch.autograd.grad((bandpass.filtered(waveforms) * weights).sum(), waveforms)[0]
    assert torch.equal(through, filtered) and through.abs().max() > 0


def test_a_batch_equals_its_clips_to_the_bit():
    waveforms = torch.randn(12, 16000, generator=torch.Generator().manual_seed(0)) * 0.1
    bandpass = BandPass(100, 4000)
    assert torch.equal(bandpass(waveforms), torch.cat([bandpass(waveform[None]) for waveform in waveforms]))


def test_wrong_edges():
    for low, high in ((100, 100), (-1, 100), (100, 8000), (float("nan"), 100), (100, float("inf"))):
        with pytest.raises(ConfigError, match="0 < LO < HI < 8000"):
            BandPass(low, high)
    with pytest.raises(ConfigError, match="band edges in Hz"):
        BandPass("100", 4000)
    assert BandPass(100, 3000, sample_rate=8000).name == "bandpass:100-3000"
