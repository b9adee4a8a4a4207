"""A wider network that begins as a narrower one."""
import pytest
import torch

from speechadv.errors import ConfigError
from speechadv.models.resnet import ResNet
from speechadv.models.widening import widen

LABELS = ("yes", "no", "up")


def network(widths, seed=0):
    """In evaluation mode, with statistics as after some training."""
    torch.manual_seed(seed)
    model = ResNet(LABELS, widths=widths)
    for _ in range(3):
        model.train()(0.1 * torch.randn(8, 16000))
    return model.eval()


def widened(narrow, widths, spread, seed=0):
    wide = ResNet(LABELS, widths=widths)
    widen(narrow, wide, torch.Generator().manual_seed(seed), spread)
    return wide.eval()


@pytest.mark.parametrize("widths", [(4, 6, 6, 8), (7, 11, 11, 13), (5, 6, 6, 16)])
def test_without_a_spread_both_hear_the_same(widths):
    narrow, sound = network((4, 6, 6, 8)), 0.1 * torch.randn(5, 16000)
    assert torch.allclose(widened(narrow, widths, 0.0)(sound), narrow(sound), atol=1e-5)


def test_the_spread_tells_copies_apart_and_the_seed_repeats_them():
    narrow, sound = network((4, 6, 8)), 0.1 * torch.randn(5, 16000)
    first, again, other = (widened(narrow, (8, 12, 16), 0.05, seed)(sound) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    kernels = widened(narrow, (8, 12, 16), 0.05).stem[0][0].weight.flatten(1)
    assert torch.cdist(kernels, kernels).fill_diagonal_(1).min() > 0


@pytest.mark.parametrize("widths, expected", [((3, 6, 6, 8), "at least 4"), ((4, 6, 7, 8), "6 channels"), ((4, 6, 8), "as many blocks")])
def test_what_cannot_be_widened_is_refused(widths, expected):
    with pytest.raises(ConfigError, match=expected):
        widened(network((4, 6, 6, 8)), widths, 0.0)
