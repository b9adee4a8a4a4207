"""Networks with a planted fault, attacked and asked in earnest: each raises its flag, and the sound one raises none."""
import copy
import functools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from speechadv.budgets import parse_budget
from speechadv.defenses import Defended, Defense
from speechadv.evaluation.cells import attack_specs
from speechadv.evaluation.probes import probe
from speechadv.evaluation.sanity import flags
from speechadv.evaluation.settings import EvaluationConfig
from speechadv.goals import Misclassify
from speechadv.randomness import clip_generators, normal

TIME, CLASSES, CLIPS = 200, 4, 40
ATTACKS = [{"name": "pgd", "steps": 20}, "fgsm", "noise", {"name": "square", "queries": 60}]
BUDGETS = ["linf:0.002", "linf:0.01"]


class Network(nn.Module):
    """A small network; `head` is what its logits pass at last, `bend` what its features do."""

    sample_rate, labels = 16000, tuple("abcd")

    def __init__(self, bend=torch.relu):
        super().__init__()
        self.first, self.last, self.bend, self.head = nn.Linear(TIME, 48), nn.Linear(48, CLASSES), bend, nn.Identity()

    def forward(self, waveforms):
        return self.head(self.last(self.bend(self.first(10 * waveforms))))


class Rounding(Defense):
    """Coarse steps, and no surrogate."""

    name = "rounding"

    def forward(self, waveforms):
        return (waveforms * 64).round() / 64


class Hiss(Defense):
    name, stochastic = "hiss", True

    def forward(self, waveforms):
        return waveforms + 0.02 * normal(self.generators_for(waveforms), waveforms.shape[1:])


def tones(count, seed):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(count) % CLASSES
    hertz = torch.tensor([400.0, 900.0, 1800.0, 3200.0])[classes, None] * (1 + 0.05 * torch.rand(count, 1, generator=generator))
    phase = torch.rand(count, 1, generator=generator)
    waveforms = 0.05 * torch.sin(2 * torch.pi * (hertz * torch.arange(TIME) / 16000 + phase)) + 0.01 * torch.randn(count, TIME, generator=generator)
    return (waveforms * 32768).round() / 32768, classes


@functools.lru_cache(maxsize=None)
def trained(smoothing=0.0, steps=120, rate=0.003, bend=torch.relu):
    """A network that hears the tones."""
    waveforms, classes = tones(1000, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Network(bend)
        optimizer = torch.optim.Adam(network.parameters(), rate)
        for _ in range(steps):
            rows = torch.randperm(1000)[:100]
            loss = nn.functional.cross_entropy(network(waveforms[rows]), classes[rows], label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval().requires_grad_(False)


def with_head(head):
    """The same network, what its logits pass planted afterwards."""
    network = copy.deepcopy(trained())
    network.head = head
    return network


class Saturating(nn.Module):
    def forward(self, logits):
        return 5 * torch.tanh(100 * logits)


def steep(features):
    return torch.tanh(20 * features)


@pytest.fixture(scope="module")
def examples():
    waveforms, classes = tones(CLIPS, seed=2)
    return SimpleNamespace(waveforms=waveforms, classes=classes, names=[f"{i}.wav" for i in range(CLIPS)])


def raised(defended, examples, make_row):
    """The flags of a real run of four attacks under two budgets, and of the probes."""
    rows = [row for spec in attack_specs(ATTACKS) for budget in BUDGETS for row in attacked(defended, spec, budget, examples, make_row)]
    config = EvaluationConfig(attacks=ATTACKS, budgets=BUDGETS)
    answers = probe(defended, examples.waveforms[:16], Misclassify(examples.classes[:16]), examples.names[:16])
    answers |= {"model": "m", "defense": "none", "clips": 16}
    return {flag["flag"] for flag in flags(rows, config, [answers])}


def attacked(defended, spec, budget, examples, make_row):
    result = spec.make()(defended, examples.waveforms, Misclassify(examples.classes), parse_budget(budget),
                         generators=clip_generators(0, f"{spec}|{budget}", examples.names))
    heard = [[defended.labels[i] for i in defended(sound).argmax(1).tolist()] for sound in (examples.waveforms, result.adversarial)]
    linf = (result.adversarial - examples.waveforms).abs().amax(1).tolist()
    return [make_row(name, label=defended.labels[examples.classes[i]], before=heard[0][i], after=heard[1][i], attack=spec.label, budget=budget, linf=linf[i],
                     threat="adaptive" if spec.white_box else "black-box", passes=int(result.passes[i]), reached=bool(result.reached[i]))
            for i, name in enumerate(examples.names)]


FAULTS = {
    "saturating head": (lambda: Defended(with_head(Saturating())), {"zero_gradients"}),
    "saturated by label smoothing": (lambda: Defended(trained(smoothing=0.1, steps=400, rate=0.02, bend=steep)), {"zero_gradients", "unbounded_fails"}),
    "rounding without a surrogate": (lambda: Defended(trained(), Rounding()), {"zero_gradients", "unbounded_fails"}),
    "noisy defense": (lambda: Defended(trained(), Hiss()), {"random_passes"}),
    "softmax head": (lambda: Defended(with_head(nn.Softmax(1))), {"probabilities"}),
}


@pytest.mark.parametrize("make, expected", FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_raises_its_flag(make, expected, examples, row):
    assert expected <= raised(make().eval(), examples, row)


def test_a_sound_network_raises_none(examples, row):
    assert raised(Defended(trained()), examples, row) == set()
