"""What docs/detection.md says: the example works as it stands, and the table's specifications and costs are right."""
import importlib.util
import re
from pathlib import Path

import pytest
import torch

from speechadv import registry
from speechadv.detectors import parse_detector

PAGE = (Path(__file__).parents[2] / "docs" / "detection.md").read_text("utf-8")


def test_the_documented_detector_works(tmp_path, monkeypatch, linear):
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "@register" in block]
    file = tmp_path / "hiss.py"
    file.write_text(code, "utf-8")
    for kind in registry.FOLDERS:
        registry.names(kind)  # all are loaded before the copy: a module registers itself only once
    monkeypatch.setattr(registry, "_entries", {kind: dict(entries) for kind, entries in registry._entries.items()})
    spec = importlib.util.spec_from_file_location("speechadv.detectors._documented", file)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    low, high = (0.1 * torch.sin(2 * torch.pi * frequency / 16000 * torch.arange(1600)) for frequency in (1000, 7000))
    scores = parse_detector("hiss:6000")(linear(), torch.stack([low, high]))
    assert scores[1] > scores[0] + 40 and parse_detector("hiss").name == "hiss:6000"


@pytest.mark.parametrize("spec, answers", [("disagreement", 3), ("disagreement:bandpass:300-3400+mp3:16", 2), ("margin", 1), ("margin:sure", 1), ("margin:softmax", 1),
                                           ("margin:noise=0.002,copies=3", 4), ("temporal", 7), ("temporal:shift=50,parts=0", 3), ("temporal:shift=0,parts=2", 3)])
def test_what_a_score_costs(spec, answers, linear, waveforms):
    model, heard = linear(), []
    model.register_forward_hook(lambda module, inputs, output: heard.append(len(output)))
    parse_detector(spec)(model, waveforms)
    assert sum(heard) == answers * len(waveforms) and all(name in PAGE for name in ("`temporal` alone is 50 and 4", "`disagreement` alone is `bandpass:300-3400,mp3:16`"))
