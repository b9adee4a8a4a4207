"""One word -> a classifier; what is not trusted is not opened."""
import pickle
import sys
import warnings

import pytest
import torch
from torch import nn

import speechadv
from speechadv.errors import SpeechAdvError
from speechadv.models.layers import folded
from speechadv.models.pretrained import save_model
from speechadv.models.resolve import resolve_model
from speechadv.registry import create

FACTORY = """
import torch
from neighbour_of_the_factory import CLASSES

class Mine(torch.nn.Module):
    def __init__(self, classes=CLASSES):
        super().__init__()
        self.layer = torch.nn.Linear(16000, classes)
    def forward(self, waveforms):
        return self.layer(waveforms)

def complete():
    model = Mine().train()
    model.labels, model.sample_rate = ["yes", "no"], 16000
    return model

def silent_about_itself():
    return Mine()

def no_model():
    return 3

def broken():
    raise RuntimeError("no\\nweights")

def leaving():
    raise SystemExit(0)

def needs_more(path):
    return Mine()

class Endless(Mine):
    def forward(self, waveforms):
        return super().forward(waveforms) / 0

instance = complete()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a module `my_networks_for_tests` and its neighbour."""
    (tmp_path / "my_networks_for_tests.py").write_text(FACTORY)
    (tmp_path / "neighbour_of_the_factory.py").write_text("CLASSES = 2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path
    for name in ("my_networks_for_tests", "neighbour_of_the_factory"):
        sys.modules.pop(name, None)


def word(name):
    return f"my_networks_for_tests:{name}"


def test_a_factory(folder):
    before = list(sys.path)
    model = speechadv.load_model(word("complete"))
    assert model.labels == ("yes", "no") and model.sample_rate == 16000 and not model.training
    assert sys.path == before


def test_an_instance_is_taken_as_it_is(folder):
    assert resolve_model(word("instance")).labels == ("yes", "no")


def test_labels_and_sample_rate_from_options(folder):
    model = resolve_model(word("silent_about_itself"), labels="up, down", sample_rate=16000)
    assert model.labels == ("up", "down")
    assert resolve_model(word("complete"), labels=["a", "b"]).labels == ("a", "b")


@pytest.mark.parametrize(("name", "options", "message"), [
    ("silent_about_itself", {"sample_rate": 16000}, "has no .labels: pass --labels"),
    ("silent_about_itself", {"labels": "a,b"}, "has no .sample_rate: pass --sample-rate"),
    ("complete", {"labels": "a,b,c"}, r"shape \(2, 3\).*got \(2, 2\)"),
    ("complete", {"labels": "a,a"}, "expected different labels"),
    ("complete", {"sample_rate": 8000}, r"expected to hear a batch.*\(2, 8000\)"),
    ("complete", {"sample_rate": 0}, "expected a sample rate"),
    ("no_model", {}, "expected a torch.nn.Module, got int"),
    ("broken", {}, r"calling broken\(\) failed: RuntimeError: no"),
    ("leaving", {}, r"calling leaving\(\) failed: SystemExit"),
    ("needs_more", {}, "TypeError"),
    ("Endless", {"labels": "a,b", "sample_rate": 16000}, "expected finite logits"),
    ("complet", {}, "has no 'complet', did you mean 'complete'"),
    ("complete.nothing", {}, "has no 'nothing'"),
])
def test_a_factory_that_does_not_fit(folder, name, options, message):
    with pytest.raises(SpeechAdvError, match=message) as problem:
        resolve_model(word(name), **options)
    assert "\n" not in str(problem.value)


def test_a_module_that_cannot_be_imported(folder):
    (folder / "module_with_a_fault.py").write_text("import there_is_no_such_module\n")
    before = list(sys.path)
    with pytest.raises(SpeechAdvError, match="importing module_with_a_fault failed: ModuleNotFoundError"):
        resolve_model("module_with_a_fault:factory")
    assert sys.path == before


def test_the_working_folder_comes_last(folder):
    """A file named like an installed package, not imported yet, must not run."""
    (folder / "wave.py").write_text("open('exploded', 'w')\n")
    (folder / "imports_wave.py").write_text("import wave\nfrom my_networks_for_tests import complete\n")
    had = sys.modules.pop("wave", None)
    try:
        resolve_model("imports_wave:complete")
    finally:
        sys.modules.pop("imports_wave", None)
        if had:
            sys.modules["wave"] = had
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize(("wrong", "message"), [
    ("nothing", "unknown model 'nothing'"), ("a/b.safetensors", "no such file"),
    ("a/b.pt", "no such file"), ("a\nb", r"a\\nb"), ("", "unknown model"), (".", "is a folder"),
])
def test_words_that_name_nothing(folder, wrong, message):
    with pytest.raises(SpeechAdvError, match=message) as problem:
        resolve_model(wrong)
    assert "\n" not in str(problem.value)


def test_a_network_without_weights(folder, monkeypatch):
    monkeypatch.setattr("speechadv.models.pretrained.WEIGHTS", folder)
    with pytest.raises(SpeechAdvError, match="model 'm5': the package holds no weights of this network"):
        resolve_model("m5")


@pytest.mark.parametrize("name", ["weights.onnx", "weights.pkl", "weights"])
def test_other_files_are_refused(folder, name):
    (folder / name).write_bytes(b"something")
    with pytest.raises(SpeechAdvError, match="expected NAME.safetensors"):
        resolve_model(f"./{name}", trust=True)


def test_our_own_checkpoint_knows_its_labels(folder):
    path = save_model(create("model", "tc_resnet8", ("yes", "no"), widths=[4, 4, 8]),
                      {"name": "mine", "architecture": "tc_resnet8", "configuration": {"widths": [4, 4, 8]}}, folder)
    assert resolve_model(str(path), labels="yes,no", sample_rate=16000).labels == ("yes", "no")
    with pytest.raises(SpeechAdvError, match="--labels: .* has its own"):
        resolve_model(str(path), labels="no,yes")


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


def network():
    return nn.Sequential(nn.Linear(16000, 2), nn.Tanh()).eval()


def torchscript(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network(), torch.zeros(2, 16000)).save(str(path))


def exported(path):
    program = torch.export.export(network(), (torch.zeros(2, 16000),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, str(path))


@pytest.mark.parametrize(("save", "name"), [(torchscript, "program.pt"), (exported, "program.pt2")])
def test_programs_need_trust_and_can_then_be_attacked(folder, save, name):
    save(folder / name)
    with pytest.raises(SpeechAdvError, match="--trust-model-file"):
        resolve_model(name, labels="a,b", sample_rate=16000)
    model = resolve_model(name, labels="a,b", sample_rate=16000, trust=True)
    waveforms = torch.full((3, 16000), 0.1, requires_grad=True)
    fast = folded(model)
    assert torch.equal(fast(waveforms), model(waveforms)) and not model.train().training
    fast(waveforms).sum().backward()
    assert waveforms.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["bomb.pt", "bomb.pth", "bomb.pt2", "bomb.pkl", "bomb.ckpt"])
def test_a_pickle_stays_inert(folder, name):
    (folder / name).write_bytes(pickle.dumps(Bomb(folder / "exploded")))
    with pytest.raises(SpeechAdvError):
        resolve_model(f"./{name}", labels="a,b", sample_rate=16000)
    assert not (folder / "exploded").exists()


def test_a_torchscript_file_that_would_write_stays_inert_without_trust(folder):
    class Writer(nn.Module):
        def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
            torch.save(waveforms, "exploded")
            return waveforms[:, :2]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Writer()).save(str(folder / "writer.pt"))
    with pytest.raises(SpeechAdvError, match="--trust-model-file"):
        resolve_model("writer.pt", labels="a,b", sample_rate=16000)
    assert not (folder / "exploded").exists()


def test_a_trusted_file_that_is_none(folder):
    for name in ("text.pt", "text.pt2"):
        (folder / name).write_text("not a program")
        with pytest.raises(SpeechAdvError, match="expected a"):
            resolve_model(name, labels="a,b", sample_rate=16000, trust=True)
