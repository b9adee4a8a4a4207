"""Models as files: what onnxruntime and `torch.export` say is what the model says."""
import hashlib
import json
import tomllib

import numpy as np
import pytest
import torch
from torch import nn

from speechadv import load_model
from speechadv.data.samples import load_bundled
from speechadv.errors import SpeechAdvError
from speechadv.models.exporting import exported, quantised, reader
from speechadv.models.frontend import FramedPower, power_by_convolution

pytest.importorskip("onnxruntime")


def test_resnet_at_gives_the_same_verdicts_in_onnxruntime():
    model = load_model("resnet-at")
    hear = reader(exported(model, "onnx", "resnet-at"), "onnx", len(model.labels), 16000)
    waveforms = torch.from_numpy(load_bundled()[0])
    with torch.no_grad():
        before, after = model(waveforms), hear(waveforms)
    assert (before - after).abs().max() < 1e-4 and torch.equal(before.argmax(1), after.argmax(1))


def test_any_number_of_clips(tiny, heard):
    hear = reader(exported(tiny, "onnx", "tiny"), "onnx", len(tiny.labels), 16000)
    for count in (1, 2, 7):
        with torch.no_grad():
            assert torch.allclose(hear(heard.waveforms[:count]), tiny(heard.waveforms[:count]), atol=1e-4)


@pytest.mark.parametrize("time", [5, 40, 128, 1999, 2048])
@pytest.mark.parametrize("margin", [0, 1, "half"])
@pytest.mark.parametrize("size, hop, bins", [(512, 256, 129), (400, 160, 201), (32, 8, 17), (32, 8, 5)])
def test_the_convolution_is_the_transform(size, hop, bins, margin, time):
    margin = size // 2 if margin == "half" else margin
    if time + 2 * margin < size:
        pytest.skip("not a single frame")
    sound = torch.randn(2, time, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    window = torch.hann_window(size, dtype=torch.float64)
    by_hand = FramedPower.apply(sound, window, hop, bins, margin)
    plain = power_by_convolution(torch.nn.functional.pad(sound, (margin, margin)), window, hop, bins)
    assert torch.allclose(by_hand, plain, atol=1e-9)
    (by_hand,), (plain,) = (torch.autograd.grad(power.square().sum(), sound) for power in (by_hand, plain))
    assert torch.allclose(by_hand, plain, atol=1e-9 * plain.abs().max().item())


def test_int8_hears_nearly_the_same_and_leaves_the_front_end_alone(tiny, heard):
    onnx = pytest.importorskip("onnx")
    content = quantised(exported(tiny, "onnx", "tiny"), tiny, heard.waveforms.numpy())
    hear = reader(content, "onnx", len(tiny.labels), 16000)
    with torch.no_grad():
        before, after = tiny(heard.waveforms), hear(heard.waveforms)
    assert (before.argmax(1) == after.argmax(1)).float().mean() >= 0.9 and not torch.equal(before, after)
    nodes = {node.name: node for node in onnx.load_from_string(content).graph.node}
    made = {name for node in nodes.values() if node.op_type == "DequantizeLinear" for name in node.output}
    front, behind = ([node for node in nodes.values() if node.op_type == "Conv" and ("/frontend/" in node.name) == inside] for inside in (True, False))
    assert front and behind and all(set(node.input[:2]) <= made for node in behind) and not any(set(node.input) & made for node in front)


class Strange(nn.Module):
    """Something that ONNX has no word for."""

    labels, sample_rate = ("a", "b"), 16000

    def forward(self, waveforms):
        return torch.linalg.svdvals(waveforms.view(-1, 16, 1000))[:, :2]


class Linear(nn.Module):
    """Without a layer that can be quantised."""

    labels, sample_rate = ("a", "b"), 16000

    def forward(self, waveforms):
        return waveforms[:, :2] + waveforms[:, 2:4]


def test_what_cannot_be_written_is_said():
    with pytest.raises(SpeechAdvError, match="strange: cannot be written as onnx"):
        exported(Strange().eval(), "onnx", "strange")
    with pytest.raises(SpeechAdvError, match="nothing to quantise"):
        quantised(exported(Linear().eval(), "onnx", "linear"), Linear(), np.zeros((2, 16000), np.float32))
    with pytest.raises(SpeechAdvError, match="expected one of onnx, torch-export"):
        exported(Linear().eval(), "tflite", "linear")


def test_a_model_that_runs_elsewhere_is_refused():
    model = Linear()
    model.access = "scores"
    with pytest.raises(SpeechAdvError, match="verdicts come from somewhere else"):
        exported(model, "onnx", "box")


def verdicts(file, model, heard):
    """What onnxruntime says by itself."""
    return reader(file.read_bytes(), "onnx", len(model.labels), 16000)(heard.waveforms).argmax(1).tolist()


@pytest.mark.parametrize("options, name", [((), "m.onnx"), (("--int8", "--calibration", 6), "m.onnx"), (("--format", "torch-export"), "deep/er/m.pt2")])
def test_the_command(options, name, run, tmp_path, tiny_weights, monkeypatch, data_root, heard):
    monkeypatch.setenv("SPEECHADV_DATA", str(data_root))
    out = tmp_path / name
    status, printed, err = run("export", tiny_weights, *options, "--out", out)
    assert status == 0, err
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    card, report = tomllib.loads((out.parent / f"{out.name}.toml").read_text()), json.loads((out.parent / f"{out.name}.parity.json").read_text())
    assert card["sha256"] == report["sha256"] == digest and card["labels"] == ["yes", "no", "stop", "go", "_silence_"] and card["front_end"] == {"kind": "raw"}
    assert [each["source"] for each in report["compared"]] == ["bundled clips", "validation split"]
    float_file = "--int8" not in options
    assert all((each["equal_verdicts"] == 1 and each["largest_logit_difference"] < 1e-4) == float_file or each["equal_verdicts"] > 0.8 for each in report["compared"])
    assert report["calibration"] == (None if float_file else {"source": "train split", "clips": 6})
    assert digest in printed and "validation split" in printed
    if out.suffix == ".onnx":
        read_back = load_model(f"onnx:{out}")
        assert read_back.labels == tuple(card["labels"]) and read_back(heard.waveforms).argmax(1).tolist() == verdicts(out, read_back, heard)
    else:
        assert load_model(f"torch-export:{out}", trust=True).labels == tuple(card["labels"])
        with pytest.raises(SpeechAdvError, match="--trust-model-file"):
            load_model(f"torch-export:{out}")
        out.with_suffix(".pt2").write_bytes(b"another program")
        with pytest.raises(SpeechAdvError, match="sha256: is that of another file"):
            load_model(f"torch-export:{out}", trust=True)
    status, printed, err = run("export", tiny_weights, *options, "--out", out)
    assert status == 2 and "exists; name another file" in err


def test_without_data_the_bundled_clips_are_named(run, tmp_path, tiny_weights, monkeypatch):
    monkeypatch.delenv("SPEECHADV_DATA", raising=False)
    status, printed, err = run("export", tiny_weights, "--int8", "--calibration", 4, "--out", tmp_path / "m.onnx", "--json")
    assert status == 0 and "int8 ranges are taken from the bundled clips" in err and "compared on the bundled clips alone" in err
    assert json.loads(printed)["calibration"] == {"source": "bundled clips", "clips": 4}


def test_without_onnxruntime_the_extra_is_named(run, tmp_path, tiny_weights, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    status, printed, err = run("export", tiny_weights, "--out", tmp_path / "m.onnx")
    assert status == 2 and "pip install 'speechadv[onnx]'" in err and not list(tmp_path.iterdir())
