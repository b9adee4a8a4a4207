"""`speechadv classify` and `speechadv models`, in the process and with small random weights."""
import json

import numpy as np
import pytest
import soundfile
import torch

from speechadv.cli import main
from speechadv.models.pretrained import save_model
from speechadv.registry import create


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create("model", "tc_resnet8", ("yes", "no", "stop"), widths=[4, 4, 8])
    card = {"name": "tiny", "architecture": "tc_resnet8", "configuration": {"widths": [4, 4, 8]}, "task": ["yes", "no", "stop"], "results": {"test": {"clips": 12345}}}
    return save_model(model, card, tmp_path_factory.mktemp("weights"))


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as leaving:
            main([str(a) for a in arguments])
        printed = capsys.readouterr()
        return leaving.value.code, printed.out, printed.err

    return call


def sound(path, seconds=1.0, rate=16000, channels=1):
    generator = np.random.default_rng(0)
    soundfile.write(path, 0.1 * generator.standard_normal((int(seconds * rate), channels)), rate, subtype="PCM_16")
    return path


def test_labels_with_probabilities(run, weights, tmp_path):
    status, out, err = run("classify", sound(tmp_path / "a.wav"), sound(tmp_path / "b.wav"), "--model", weights)
    assert status == 0 and err.startswith("next:\n")
    assert len(out.splitlines()) == 2 and out.count("%") == 6 and str(tmp_path / "a.wav") in out


def test_json_alone_on_standard_output(run, weights, tmp_path):
    status, out, err = run("classify", sound(tmp_path / "a.wav", rate=8000), "--model", weights, "--json", "--top", 2)
    (result,) = json.loads(out)
    assert status == 0 and "resampled from 8000 Hz" in err
    assert list(result) == ["file", "heard", "probabilities"] and len(result["probabilities"]) == 2
    assert result["heard"] == max(result["probabilities"], key=result["probabilities"].get)
    status, out, _ = run("classify", tmp_path / "a.wav", "--model", weights, "--json", "--top", 9, "--quiet")
    assert sum(json.loads(out)[0]["probabilities"].values()) == pytest.approx(1)


def test_the_same_as_python(run, weights, tmp_path):
    import speechadv

    _, out, _ = run("classify", sound(tmp_path / "a.wav"), "--model", weights, "--json")
    model, (samples, _) = speechadv.load_model(str(weights)), soundfile.read(tmp_path / "a.wav", dtype="float32")
    with torch.no_grad():
        expected = model(torch.from_numpy(samples)[None]).softmax(1)[0]
    for label, probability in json.loads(out)[0]["probabilities"].items():
        assert probability == pytest.approx(expected[model.labels.index(label)].item(), abs=1e-6)


@pytest.mark.parametrize(("options", "notice"), [({"channels": 2}, "mixed down"), ({"seconds": 3}, "longer than 1 s"), ({"rate": 44100}, "resampled")])
def test_notices_name_the_file(run, weights, tmp_path, options, notice):
    status, out, err = run("classify", sound(tmp_path / "a.wav", **options), "--model", weights)
    assert status == 0 and out and notice in err and "a.wav" in err
    assert run("classify", tmp_path / "a.wav", "--model", weights, "--quiet")[2] == ""


def test_one_bad_file_among_good_ones(run, weights, tmp_path):
    (tmp_path / "bad.wav").write_text("text")
    status, out, err = run("classify", sound(tmp_path / "a.wav"), tmp_path / "bad.wav", "--model", weights)
    assert (status, out) == (2, "") and "bad.wav" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [("--model", "resnett"), ("--device", "tpu"), ("--top", "0"), ("--tops", "1"), ("--labels", "a,b")])
def test_bad_options(run, weights, tmp_path, arguments):
    model = () if "--model" in arguments else ("--model", weights)
    status, out, err = run("classify", sound(tmp_path / "a.wav"), *model, *arguments)
    assert (status, out) == (2, "") and len(err.splitlines()) == 1


def test_a_program_file_through_the_command(run, tmp_path, monkeypatch):
    program = torch.export.export(torch.nn.Linear(16000, 2), (torch.zeros(2, 16000),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, str(tmp_path / "program.pt2"))
    command = ("classify", sound(tmp_path / "a.wav"), "--model", tmp_path / "program.pt2", "--labels", "yes,no", "--sample-rate", 16000)
    assert run(*command)[0] == 2
    status, out, _ = run(*command, "--trust-model-file")
    assert status == 0 and "yes" in out


def test_models_list_and_describe(run, weights):
    status, out, _ = run("models", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert status == 0 and {"resnet", "tc_resnet8", "ds_cnn", "bc_resnet1", "bc_resnet8", "m5"} <= set(rows)
    assert set(rows) == {line.split()[0] for line in run("models", "list")[1].splitlines()[1:]}
    status, out, _ = run("models", "describe", weights)
    assert status == 0 and "architecture: tc_resnet8" in out and "    clips: 12,345" in out
    assert json.loads(run("models", "describe", weights, "--json")[1])["name"] == "tiny"
    assert "kernel: 160" in run("models", "describe", "m5")[1]


def test_models_describe_checks_the_weights(run, weights, tmp_path):
    for name in ("tiny.json", "tiny.safetensors"):
        (tmp_path / name).write_bytes((weights.parent / name).read_bytes())
    with open(tmp_path / "tiny.safetensors", "ab") as file:
        file.write(b"\0")
    status, out, err = run("models", "describe", tmp_path / "tiny.safetensors")
    assert (status, out) == (2, "") and "SHA-256" in err
    assert "did you mean 'resnet'" in run("models", "describe", "resnt")[2]


def test_models_download_says_that_there_is_nothing_to_do(run):
    status, out, _ = run("models", "download")
    assert status == 0 and "inside the package" in out
