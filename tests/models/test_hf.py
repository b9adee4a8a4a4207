"""Hugging Face's classifiers: tiny random ones that are saved here, since no weights are fetched in tests."""
import json
import socket

import numpy as np
import pytest
import torch

from speechadv import create_attack, load_model
from speechadv.budgets import parse_budget
from speechadv.errors import InputError, SpeechAdvError
from speechadv.goals import Misclassify
from speechadv.models.exporting import exported, reader
from speechadv.models.hf_features import KaldiBank, RawWave, WhisperBank

transformers = pytest.importorskip("transformers")
LABELS = {"id2label": {0: "yes", 1: "no", 2: "stop"}, "label2id": {"yes": 0, "no": 1, "stop": 2}}
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
CONVOLUTIONS = {"conv_dim": [8, 8, 8], "conv_stride": [5, 4, 8], "conv_kernel": [10, 8, 8], "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
                "classifier_proj_size": 8}
WHISPER = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16,
           "decoder_ffn_dim": 16, "max_source_positions": 50, "num_mel_bins": 80, "classifier_proj_size": 8}


def saved(kind, folder):
    """A tiny random model of a kind with its front end, as `save_pretrained` writes them."""
    t = transformers
    raw = lambda normalize: t.Wav2Vec2FeatureExtractor(do_normalize=normalize, return_attention_mask=False)
    kinds = {
        "wav2vec2": lambda: (t.Wav2Vec2ForSequenceClassification(t.Wav2Vec2Config(**SMALL, **CONVOLUTIONS, **LABELS)), raw(True)),
        "hubert": lambda: (t.HubertForSequenceClassification(t.HubertConfig(**SMALL, **CONVOLUTIONS, **LABELS)), raw(True)),
        "wavlm": lambda: (t.WavLMForSequenceClassification(t.WavLMConfig(**SMALL, **CONVOLUTIONS, **LABELS)), raw(False)),
        "ast": lambda: (t.ASTForAudioClassification(t.ASTConfig(**SMALL, max_length=100, num_mel_bins=32, patch_size=16, **LABELS)),
                        t.ASTFeatureExtractor(num_mel_bins=32, max_length=100)),
        "whisper": lambda: (t.WhisperForAudioClassification(t.WhisperConfig(**WHISPER, **LABELS)), t.WhisperFeatureExtractor(feature_size=80, chunk_length=1)),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, extractor = kinds[kind]()
    network.eval().save_pretrained(folder)
    extractor.save_pretrained(folder)
    return network.eval(), extractor


@pytest.fixture
def no_network(monkeypatch):
    """Any attempt to reach another machine fails the test."""
    def refuse(*arguments):
        pytest.fail("a local folder touched the network")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_network_without_its_last_layers_is_refused(tmp_path, no_network):
    """`transformers` would draw them at random, anew at each loading."""
    _, extractor = saved("wav2vec2", tmp_path / "whole")
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SMALL, **CONVOLUTIONS, **LABELS)).save_pretrained(tmp_path / "base")
    extractor.save_pretrained(tmp_path / "base")
    with pytest.raises(InputError, match="the file lacks 4 of them or has them in another shape, classifier.bias first"):
        load_model(f"hf:{tmp_path / 'base'}")


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm", "ast", "whisper"])
def test_a_folder_is_heard_as_transformers_hears_it(kind, tmp_path, heard, no_network):
    network, extractor = saved(kind, tmp_path / kind)
    model = load_model(f"hf:{tmp_path / kind}")
    assert model.labels == ("yes", "no", "stop") and model.sample_rate == 16000 and not model.training
    waveforms = heard.waveforms[:4]
    own = extractor([clip.numpy() for clip in waveforms], sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected, found = network(own[extractor.model_input_names[0]]).logits, model(waveforms)
    assert torch.allclose(model.frontend(waveforms), own[extractor.model_input_names[0]], atol=1e-4)
    assert torch.allclose(found, expected, atol=1e-4)
    content = exported(model, "onnx", kind)
    assert torch.allclose(reader(content, "onnx", 3, 16000)(waveforms), expected, atol=1e-4)
    moving = waveforms.clone().requires_grad_()
    model(moving).square().sum().backward()
    assert torch.isfinite(moving.grad).all() and moving.grad.abs().amax(1).gt(0).all()


@pytest.mark.parametrize(("frontend", "extractor"), [
    (RawWave, lambda: transformers.Wav2Vec2FeatureExtractor()), (KaldiBank, lambda: transformers.ASTFeatureExtractor()),
    (KaldiBank, lambda: transformers.ASTFeatureExtractor(do_normalize=False, max_length=50)), (WhisperBank, lambda: transformers.WhisperFeatureExtractor()),
    (WhisperBank, lambda: transformers.WhisperFeatureExtractor(feature_size=128))], ids=["raw", "kaldi", "kaldi short", "whisper", "whisper 128"])
def test_front_ends_agree_with_their_extractors(frontend, extractor, heard):
    extractor = extractor()
    waveforms = torch.cat([heard.waveforms[:3], torch.zeros(1, 16000), heard.waveforms[:1] * 1e-3])
    own = extractor([clip.numpy() for clip in waveforms], sampling_rate=16000, return_tensors="np")[extractor.model_input_names[0]]
    assert np.abs(frontend(extractor)(waveforms).numpy() - np.asarray(own)).max() < 1e-4


@pytest.mark.parametrize("frontend", [RawWave(transformers.Wav2Vec2FeatureExtractor()), KaldiBank(transformers.ASTFeatureExtractor()),
                                      WhisperBank(transformers.WhisperFeatureExtractor(chunk_length=1))], ids=lambda f: type(f).__name__)
def test_silence_has_a_finite_gradient(frontend):
    silence = torch.zeros(2, 16000, requires_grad=True)
    frontend(silence).sum().backward()
    assert torch.isfinite(silence.grad).all()


def test_it_can_be_attacked(tmp_path, heard):
    saved("wav2vec2", tmp_path)
    model = load_model(f"hf:{tmp_path}")
    with torch.no_grad():
        goal = Misclassify(model(heard.waveforms[:2]).argmax(1))
    result = create_attack("pgd", steps=3)(model, heard.waveforms[:2], goal, parse_budget("linf:0.1"), generators=torch.Generator().manual_seed(0))
    assert result.passes.sum() > 0 and result.distance.max() <= 0.1


def edited(folder, name, change):
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize(("fault", "message"), [
    (lambda f: (f / "config.json").unlink(), "expected config.json"),
    (lambda f: (f / "preprocessor_config.json").unlink(), "expected preprocessor_config.json"),
    (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickled weights"),
    (lambda f: (f / "model.safetensors").write_bytes(b"nothing"), "loading the network failed"),
    (lambda f: (f / "config.json").write_text("{"), "failed"),
    (lambda f: (f / "adapter_config.json").write_text("{}"), "holds an adapter"),
    (lambda f: edited(f, "preprocessor_config.json", lambda c: c.update(feature_extractor_type="ClapFeatureExtractor")), "expected a front end among"),
    (lambda f: edited(f, "config.json", lambda c: (c.pop("model_type"), c.update(auto_map={"AutoConfig": "evil.Config"}))), "failed"),
])
def test_a_folder_that_cannot_be_used(fault, message, tmp_path, no_network):
    saved("wav2vec2", tmp_path)
    (tmp_path / "evil.py").write_text("open('exploded', 'w')\n")
    fault(tmp_path)
    with pytest.raises(SpeechAdvError, match=message) as problem:
        load_model(f"hf:{tmp_path}")
    assert "\n" not in str(problem.value) and not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("word", ["./missing", "missing/deeper/folder", "/missing", "nested/missing", "", "a b"])
def test_a_folder_that_is_not_there_is_not_looked_for_elsewhere(word, tmp_path, monkeypatch, no_network):
    (tmp_path / "nested").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpeechAdvError, match="no such folder"):
        load_model(f"hf:{word}")


def test_a_name_says_that_it_downloads():
    from speechadv.models.announce import announcement

    assert "downloaded from huggingface.co" in announcement("hf:superb/wav2vec2-base-superb-ks")
    assert announcement("resnet") is None and announcement("hf:.") is None


def test_without_transformers_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(SpeechAdvError, match=r"pip install 'speechadv\[hf\]'"):
        load_model(f"hf:{tmp_path}")
