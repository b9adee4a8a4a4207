"""What the documents show works as shown."""
import dataclasses
import re
import sys
from pathlib import Path

import pytest
import torch

import speechadv
from speechadv.models.frontends import FrontEnd
from speechadv.models.layers import count_parameters
from speechadv.registry import create, names

DOCS = Path(speechadv.__file__).parents[1] / "docs"


def test_your_own_model(tmp_path, monkeypatch):
    factory, export, *_ = re.findall(r"```python\n(.*?)```", (DOCS / "your-own-model.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "mine.py").write_text(factory)
    monkeypatch.chdir(tmp_path)
    try:
        model = speechadv.load_model("mine:factory")
    finally:
        sys.modules.pop("mine", None)
    assert model.labels == ("yes", "no", "stop")
    exec(export, {"torch": torch, "model": model})
    again = speechadv.load_model("mine.pt2", labels="yes,no,stop", sample_rate=16000, trust=True)
    waveforms = torch.rand(3, 16000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again(waveforms), model(waveforms))


def test_the_example_of_a_card_is_the_committed_one():
    (shown,) = re.findall(r"```toml\n(.*?)```", (DOCS / "your-own-model.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown == (DOCS / "cards" / "kws_ref_model.tflite.toml").read_text(encoding="utf-8")


def test_every_key_of_a_front_end_is_explained():
    page = (DOCS / "your-own-model.md").read_text(encoding="utf-8")
    assert all(f"`{field.name}`" in page for field in dataclasses.fields(FrontEnd))


@pytest.mark.parametrize("name", names("model"))
def test_the_table_of_networks(name):
    count = count_parameters(create("model", name, [str(i) for i in range(12)]))
    assert re.search(rf"^\| `{name}`[^|]*\| {count:,} \|", (DOCS / "models.md").read_text(encoding="utf-8"), re.MULTILINE)
