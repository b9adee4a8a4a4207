"""The evaluation recipes: their configs, and the comparison with expected.json (tests/test_recipes.py runs them)."""
import importlib.util
import json
from pathlib import Path

import pytest

import speechadv
from speechadv import config as configs
from speechadv.evaluation.settings import EvaluationConfig

RECIPES = Path(speechadv.__file__).parent.parent / "recipes"
NAMES = ("targeted_pgd", "codec_and_bandpass", "evaluation_table", "break_everything")


def shared():
    """The module recipes/_evaluating.py."""
    specification = importlib.util.spec_from_file_location("_evaluating", RECIPES / "_evaluating.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [*NAMES, "judge_weights"])
def test_config_is_valid(name):
    from speechadv.evaluation.cells import cells

    if not (RECIPES / name).exists():
        pytest.skip("no such recipe here")
    config = configs.load(EvaluationConfig, RECIPES / name / "config.toml")
    assert cells(config) and config.split == "test"


def test_compare_sees_what_differs(tmp_path):
    keys = {"model": "m", "defense": "none", "attack": "pgd", "threat": "adaptive", "budget": "linf:0.002", "seed": 0}
    cell = keys | {"clean_accuracy": 0.9, "robust_accuracy": None, "targeted_success": 0.5}
    (tmp_path / "result.json").write_text(json.dumps({"cells": [cell]}))
    expected = {"tolerance": 0.03, "numbers": shared().numbers(tmp_path)}
    assert shared().compare(shared().numbers(tmp_path), expected) == []
    (tmp_path / "result.json").write_text(json.dumps({"cells": [cell | {"clean_accuracy": 0.85, "targeted_success": None}]}))
    assert [line.split(": ")[1] for line in shared().compare(shared().numbers(tmp_path), expected)] == ["clean_accuracy", "targeted_success"]


def test_attacks_are_ranked_by_strength(finished, monkeypatch):
    """The table of recipes/break_everything, on a run of the engine."""
    monkeypatch.syspath_prepend(str(RECIPES / "break_everything"))
    strength = importlib.import_module("strength")
    found = strength.lines(finished)
    assert {tuple(line) for line in found} == {strength.COLUMNS} and {line["clips"] for line in found} == {5}
    by_rank = strength.ranked(found)
    means = [strength.average(those, "success") for those in by_rank]
    assert means == sorted(means, reverse=True) and [those[0]["rank"] for those in by_rank] == [*range(1, len(by_rank) + 1)]
    assert {line["access"] for line in found if line["attack"] == "noise"} == {"labels"} and all(line["seconds"] > 0 for line in found)
    text = strength.as_markdown(found)
    assert text.count("\n| 1 |") == 2 and "bandpass:200-3000 (n = 5)" in text and len(strength.as_csv(found).splitlines()) == 1 + len(found)
    strength.figure(found)
