"""The example in docs/adding-a-defense.md works as it stands."""
import importlib.util
import re
from pathlib import Path

import torch

from speechadv import registry
from speechadv.defenses import parse_defense

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-defense.md"


def test_the_documented_defense_works(tmp_path, monkeypatch):
    file = tmp_path / "quantise.py"
    file.write_text(re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1], "utf-8")
    for kind in registry.FOLDERS:
        registry.names(kind)  # all are loaded before the copy: a module registers itself only once
    monkeypatch.setattr(registry, "_entries", {kind: dict(entries) for kind, entries in registry._entries.items()})
    spec = importlib.util.spec_from_file_location("speechadv.defenses._documented", file)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    defense = parse_defense("quantise:256")[0]
    assert defense.name == "quantise:256"
    assert torch.equal(defense(torch.tensor([[100.0, 200.0, -300.0]]) / 32768) * 32768, torch.tensor([[0.0, 256.0, -256.0]]))
