"""The evaluation recipes: their configs, and the comparison with expected.json (tests/test_recipes.py runs them)."""
import importlib.util
import json
from pathlib import Path

import pytest

import speechadv
from speechadv import config as configs
from speechadv.evaluation.settings import EvaluationConfig

RECIPES = Path(speechadv.__file__).parent.parent / "recipes"
NAMES = ("targeted_pgd", "codec_and_bandpass", "evaluation_table")


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
    assert shared().compare(tmp_path, expected) == []
    (tmp_path / "result.json").write_text(json.dumps({"cells": [cell | {"clean_accuracy": 0.85, "targeted_success": None}]}))
    assert [line.split(": ")[1] for line in shared().compare(tmp_path, expected)] == ["clean_accuracy", "targeted_success"]
