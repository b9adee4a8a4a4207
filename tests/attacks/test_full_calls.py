"""Attacks that ask one question a clip at a time: clips that leave make no call smaller while others wait, and no clip is judged differently for it."""
import pytest
import torch

from speechadv.attacks import base
from speechadv.attacks.pgd import Noise
from speechadv.attacks.simba import SimBA
from speechadv.attacks.square import Square
from speechadv.budgets import parse_budget
from speechadv.goals import Misclassify
from speechadv.randomness import clip_generators
from speechadv.registry import lookup, names

FULL, QUERIES = 4, 60
BUDGETS = {"square": "snr:24", "simba": "snr:24", "noise": "snr:8"}  # at which some clips fall soon
MAKERS = {"square": lambda: Square(QUERIES), "simba": lambda: SimBA(QUERIES, block=128), "noise": lambda: Noise(QUERIES)}


@pytest.fixture
def in_blocks(bent, counting, monkeypatch):
    """`in_blocks(name, size)`: (adversarial clips, whether each fell, clips in each call of the search) of an attack on blocks of so many clips."""
    model, clean, labels = bent
    monkeypatch.setattr(base, "FULL_CALL", FULL)

    def attack(name, size):
        found, fell, calls = [], [], []
        for start in range(0, len(clean), size):
            rows, ear = slice(start, start + size), counting(model)
            generators = clip_generators(0, "cell", [str(i) for i in range(len(clean))])[rows]
            result = MAKERS[name]()(ear, clean[rows], Misclassify(labels[rows]), parse_budget(BUDGETS[name]), generators=generators)
            found.append(result.adversarial), fell.append(result.reached)
            judged = -(-len(clean[rows]) // FULL)
            calls += ear.calls[judged:-judged]  # without the judge's: before and after
        return torch.cat(found), torch.cat(fell), calls

    return attack


@pytest.mark.parametrize("name", MAKERS)
def test_calls_stay_full_while_clips_are_left(name, in_blocks):
    small, large = in_blocks(name, FULL), in_blocks(name, 3 * FULL)
    assert torch.equal(small[0], large[0]) and torch.equal(small[1], large[1]), "no verdict depends on it"
    assert 0 < large[1].sum() and sum(small[2]) == sum(large[2]), "some clips left early; the same questions were asked"
    assert max(large[2]) == FULL and sum(size < FULL for size in large[2]) <= QUERIES, "at most one call a query that is not full"
    assert sum(large[2]) / len(large[2]) > sum(small[2]) / len(small[2]), "fuller than in blocks of a call"


def test_who_asks_one_by_one():
    assert {name for name in names("attack") if lookup("attack", name).one_by_one} == {*MAKERS}
