"""Deployed files as classifiers: cards, verdicts, gradients, batches, identity; and the reference spotter of MLPerf Tiny where it is there."""
import copy
import hashlib
import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from onnx import TensorProto, helper, numpy_helper

import speechadv
from speechadv.attacks.base import fast_copy
from speechadv.budgets import parse_budget
from speechadv.data.samples import load_bundled
from speechadv.errors import SpeechAdvError
from speechadv.evaluation.work import fingerprint
from speechadv.goals import Misclassify
from speechadv.models import foreign
from speechadv.models.access import access
from speechadv.models.describing import describe_file
from speechadv.models.exporting import exported
from speechadv.models.frontends import Features, FrontEnd

SPEC = importlib.util.spec_from_file_location("deployed_files", Path(__file__).with_name("deployed_files.py"))
files = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(files)
put, spotter, raw_onnx, CARD, RAW_CARD, FRONT_END, LABELS, SCALE, STEP = (getattr(files, name) for name in (
    "put", "spotter", "raw_onnx", "CARD", "RAW_CARD", "FRONT_END", "LABELS", "SCALE", "STEP"))
MODELS = os.environ.get("SPEECHADV_MODELS")
@pytest.fixture
def model(tmp_path):
    return speechadv.load_model(put(tmp_path, spotter()))


def sound(count=6, time=16000, seed=0):
    noise = torch.randn(count, time, generator=torch.Generator().manual_seed(seed)) * torch.logspace(-3, -1, count)[:, None]
    return (noise * 32768).round().clamp(-32768, 32767) / 32768


def test_the_verdict_is_the_runtimes(model, tmp_path):
    """Against LiteRT called by hand."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    runner = Interpreter(str(tmp_path / "kws.tflite"), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    runner.allocate_tensors()
    heard = sound()
    features = Features(FrontEnd(**FRONT_END), 16000)(heard).numpy()
    for row, logits in zip(features, model(heard)):
        runner.set_tensor(runner.get_input_details()[0]["index"], np.clip(np.rint(row / np.float32(SCALE)), -128, 127).astype(np.int8)[None, :, :, None])
        runner.invoke()
        stored = runner.get_tensor(runner.get_output_details()[0]["index"])[0].astype(np.float32)
        np.testing.assert_allclose(logits, np.log(np.maximum((stored + 128) * STEP, STEP / 2)), rtol=1e-6)


def test_the_gradient_is_the_rebuildings(model):
    heard = sound().requires_grad_()
    value = model(heard)
    assert torch.equal(value, model(heard.detach()))
    (gradient,) = torch.autograd.grad(value[:, 0].sum(), heard)
    (expected,) = torch.autograd.grad(model.surrogate(model.front_end(heard))[:, 0].sum(), heard)
    torch.testing.assert_close(gradient, expected)
    assert gradient.abs().sum() > 0 and access(model) == "gradient"


def test_attacks_and_defenses_take_it(model):
    """White box and black box, behind a band-pass; judged by the runtime."""
    from speechadv.defenses import Defended, parse_defense

    heard = sound()
    labels = model(heard).argmax(1)
    for name, options in (("pgd", {"steps": 10}), ("square", {"queries": 50}), ("hopskipjump", {"queries": 60})):
        result = speechadv.create_attack(name, **options)(model, heard, Misclassify(labels), parse_budget("linf:0.05"), generators=torch.Generator().manual_seed(0))
        assert torch.equal(result.reached, model(result.adversarial).argmax(1) != labels)
        assert (result.passes.sum() > 0) == (name == "pgd") and (name == "pgd" or result.queries.sum() > 0)
    defended = Defended(model, *parse_defense("bandpass:100-4000"))
    assert defended(heard.clone().requires_grad_()).requires_grad


def test_a_copy_shares_the_runtime(model):
    heard = sound()
    for other in (copy.deepcopy(model), fast_copy(model)):
        assert other.runtime is model.runtime and torch.equal(other(heard), model(heard))


def test_clips_of_any_length(model):
    heard = sound(2)
    longer, shorter = torch.cat([heard, heard], 1), heard.clone()
    shorter[:, 9000:] = 0
    assert torch.equal(model(longer), model(heard)) and torch.equal(model(heard[:, :9000]), model(shorter))


def test_a_batch_of_one_that_is_written_into_the_file(tmp_path):
    """Runtime and rebuilding then go clip by clip."""
    several, single = speechadv.load_model(put(tmp_path, spotter())), speechadv.load_model(put(tmp_path, spotter(True), name="one.tflite"))
    heard = sound().requires_grad_()
    assert (several.runtime.one_by_one, single.runtime.one_by_one, single.surrogate.one_by_one) == (False, True, True)
    assert torch.equal(several(heard), single(heard))
    single(heard).sum().backward()
    assert (heard.grad.abs().sum(1) > 0).all()


def test_identity_covers_file_and_card(tmp_path):
    words = [put(tmp_path, spotter(), card, f"{i}.tflite") for i, card in enumerate((CARD, CARD | {"about": "words"}, CARD | {"front_end": FRONT_END | {"mean": -4.1}}))]
    prints = [fingerprint(speechadv.load_model(word)) for word in words]
    assert prints[0] == prints[1] != prints[2]
    other = bytearray(spotter())
    other[bytes(other).rindex(b"tensor")] ^= 1  # a letter of a name: the same weights, another file
    assert fingerprint(speechadv.load_model(put(tmp_path, bytes(other), name="4.tflite"))) not in prints


def test_the_rebuilding_can_be_trained(model):
    network = model.trainable()
    heard = sound(12)
    labels = torch.arange(12) % 3
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    losses = []
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(network(heard), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0] and network.labels == tuple(LABELS) and network.sample_rate == 16000
    assert not torch.equal(network.network.weights["w0"], model.surrogate.weights["w0"])  # a copy was trained


def test_the_rebuilding_can_be_exported_and_read_back(model, tmp_path):
    """From .tflite over torch to .onnx, front end inside: the same logits, the same gradient."""
    network = model.trainable().eval()
    back = speechadv.load_model(put(tmp_path, exported(network, "onnx", "network"), RAW_CARD | {"sample_rate": 16000, "samples": 16000}, "net.onnx"))
    heard, again = sound().requires_grad_(), sound().requires_grad_()
    torch.testing.assert_close(back(heard), network(again), atol=1e-4, rtol=1e-4)
    back(heard)[:, 0].sum().backward(), network(again)[:, 0].sum().backward()
    assert (torch.nn.functional.cosine_similarity(heard.grad, again.grad) > 0.999).all()


def test_a_file_that_asks_for_all_memory_is_refused(tmp_path):
    """How much is known only when it runs: 12 GB, which the system would begin to give."""
    graph = helper.make_graph(
        [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Mul", ["s", "many"], ["m"]), helper.make_node("ConstantOfShape", ["m"], ["f"]),
         helper.make_node("ReduceMax", ["f"], ["r"], keepdims=1), helper.make_node("Add", ["x", "r"], ["y"])],
        "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 800))], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 800))],
        [numpy_helper.from_array(np.array([1000, 4000]), "many")])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    with pytest.raises(SpeechAdvError, match="the runtime cannot run it"):
        speechadv.load_model(put(tmp_path, content, RAW_CARD, "net.onnx"))


def test_onnx(tmp_path):
    model = speechadv.load_model(put(tmp_path, raw_onnx("Tanh"), RAW_CARD, "net.onnx"))
    heard = sound(4, 800).requires_grad_()
    torch.testing.assert_close(model(heard), model.trainable()(heard))
    model(heard).sum().backward()
    assert heard.grad.abs().sum() > 0


def test_an_unknown_operator_leaves_a_black_box_that_says_why(tmp_path):
    model = speechadv.load_model(put(tmp_path, raw_onnx("Softsign"), RAW_CARD, "net.onnx"))
    heard = sound(4, 800)
    goal, budget, generator = Misclassify(model(heard).argmax(1)), parse_budget("linf:0.05"), torch.Generator().manual_seed(0)
    assert access(model) == "scores" and not model(heard.clone().requires_grad_()).requires_grad
    with pytest.raises(SpeechAdvError, match="operator Softsign has no rebuilding.*take one of .*square"):
        speechadv.create_attack("pgd")(model, heard, goal, budget, generators=generator)
    assert speechadv.create_attack("square", queries=50)(model, heard, goal, budget, generators=generator).queries.sum() > 0
    with pytest.raises(SpeechAdvError, match="Softsign"):
        model.trainable()


def test_a_rebuilding_that_says_something_else_is_not_used(tmp_path, monkeypatch):
    from speechadv.models.imported.operators import OPERATORS

    monkeypatch.setitem(OPERATORS, "tanh", torch.sin)
    model = speechadv.load_model(put(tmp_path, raw_onnx("Tanh"), RAW_CARD, "net.onnx"))
    assert model.surrogate is None and "does not say what the runtime says" in model.why_no_gradient


def test_torchscript_with_a_card(tmp_path):
    class Net(torch.nn.Module):
        def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
            return waveforms[:, :3] * 2

    torch.jit.script(Net()).save(str(tmp_path / "net.ts"))
    (tmp_path / "net.ts.toml").write_text(tomli_w.dumps(RAW_CARD))
    with pytest.raises(SpeechAdvError, match="--trust-model-file"):
        speechadv.load_model(f"torchscript:{tmp_path / 'net.ts'}")
    model = speechadv.load_model(f"torchscript:{tmp_path / 'net.ts'}", trust=True)
    assert model.labels == tuple(LABELS) and model.sample_rate == 8000
    (tmp_path / "net.ts.toml").write_text(tomli_w.dumps(RAW_CARD | {"outputs": "probabilities"}))
    with pytest.raises(SpeechAdvError, match="belongs into the program"):
        speechadv.load_model(f"torchscript:{tmp_path / 'net.ts'}", trust=True)


def without(key):
    return {name: value for name, value in CARD.items() if name != key}


@pytest.mark.parametrize(("card", "message"), [
    (None, "expected its card .*kws.tflite.toml.* beside it .*models describe"), ("", "is empty"), ("labels = [", "expected TOML"), (without("labels"), "key 'labels' is missing"),
    (CARD | {"lables": 1}, "unknown key 'lables', did you mean 'labels'"), (CARD | {"front_end": FRONT_END | {"hop": 1}}, "front_end: unknown key 'hop'"),
    (CARD | {"labels": ["a", "b"]}, "expected 3 labels in its card, one for each output, got 2"), (CARD | {"labels": ["a", "a", "b"]}, "expected different labels"),
    (CARD | {"labels": ["a", "?", "b"]}, r"labels\[1\] is still '\?'"), (CARD | {"sample_rate": "?"}, r"sample_rate is still '\?'"),
    (CARD | {"front_end": FRONT_END | {"mel": "?"}}, r"front_end.mel is still '\?'"), (CARD | {"sample_rate": 0}, "sample_rate: expected 1000 to 192000 Hz"),
    (CARD | {"samples": 10**9}, "samples: expected 1 to 960000"), (CARD | {"outputs": "scores"}, "outputs: expected one of logits, probabilities"),
    (CARD | {"sha256": "00"}, "sha256: is that of another file"), (CARD | {"input_scale": 0.1}, "its card gives input_scale 0.1 and zero point 0, the file 0.05 and 0"),
    (CARD | {"front_end": FRONT_END | {"n_mels": 12}}, r"expected an input of shape \(-1, 40, 10, 1\), the front end of its card makes \(-1, 40, 12\)"),
    (CARD | {"front_end": FRONT_END | {"layout": "band-time"}}, "the other layout would fit"), (CARD | {"samples": 100}, r"cannot hear 100 samples|makes \(-1, 0, 10\)"),
    (CARD | {"front_end": FRONT_END | {"hop_length": 1, "n_fft": 65536}}, "samples in all frames together"), (CARD | {"front_end": {"kind": "raw"}}, r"makes \(-1, 16000\)"),
])
def test_a_card_that_is_wrong(tmp_path, card, message):
    with pytest.raises(SpeechAdvError, match=message) as problem:
        speechadv.load_model(put(tmp_path, spotter(), card))
    assert "\n" not in str(problem.value) and "kws.tflite" in str(problem.value)


def test_options_must_not_contradict_the_card(tmp_path):
    word = put(tmp_path, spotter())
    assert speechadv.load_model(word, labels="yes,no,stop").labels == tuple(LABELS)
    with pytest.raises(SpeechAdvError, match="--sample-rate: .* has its own"):
        speechadv.load_model(word, sample_rate=8000)


@pytest.mark.parametrize(("kind", "package", "extra"), [("tflite", "tflite", "tflite"), ("tflite", "ai_edge_litert.interpreter", "tflite"), ("onnx", "onnx", "onnx"),
                                                        ("onnx", "onnxruntime", "onnx")])
def test_a_package_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch, kind, package, extra):
    word = put(tmp_path, spotter()) if kind == "tflite" else put(tmp_path, raw_onnx("Tanh"), RAW_CARD, "net.onnx")
    real = foreign.importlib.import_module

    def missing(name, *more):
        if name == package:
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(foreign.importlib, "import_module", missing)
    with pytest.raises(SpeechAdvError, match=rf"needs the package .*pip install 'speechadv\[{extra}\]'"):
        speechadv.load_model(word)


def test_describe_writes_a_card_that_must_be_completed(tmp_path, run):
    put(tmp_path, spotter(), None)
    status, printed, err = run("models", "describe", tmp_path / "kws.tflite", "--json")
    about = json.loads(printed)
    assert (status, about["labels"], about["outputs"], about["card_is"]) == (0, 3, "probabilities", "written")
    assert about["sha256"] == hashlib.sha256(spotter()).hexdigest() and about["operators"]["CONV_2D"] == 1 and about["input"]["scale"] == pytest.approx(SCALE)
    with pytest.raises(SpeechAdvError, match=r"labels\[0\] is still"):
        speechadv.load_model(f"tflite:{tmp_path / 'kws.tflite'}")
    (tmp_path / "kws.tflite.toml").write_text(tomli_w.dumps(CARD))
    assert describe_file("tflite", tmp_path / "kws.tflite", None)["card_is"] == "there"
    assert run("models", "describe", tmp_path / "kws.tflite", "--out", tmp_path / "kws.tflite.toml")[0] == 2


def test_describe_knows_raw_sound(tmp_path):
    (tmp_path / "net.onnx").write_bytes(raw_onnx("Softmax", samples=16000))
    about = describe_file("onnx", tmp_path / "net.onnx", tmp_path / "card.toml")
    text = (tmp_path / "card.toml").read_text()
    assert 'kind = "raw"' in text and "samples = 16000" in text and about["outputs"] == "probabilities"
    (tmp_path / "net.onnx.toml").write_text(text.replace('"?", "?", "?"', '"a", "b", "c"').replace('"?"', "16000"))
    assert speechadv.load_model(f"onnx:{tmp_path / 'net.onnx'}").labels == ("a", "b", "c")


@pytest.mark.skipif(not MODELS, reason="SPEECHADV_MODELS names no folder with models of others")
class TestTheReferenceSpotterOfMLPerfTiny:
    """With the committed card, and nothing else."""

    @pytest.fixture
    def spotter(self, tmp_path, request):
        card = (Path(speechadv.__file__).parents[1] / "docs" / "cards" / "kws_ref_model.tflite.toml").read_text()
        name = getattr(request, "param", "kws_ref_model")
        return speechadv.load_model(put(tmp_path, (Path(MODELS) / "mlperf_tiny_kws" / f"{name}.tflite").read_bytes(), card))

    @pytest.mark.parametrize(("spotter", "agreement"), [("kws_ref_model", 0.9), ("kws_ref_model_float32", 0.97)], indirect=["spotter"])
    def test_the_rebuilding_says_mostly_the_same(self, spotter, agreement):
        heard = torch.from_numpy(load_bundled()[0])
        with torch.no_grad():
            assert (spotter(heard).argmax(1) == spotter.trainable()(heard).argmax(1)).float().mean() >= agreement

    def test_the_front_end_is_the_one_that_its_readme_describes(self, spotter):
        """Written down once more from that text, in numpy, by products with whole matrices."""
        bins, bands = np.arange(257) * 16000 / 512, np.arange(42)
        edges = 1127 * np.log1p(20 / 700) + bands / 41 * 1127 * (np.log1p(4000 / 700) - np.log1p(20 / 700))
        place = 1127 * np.log1p(bins / 700)
        triangles = np.stack([np.interp(place, edges[i : i + 3], [0, 1, 0], 0, 0) for i in range(40)], 1)
        cosines = np.sqrt(2 / 40) * np.cos(np.pi / 40 * np.outer(np.arange(40) + 0.5, np.arange(10)))
        fourier = np.exp(-2j * np.pi * np.outer(np.arange(480), np.arange(257)) / 512) * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(480) / 480))[:, None]
        clips = load_bundled(["yes", "stop", "up"])[0]
        for clip, features in zip(clips, spotter.front_end(torch.from_numpy(clips)).numpy()):
            frames = np.stack([clip[start : start + 480] / clip.max() for start in range(0, 320 * 49, 320)])
            np.testing.assert_allclose(features[:, :, 0], np.log(np.abs(frames @ fourier) @ triangles + 1e-6) @ cosines, atol=2e-3)

    @pytest.mark.skipif(not os.environ.get("SPEECHADV_DATA"), reason="SPEECHADV_DATA names no recordings")
    def test_accuracy_on_the_test_split(self, spotter):
        """As in results/mlperf_int8, and within the uncertainty of the 92.1 % that were published for other clips."""
        from speechadv.evaluation.clips import load_clips
        from speechadv.evaluation.settings import EvaluationConfig
        from speechadv.evaluation.sounds import waveforms

        clips = load_clips(EvaluationConfig(attacks=["pgd"], budgets=["linf:0.002"], task="v2-12", split="test"), 16000)
        with torch.no_grad():
            heard = torch.cat([spotter(part).argmax(1) for part in waveforms(clips.pcm).split(128)])
        accuracy = np.mean([spotter.labels[index] == label for index, label in zip(heard.tolist(), clips.labels)])
        table = (Path(speechadv.__file__).parents[1] / "results" / "mlperf_int8" / "table.csv").read_text().splitlines()
        reported = float(dict(zip(table[0].split(","), table[1].split(",")))["clean_accuracy"])
        assert abs(accuracy - reported) < 0.005 and abs(accuracy - 0.921) < 0.02
