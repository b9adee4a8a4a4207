"""Someone's network trained further: a deployed file and a factory, their cards, and what is refused."""
import importlib.util
import json
from pathlib import Path

import pytest
import torch

from speechadv import load_model
from speechadv.errors import ConfigError, DataError, InputError
from speechadv.training.run import train
from speechadv.training.settings import Adversary, TrainingConfig

SPEC = importlib.util.spec_from_file_location("deployed_files", Path(__file__).parents[1] / "models" / "deployed_files.py")
files = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(files)
FACTORY = """
import torch
class Net(torch.nn.Module):
    labels, sample_rate = ("no", "stop", "yes"), 16000
    def __init__(self):
        super().__init__()
        self.conv, self.dense = torch.nn.Conv1d(1, 4, 400, 400), torch.nn.Linear(4, 3)
    def forward(self, waveforms):
        return self.dense(self.conv(waveforms[:, None]).relu().mean(2))
def factory():
    torch.manual_seed(0)
    return Net()
"""


def go(data_root, out, model, **changes):
    plain = {"name": "mine", "task": ["yes", "no", "stop"], "model": model, "data": [str(data_root)], "epochs": 2, "batch_size": 16, "learning_rate": 0.01,
             "averaging": 0.5, "adversary": Adversary(steps=[[0, 1]]), "validation_clips": 4}
    return train(TrainingConfig(**plain | changes), out, progress=lambda items, label: items, say=lambda line: None)


def test_a_deployed_file_is_trained_further(data_root, tmp_path):
    word = files.put(tmp_path, files.spotter())
    before = load_model(word).trainable()
    weights = go(data_root, tmp_path / "run", word)
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["labels"] == files.LABELS and card["configuration"] == {"identity": before.identity} and "robust_accuracy" in card["results"]["validation"]
    after = load_model(str(weights))
    assert after.front_end.samples == before.front_end.samples and not torch.equal(next(after.parameters()), next(before.parameters()))
    (tmp_path / "kws.tflite.toml").write_text((tmp_path / "kws.tflite.toml").read_text().replace("f_min = 60.0", "f_min = 70.0"))
    with pytest.raises(DataError, match="another one than it was trained from"):
        load_model(str(weights))


def test_a_factory_is_trained_further_and_its_weights_load_with_trust_alone(data_root, tmp_path, monkeypatch):
    (tmp_path / "of_mine.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    weights = go(data_root, tmp_path / "run", "of_mine:factory")
    with pytest.raises(InputError, match="--trust-model-file"):
        load_model(str(weights))
    assert load_model(str(weights), trust=True).labels == ("no", "stop", "yes")  # its own order, whatever the task's is
    again = go(data_root, tmp_path / "again", "of_mine:factory", epochs=1, start_from=str(weights), learning_rate=1e-9, averaging=0.0)
    torch.testing.assert_close(load_model(str(again), trust=True).state_dict(), load_model(str(weights), trust=True).state_dict(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("model, changes, kind, message", [
    ("onnx", {}, InputError, "Softsign"),
    ("tflite", {"task": ["yes", "no", "go"]}, ConfigError, "'go' is in only one of the two"),
    ("tflite", {"model_options": {"width": 3}}, ConfigError, "takes none"),
    ("tflite:none.tflite", {}, InputError, "no such file"),
])
def test_what_cannot_be_trained_further(data_root, tmp_path, model, changes, kind, message):
    made = {"tflite": (files.spotter(),), "onnx": (files.raw_onnx("Softsign"), files.RAW_CARD, "softsign.onnx")}
    word = files.put(tmp_path, *made[model]) if model in made else model
    with pytest.raises(kind, match=message) as problem:
        go(data_root, tmp_path / "run", **{"model": word} | changes)
    assert len(str(problem.value).splitlines()) == 1 and not (tmp_path / "run").exists()
