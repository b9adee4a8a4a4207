"""The batch size that the program finds: within its memory, and the fastest as far as it looked."""
import pytest
import torch
from torch import nn

from speechadv.evaluation import batching


class Squares(nn.Module):
    """Keeps exactly one float a sample for the gradient."""

    def forward(self, waveforms):
        return waveforms.square().sum(1, keepdim=True)


@pytest.fixture
def clips():
    return torch.zeros(3, 1000)


def test_memory_of_a_clip_is_what_autograd_keeps(clips):
    assert batching.bytes_of_a_clip(Squares(), clips) == 4 * 1000
    layers = nn.Sequential(nn.Linear(1000, 1000), nn.ReLU())  # its input (as the product's), the activation; the weights are not counted
    assert 4 * 1000 <= batching.bytes_of_a_clip(layers.requires_grad_(False), clips) <= 3 * 4 * 1000


@pytest.mark.parametrize("memory, most", [(100 * 4000, 64), (20 * 4000, 16), (5 * 4000, 5), (0, 1)])
def test_stays_within_the_memory(clips, memory, most):
    assert 1 <= batching.best_batch_size(Squares(), clips, memory) <= most


def test_takes_the_fastest_and_stops_where_it_gets_slower(clips, monkeypatch):
    tried = []
    seconds = {16: 3.0, 32: 2.0, 64: 1.0, 128: 1.5, 256: 0.1}
    monkeypatch.setattr(batching, "_seconds_a_clip", lambda model, clips, size: tried.append(size) or seconds[size])
    assert batching.best_batch_size(Squares(), clips, 10**9) == 64 and tried == [16, 32, 64, 128]


def test_a_model_without_a_gradient_has_a_size_too(clips):
    class Deaf(nn.Module):
        def forward(self, waveforms):
            return torch.zeros(len(waveforms), 2)

    assert batching.best_batch_size(Deaf(), clips) in batching.SIZES
