"""A classifier whose nearest decision boundary is known, to measure attacks against."""
import numpy as np
import pytest
import torch
from torch import nn

from speechadv.budgets import parse_budget
from speechadv.budgets.base import LSB
from speechadv.goals import Misclassify
from speechadv.randomness import clip_generators


class Linear(nn.Module):
    """Logits (batch, classes) = waveforms @ weight.T + bias; with two classes, or a target, the smallest change of mind is known in every norm."""

    sample_rate = 16000

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.labels = tuple(f"class {i}" for i in range(len(bias)))

    def forward(self, waveforms):
        return waveforms @ self.weight.T + self.bias

    def gaps(self, waveforms, towards):
        """(how far the logit of each clip's class is above that of `towards`, the weight of that difference), (batch,), (batch, time)."""
        logits = self(waveforms).detach()
        heard = logits.argmax(1)
        gap = logits.gather(1, heard[:, None]).squeeze(1) - logits.gather(1, towards[:, None]).squeeze(1)
        return gap, (self.weight[heard] - self.weight[towards]).detach()

    def shortest(self, waveforms, order: float):
        """(batch,): the distance to the nearest other class in the L-`order` norm: the gap over the dual norm of its weight."""
        dual = {float("inf"): 1.0, 2.0: 2.0}[order]
        ways = []
        for k in range(len(self.labels)):
            gap, weight = self.gaps(waveforms, torch.full((len(waveforms),), k))
            ways.append(torch.where(gap > 0, gap / weight.norm(p=dual, dim=1), torch.inf))
        return torch.stack(ways).amin(0)


class Bent(nn.Module):
    """A small network of random weights on clips of 800 samples: windows, rectified features, classes. Its boundary is curved everywhere."""

    sample_rate, labels = 16000, ("a", "b", "c", "d")

    def __init__(self):
        super().__init__()
        self.features, self.classes = nn.Conv1d(1, 12, 40, stride=20), nn.Linear(12 * 39, 4)
        generator = torch.Generator().manual_seed(0)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator) * weight[0].numel() ** -0.5

    def forward(self, waveforms):
        return self.classes(torch.nn.functional.gelu(8 * self.features(waveforms[:, None])).flatten(1))


class Counting(nn.Module):
    """Counts the clips that the network hears, and in how many calls."""

    def __init__(self, model):
        super().__init__()
        self.model, self.labels, self.sample_rate, self.clips, self.calls = model, model.labels, model.sample_rate, 0, []

    def __deepcopy__(self, memo):
        return self  # the attack's fast copy must count in the same place

    def forward(self, waveforms):
        self.calls.append(1 if len(waveforms) == 2 and torch.equal(*waveforms) else len(waveforms))  # a single clip is heard twice, see padded_call
        self.clips += self.calls[-1]
        return self.model(waveforms)


@pytest.fixture
def linear():
    """`linear(classes=2, time=2000, clips=6)`: the classifier, clips on the 16-bit grid, the classes that it hears in them."""

    def make(classes=2, time=2000, clips=6, seed=0):
        rng = np.random.default_rng(seed)
        weight = torch.from_numpy(rng.normal(0, 1, (classes, time))).float()
        waveforms = torch.from_numpy(np.round(rng.uniform(-0.3, 0.3, (clips, time)) / LSB) * LSB).float()
        model = Linear(weight, torch.zeros(classes))
        return model, waveforms, model(waveforms).argmax(1).detach()

    return make


@pytest.fixture
def bent():
    """The curved classifier, 12 clips on the 16-bit grid, the classes that it hears in them."""
    rng = np.random.default_rng(1)
    waveforms = torch.from_numpy(np.round(rng.normal(0, 0.1, (12, 800)).clip(-0.9, 0.9) / LSB) * LSB).float()
    model = Bent()
    model.classes.bias.data -= model(waveforms).detach().mean(0)
    return model, waveforms, model(waveforms).argmax(1).detach()


@pytest.fixture
def counting():
    return Counting


@pytest.fixture
def attacked():
    """`attacked(attack, model, waveforms, labels, "linf:0.002")`: the result; one generator a clip."""

    def call(attack, model, waveforms, labels, budget, goal=Misclassify, seed=0, **keywords):
        generators = clip_generators(seed, "cell", [str(i) for i in range(len(waveforms))])
        return attack(model, waveforms, goal(labels), parse_budget(budget), generators=generators, **keywords)

    return call
