"""The ensemble beside torchattacks' members on the same small network, clips and budget: never weaker than the best of them.

torchattacks is needed, not skipped where it is missing: `make test` installs it, without its outdated dependencies. Its inputs lie in [0, 1] and are
images, so the network is wrapped; its examples are floats, ours lie on the 16-bit grid.
"""
import pytest
import torch
import torchattacks
from torch import nn

from speechadv.attacks.ensemble import Ensemble
from speechadv.budgets import parse_budget
from speechadv.goals import Misclassify
from speechadv.randomness import clip_generators

CLIPS, TIME, CLASSES, QUERIES = 400, 200, 5, 200
POINTS = 0.005  # robust accuracy that chance may cost


class Small(nn.Module):
    sample_rate, labels = 16000, tuple("abcde")

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(TIME, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, CLASSES))

    def forward(self, waveforms):
        return self.net(10 * waveforms)


class Image(nn.Module):
    """The network for images of one row in [0, 1]."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(2 * images[:, 0, 0] - 1)


def tones(count, seed):
    """Clips on the 16-bit grid: a tone of the class's frequency in noise, with any phase and loudness."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(count) % CLASSES
    hertz = torch.tensor([400.0, 700.0, 1200.0, 2000.0, 3200.0])[classes, None] * (1 + 0.1 * torch.rand(count, 1, generator=generator))
    phase, loud = (torch.rand(count, 1, generator=generator) for _ in range(2))
    waveforms = 0.05 * (0.3 + loud) * torch.sin(2 * torch.pi * (hertz * torch.arange(TIME) / 16000 + phase))
    waveforms += 0.01 * torch.randn(count, TIME, generator=generator)
    return (waveforms * 32768).round() / 32768, classes


@pytest.fixture(scope="module")
def trained():
    """A network that was trained for a second, and clips that it has not seen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Small()
        waveforms, classes = tones(2000, seed=1)
        optimizer = torch.optim.Adam(network.parameters(), 0.003)
        for _ in range(300):
            rows = torch.randperm(2000)[:100]
            loss = nn.functional.cross_entropy(network(waveforms[rows]), classes[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval().requires_grad_(False), *tones(CLIPS, seed=2)


def peers(image, eps):
    """torchattacks' PGD and the members of its AutoAttack, at the ensemble's own numbers of steps and queries."""
    return {
        "PGD": torchattacks.PGD(image, eps=eps, alpha=eps / 10, steps=100),
        "APGD": torchattacks.APGD(image, eps=eps, steps=100, n_restarts=1, seed=0),
        "APGDT": torchattacks.APGDT(image, eps=eps, steps=50, n_restarts=1, n_classes=CLASSES, seed=0),
        "FAB": torchattacks.FAB(image, eps=eps, steps=50, n_restarts=1, n_classes=CLASSES, seed=0),
        "Square": torchattacks.Square(image, eps=eps, n_queries=QUERIES, n_restarts=1, seed=0),
    }


def test_the_ensemble_is_at_least_as_strong_as_the_best_peer(trained, budget="linf:0.014"):
    network, waveforms, classes = trained
    bound = parse_budget(budget)
    result = Ensemble(queries=QUERIES)(network, waveforms, Misclassify(classes), bound, generators=clip_generators(0, budget, [str(i) for i in range(CLIPS)]))
    ours = float((~result.reached).float().mean())
    image, right = Image(network).eval(), network(waveforms).argmax(1) == classes
    still = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, peer in peers(image, bound.lsb / 65536).items():  # half as long, since [-1, 1] becomes [0, 1]
            adversarial = torch.where(right[:, None], 2 * peer((waveforms[:, None, None] + 1) / 2, classes)[:, 0, 0] - 1, waveforms)
            assert (adversarial - waveforms).abs().max() <= bound.lsb / 32768 * (1 + 1e-3), name
            still[name] = network(adversarial).argmax(1) == classes
    theirs = {name: float(kept.float().mean()) for name, kept in still.items()}
    together = float(torch.stack(list(still.values())).all(0).float().mean())  # clip by clip the worst of all peers: AutoAttack's verdict
    assert 0.1 < together < 0.9, "a budget at which some fall and some hold out"
    assert ours <= min(theirs.values()) and ours <= together + POINTS, (ours, theirs, together)
