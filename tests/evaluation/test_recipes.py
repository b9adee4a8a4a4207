"""The evaluation recipes: their configs, and their rehearsals on bundled clips."""
import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import speechadv
from speechadv import config as configs
from speechadv.data.samples import bundled_folder
from speechadv.evaluation.settings import EvaluationConfig

RECIPES = Path(speechadv.__file__).parent.parent / "recipes"
NAMES = ("targeted_pgd", "codec_and_bandpass", "evaluation_table")


def shared():
    """The module recipes/_evaluating.py."""
    specification = importlib.util.spec_from_file_location("_evaluating", RECIPES / "_evaluating.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def recipe(monkeypatch):
    """`recipe(name)`: the click command of a recipe, from its run.py."""

    def make(name):
        monkeypatch.syspath_prepend(str(RECIPES))
        commands = []
        module = __import__("_evaluating")
        monkeypatch.setattr(module, "evaluation_recipe", lambda folder, quick: commands.append((folder, quick)) or (lambda: None))
        source = (RECIPES / name / "run.py").read_text(encoding="utf-8")
        exec(compile(source, str(RECIPES / name / "run.py"), "exec"), {"__name__": "__main__", "__file__": str(RECIPES / name / "run.py")})
        return shared().evaluation_recipe(*commands[0])

    return make


@pytest.mark.parametrize("name", [*NAMES, "judge_weights"])
def test_config_is_valid(name):
    from speechadv.evaluation.cells import cells

    if not (RECIPES / name).exists():
        pytest.skip("no such recipe here")
    config = configs.load(EvaluationConfig, RECIPES / name / "config.toml")
    assert cells(config) and config.split == "test"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(not (bundled_folder() / "manifest.json").exists(), reason="no bundled clips")
def test_rehearsal(name, recipe, tmp_path, tiny_weights, no_page, monkeypatch):
    """With the package's own weights where they are there, and its numbers near those of expected.json; else with a small network."""
    monkeypatch.delenv("SPEECHADV_DATA", raising=False)
    ready = "resnet" in speechadv.list_models()
    words = ["--out", str(tmp_path / "run"), "--quick"]
    known = RECIPES / name / "expected.json"
    if not ready:
        words += ["--set", f"models=['{tiny_weights}']", "--set", "task=['yes', 'no', 'stop', 'go', '_silence_']"]
    elif known.exists() and "quick" in json.loads(known.read_text()):
        words += ["--check"]
    result = CliRunner().invoke(recipe(name), words)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "table.csv").exists()


def test_compare_sees_what_differs(tmp_path):
    keys = {"model": "m", "defense": "none", "attack": "pgd", "threat": "adaptive", "budget": "linf:0.002", "seed": 0}
    cell = keys | {"clean_accuracy": 0.9, "robust_accuracy": None, "targeted_success": 0.5}
    (tmp_path / "result.json").write_text(json.dumps({"cells": [cell]}))
    expected = {"tolerance": 0.03, "numbers": shared().numbers(tmp_path)}
    assert shared().compare(tmp_path, expected) == []
    (tmp_path / "result.json").write_text(json.dumps({"cells": [cell | {"clean_accuracy": 0.85, "targeted_success": None}]}))
    assert [line.split(": ")[1] for line in shared().compare(tmp_path, expected)] == ["clean_accuracy", "targeted_success"]
