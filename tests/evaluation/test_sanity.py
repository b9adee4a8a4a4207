"""Each sanity flag, on a fault planted in rows or in a network; and none on what is sound."""
from pathlib import Path

import pytest
import torch
from torch import nn

import speechadv
from speechadv.budgets import parse_budget
from speechadv.defenses import Defended
from speechadv.evaluation import sanity
from speechadv.evaluation.probes import probe
from speechadv.evaluation.sanity import contains, flags
from speechadv.evaluation.settings import EvaluationConfig
from speechadv.goals import Misclassify

CONFIG = EvaluationConfig(attacks=["pgd", "fgsm", "noise"], budgets=["linf:0.002"])


def raised(rows=(), probes=(), config=CONFIG):
    return [flag["flag"] for flag in flags(list(rows), config, probes)]


def test_sound_rows_raise_nothing(cell):
    rows = [*cell(30), *cell(20, attack="fgsm"), *cell(0, attack="noise", threat="black-box"), *cell(35, budget="linf:0.005"), *cell(10, budget="linf:0.001")]
    assert raised(rows) == []


def test_not_monotone(cell):
    assert raised([*cell(30, budget="linf:0.001"), *cell(20)]) == ["not_monotone"]
    assert raised([*cell(30, budget="snr:40"), *cell(20, budget="snr:30")]) == ["not_monotone"]
    assert raised([*cell(22, budget="linf:0.001"), *cell(20)]) == [], "two clips may be chance"
    assert raised([*cell(30, budget="linf:0.001"), *cell(20, budget="snr:30")]) == [], "neither holds the other"
    assert raised([*cell(30, budget="linf:0.001", threat="oblivious", defense="mp3:32", adaptive=False), *cell(20, threat="oblivious", defense="mp3:32", adaptive=False)]) == []


@pytest.mark.parametrize("large, small, expected", [
    ("linf:0.002", "linf:0.001", True), ("linf:0.001", "linf:0.002", False), ("snr:20", "snr:30", True), ("masking", "masking:-6", True),
    ("masking:clip-peak", "masking:-6", False), ("linf:0.002", "masking+linf:0.001", True), ("masking+linf:0.002", "linf:0.001", False),
    ("masking+linf:0.002", "linf:0.001+masking:-3", True)])
def test_contains(large, small, expected):
    assert contains(parse_budget(large), parse_budget(small)) is expected


def test_one_step_as_good(cell):
    assert raised([*cell(20), *cell(20, attack="fgsm")]) == ["one_step_as_good"]
    assert raised([*cell(40), *cell(40, attack="fgsm")]) == [], "where all are broken there is nothing to compare"
    assert raised([*cell(2), *cell(2, attack="fgsm")]) == []


def test_noise_as_good(cell):
    noise = {"attack": "noise", "threat": "black-box"}
    assert raised([*cell(8), *cell(9, **noise)]) == ["noise_as_good"]
    assert raised([*cell(8), *cell(3, **noise)]) == []


def test_black_box_better(cell, monkeypatch):
    monkeypatch.setattr("speechadv.attacks.pgd.FGSM.white_box", False)  # stands in for a search without gradients
    black = {"attack": "fgsm", "threat": "black-box"}
    assert raised([*cell(10), *cell(25, **black)]) == ["black_box_better"]
    assert raised([*cell(10), *cell(12, **black)]) == [], "two clips may be chance"


def test_oblivious_better(cell):
    behind = {"defense": "mp3:16"}
    sent = behind | {"threat": "oblivious", "adaptive": False}
    assert raised([*cell(10, **behind), *cell(25, **sent)]) == ["oblivious_better"]
    assert raised([*cell(25, **behind), *cell(26, **sent)]) == []


def test_not_converged(cell):
    config = EvaluationConfig(attacks=[{"name": "pgd", "steps": 20}], budgets=["linf:0.002"])
    assert raised(cell(20, passes=20), config=config) == ["not_converged"]
    assert raised(cell(20, passes=11), config=config) == []
    assert raised(cell(20, passes=31), config=config) == [], "in the middle of a second start"
    wavering = {"model": "m", "defense": "none", "clips": 16, "largest_difference": 0.1, "zero_gradients": 0, "sums": [0.0, 3.0], "lowest_output": -1.0,
                "unbounded_tried": 16, "unbounded_reached": 16}
    assert raised(cell(20, passes=20 * 8), config=config, probes=[wavering]) == ["random_passes"], "behind a random defense attacks spend all their steps"
    assert raised(cell(0, reached=True), probes=[wavering]) == ["random_passes"], "another draw may be heard otherwise, saved or not"
    full = EvaluationConfig(attacks=[{"name": "pgd", "steps": 20, "full": True}], budgets=["linf:0.002"])
    assert raised(cell(20, passes=20), config=full) == [], "passes of a fully spent budget say nothing"


def test_eps_zero_differs(cell):
    assert "eps_zero_differs" in raised(cell(10, linf=0.0))
    assert raised(cell(0, linf=0.0)) == []


def test_lost_in_saving(row, cell):
    assert raised([*cell(10), row("lost", reached=True)]) == ["lost_in_saving"]
    sent = {"threat": "oblivious", "adaptive": False, "defense": "mp3:32"}
    assert raised([*cell(10, defense="mp3:32"), *cell(5, reached=True, **sent)]) == [], "what a codec removes was not lost in saving"


class Toy(nn.Module):
    """Two classes: which half of 64 samples is louder."""

    labels, sample_rate = ("a", "b"), 16000

    def forward(self, waveforms):
        return 40 * torch.stack([waveforms[:, :32].mean(1), waveforms[:, 32:].mean(1)], 1)


class Softmax(Toy):
    def forward(self, waveforms):
        return super().forward(waveforms).softmax(1)


class Noisy(Toy):
    def forward(self, waveforms):
        return super().forward(waveforms) + 0.01 * torch.randn(len(waveforms), 2)


class Deaf(Toy):
    """Rounds what it hears, so that no gradient comes back."""

    def forward(self, waveforms):
        return super().forward((waveforms * 4).round() / 4)


def toy_probe(model):
    heard = torch.zeros(6, 64)
    heard[:3, :32], heard[3:, 32:] = 0.25, 0.25
    goal = Misclassify(torch.tensor([0, 0, 0, 1, 1, 1]))
    return {"model": "m", "defense": "none", "clips": 6, **probe(Defended(model.eval()), heard, goal, list("abcdef"))}


@pytest.mark.parametrize("model, expected", [(Toy, set()), (Softmax, {"probabilities"}), (Noisy, {"random_passes"}), (Deaf, {"zero_gradients", "unbounded_fails"})])
def test_probes(model, expected):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert set(raised(probes=[toy_probe(model())])) == expected


def test_every_flag_has_its_section():
    page = Path(speechadv.__file__).parent.parent / sanity.PAGE
    for name in sanity.NAMES:
        assert f"\n## {name}\n" in page.read_text(encoding="utf-8"), name
