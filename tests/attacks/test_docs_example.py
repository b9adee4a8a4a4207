"""The example in docs/adding-an-attack.md works as it stands."""
import importlib.util
import re
from pathlib import Path

import pytest

from speechadv import registry
from speechadv.budgets import parse_budget
from speechadv.errors import ConfigError
from speechadv.goals import Misclassify
from speechadv.randomness import clip_generators

PAGE = Path(__file__).parents[2] / "docs" / "adding-an-attack.md"


def test_the_documented_attack_works(tmp_path, monkeypatch, tiny, heard):
    file = tmp_path / "sparse.py"
    file.write_text(re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1], "utf-8")
    registry.names("attack")
    for kind in registry.FOLDERS:
        registry.names(kind)  # all are loaded before the copy: a module registers itself only once
    monkeypatch.setattr(registry, "_entries", {kind: dict(entries) for kind, entries in registry._entries.items()})
    spec = importlib.util.spec_from_file_location("speechadv.attacks._documented", file)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    attack = registry.create("attack", "sparse", steps=8)
    generators = clip_generators(0, "cell", [str(i) for i in range(15)])
    for budget in map(parse_budget, ("linf:0.01", "snr:25")):
        result = attack(tiny, heard.waveforms, Misclassify(heard.classes), budget, generators=generators)
        assert result.reached.float().mean() > 0.5 and budget.satisfied(heard.waveforms, result.adversarial).all()
    with pytest.raises(ConfigError, match="share"):
        registry.create("attack", "sparse", share=0)
