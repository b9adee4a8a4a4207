"""Bit depth and the median: exact values, dither that leaves no trace of the clip in the mean, and gradients."""
import numpy as np
import pytest
import scipy.signal
import torch

from speechadv.defenses.bits import Bits
from speechadv.defenses.median import Median
from speechadv.errors import ConfigError
from speechadv.randomness import clip_generators, drawing


def test_bits_round_to_steps_and_stay_in_range():
    clip = torch.tensor([[0.0, 100.0, 127.0, 129.0, -300.0, 32767.0, -32768.0]]) / 32768
    assert (Bits(8)(clip) * 32768).tolist() == [[0, 0, 0, 256, -256, 127 * 256, -32768]]
    assert (Bits(2)(clip) * 32768).tolist() == [[0, 0, 0, 0, 0, 16384, -32768]]
    assert torch.equal(Bits(15)(clip), Bits(15)(Bits(15)(clip)))
    assert torch.equal(Bits(4).surrogate(clip), clip)


def test_dither_makes_the_mean_the_clip_and_the_error_the_same_everywhere():
    clip = torch.linspace(-0.1, 0.1, 9)[:, None].expand(-1, 40000).contiguous()
    dithered = Bits(6, dither=True)
    with drawing(dithered, clip_generators(0, "dither", "abcdefghi")):
        heard = dithered(clip)
    step = 2**-5
    assert dithered.stochastic and not Bits(6).stochastic and dithered.name == "bits:6:dither"
    assert torch.allclose(heard.mean(1), clip[:, 0], atol=step / 50)
    assert torch.allclose((heard - clip).square().mean(1), torch.tensor(step**2 / 4), rtol=0.03)  # of rounding 1/12 and of the triangle 1/6 of a squared step
    assert set((heard / step).unique().tolist()) <= {*range(-6, 7)}


def test_median_agrees_with_scipy_and_removes_a_click():
    clip = (0.1 * torch.randn(2, 500, generator=torch.Generator().manual_seed(0)) * 32768).round() / 32768
    for size in (3, 7):
        expected = np.stack([scipy.signal.medfilt(row, size) for row in clip.numpy()])
        beside = size // 2
        assert np.array_equal(Median(size)(clip).numpy()[:, beside:-beside], expected[:, beside:-beside])
    ramp = torch.arange(9.0)[None] / 64
    clicked = ramp.clone()
    clicked[0, 4] = 0.9
    assert torch.equal(Median(3)(clicked)[0, [0, 2, 4, 6, 8]], torch.tensor([0.0, 2, 5, 6, 8]) / 64)
    assert torch.equal(Median(3)(ramp), ramp)


def test_the_gradient_goes_to_the_median():
    clip = (torch.tensor([[3.0, 1.0, 2.0, 7.0, 5.0]]) / 64).requires_grad_()
    weights = torch.tensor([[1.0, 10.0, 100.0, 1000.0, 10000.0]])
    slope, = torch.autograd.grad((Median(3)(clip) * weights).sum(), clip)
    assert slope.tolist() == [[1, 0, 110, 0, 11000]]


@pytest.mark.parametrize("make", [lambda: Bits("8"), lambda: Bits(float("nan")), lambda: Median("3"), lambda: Median(2)])
def test_other_values_are_refused(make):
    with pytest.raises(ConfigError, match="expected"):
        make()
