"""The index in docs/attacks.md: every registered attack, what it asks for, what it costs, and where it is from."""
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from speechadv import create_attack
from speechadv.attacks.offered import needs
from speechadv.budgets import parse_budget
from speechadv.goals import Misclassify
from speechadv.registry import lookup, names

DOCS = Path(__file__).parents[2] / "docs"
ASKS = {"gradient": ("gradients", "gradients, logits"), "scores": ("logits",), "label": ("the label",)}
LAST_LOOK = 10  # queries about an attack's own best


def index():
    """The rows of the table, by the attack's name."""
    text = (DOCS / "attacks.md").read_text(encoding="utf-8")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if re.match(r"\| (\[`|`noise`)", line)]
    return {re.search(r"`(\w+)`", line[0])[1]: dict(zip(("page", "asks", "measure", "cost", "does", "source"), line)) for line in lines}


def test_all_attacks_are_there():
    assert {*index()} == {*names("attack")}


@pytest.mark.parametrize("name", names("attack"))
def test_a_row_tells_access_measure_source_and_page(name):
    row = index()[name]
    assert row["asks"] in ASKS[needs(lookup("attack", name))]
    assert row["measure"] and row["does"] and (re.search(r"\D (19|20)\d\d", row["source"]) or row["source"] == "a control")
    link = re.search(r"\((.+)\)", row["page"])
    assert (link is None) == (name == "noise") and (link is None or (DOCS / link[1]).is_file())


class Deaf(nn.Module):
    """Hears the same in everything, so that every attack spends all that it may; scores and gradients are there all the same."""

    labels, sample_rate = ("a", "b", "c", "d", "e"), 16000

    def forward(self, waveforms):
        return torch.tensor([5.0, 1.0, 0.9, 0.8, 0.7]) + 1e-6 * waveforms.mean(1, keepdim=True)


@pytest.mark.parametrize("name", sorted({*names("attack")} - {"universal"}))  # which has no cost a clip
def test_the_cost_is_what_a_clip_that_holds_out_costs(name):
    if name == "over_the_air":
        pytest.importorskip("pyroomacoustics")
    said = {unit: int(number.replace(",", "")) for number, unit in re.findall(r"([\d,]+) (pass|quer)", index()[name]["cost"])}
    clips = torch.round(torch.rand(2, 1600, generator=torch.Generator().manual_seed(0)) * 8000) / 32768
    result = create_attack(name)(Deaf(), clips, Misclassify(torch.zeros(2, dtype=torch.int64)), parse_budget("linf:0.002"), generators=torch.Generator().manual_seed(0))
    assert not result.reached.any() and result.passes.tolist() == [said.get("pass", 0)] * 2
    most = said.get("quer", 0)
    assert (result.queries <= most + (LAST_LOOK if "pass" in said else 0)).all()
    assert name == "hopskipjump" or (result.queries >= 0.95 * most).all()  # which gives up where no noise is heard
