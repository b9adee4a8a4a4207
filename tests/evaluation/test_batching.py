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


def test_attacks_that_ask_one_by_one_get_larger_blocks(settings, tmp_path, monkeypatch):
    from speechadv.evaluation.run import missing_items, prepare

    monkeypatch.setattr(batching, "USUAL", 8)
    grid = dict(attacks=[{"name": "pgd", "steps": 1}, {"name": "square", "queries": 2}, {"name": "nes", "queries": 3, "samples": 2}], threats=["adaptive", "black-box"],
                defenses=["none"], clips=15)
    blocks = {}
    for size in (0, 3):
        plan = prepare(settings(batch_size=size, **grid), tmp_path / "run")
        for item in missing_items(plan, plan.places.filled(False)):
            blocks.setdefault((item.craft.attack.name, size), []).append(len(item.names))
    assert blocks["square", 0] == [15] and blocks["pgd", 0] == blocks["nes", 0] == [8, 7]
    assert blocks["square", 3] == blocks["pgd", 3], "who names a batch size gets it"


def test_larger_blocks_stay_within_the_memory(monkeypatch):
    for free, most in ((10**12, batching.BLOCK), (batching.SHARE * 100 * 4 * batching.COPIES * 16000, 100), (0, batching.USUAL)):
        monkeypatch.setattr(batching, "free_memory", lambda device: free)
        assert batching.block_of_questions(16000, torch.device("cpu")) == most
