"""One word -> a classifier: the words of `--model` and of `speechadv.load_model`."""
import contextlib
import importlib
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError, InputError, shown
from ..registry import closest, names
from .pretrained import list_models, load_checkpoint, load_pretrained

FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
TORCHSCRIPT, EXPORTED = (".pt", ".pth", ".ts", ".torchscript"), (".pt2",)
KINDS = "NAME.safetensors (its card beside it), package.module:factory, a TorchScript file .pt or a torch.export file .pt2"


def resolve_model(word: str, labels: Sequence[str] | str | None = None, sample_rate: int | None = None, trust: bool = False,
                  device: str = "cpu") -> nn.Module:
    """A classifier from one word.

    Args:
        word: the name of a pretrained model; `path/to/NAME.safetensors` with its card `NAME.json` beside it; `package.module:factory`, where the
            factory takes no arguments and returns a `torch.nn.Module` (importing it runs its code; the working folder is searched, last); or a
            TorchScript (.pt) or `torch.export` (.pt2) file.
        labels: words of the outputs in order, a sequence or separated by commas; for foreign models that have no `.labels`, or others.
        sample_rate: Hz; for foreign models that have no `.sample_rate`, or another one.
        trust: load a TorchScript or `torch.export` file: it is a program, and may do what any program may.
        device: where to put the model.

    Returns:
        The model in evaluation mode: waveforms (batch, time) float32 in [-1, 1) -> logits (batch, len(labels)), with `.labels` (tuple of str)
        and `.sample_rate` (Hz).

    Raises:
        ConfigError: the word names nothing known, or labels or sample rate are missing or do not fit.
        InputError: a model file is missing, of another kind, or not trusted; a factory fails.
        DataError: a checkpoint is damaged or not the one that its card describes.
    """
    word = str(word)
    if word in list_models():
        model = _own(load_pretrained(word), word, labels, sample_rate)
    elif Path(word).suffix == ".safetensors":
        model = _own(load_checkpoint(word), word, labels, sample_rate)
    elif FACTORY.fullmatch(word):
        model = _foreign(_from_factory(word), word, labels, sample_rate)
    elif Path(word).suffix or os.sep in word or os.path.exists(word):
        model = _foreign(_from_program(Path(word), trust), word, labels, sample_rate)
    else:
        raise ConfigError(_unknown(word))
    return model.to(device)


class Program(nn.Module):
    """A network that came as a program (TorchScript or `torch.export`): its mode was fixed when it was saved, so evaluation mode is all it has.

    Its parameters are frozen: ScriptModules refuse `requires_grad_`, and their copies are leaves only when nothing is recorded.
    """

    def __init__(self, program: nn.Module):
        super().__init__()
        self.program = program
        self.labels, self.sample_rate = getattr(program, "labels", None), getattr(program, "sample_rate", None)
        self.training = False
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> "Program":
        return self

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.program(waveforms)


def _unknown(word: str) -> str:
    known, networks = list_models(), names("model")
    if word in networks:
        return f"model '{word}': the package holds no weights of this network (it holds: {', '.join(known) or 'none'}); train it with `speechadv train`"
    return f"unknown model '{shown(word)}'{closest(word, known)} (known: {', '.join(known) or 'none'}; or {KINDS})"


def _own(model: nn.Module, word: str, labels, sample_rate) -> nn.Module:
    """Our own networks know their labels and sample rate: options must not contradict."""
    for option, wanted, has in (("--labels", _words(labels), model.labels), ("--sample-rate", sample_rate, model.sample_rate)):
        if wanted is not None and wanted != has:
            raise ConfigError(f"{option}: '{shown(word)}' has its own ({shown(has)}), leave the option out")
    return model


def _words(labels: Sequence[str] | str | None) -> tuple[str, ...] | None:
    if labels is None:
        return None
    return tuple(word.strip() for word in labels.split(",")) if isinstance(labels, str) else tuple(str(word) for word in labels)


def _from_factory(word: str) -> nn.Module:
    """Import the module, call the factory."""
    module_name, _, attribute = word.partition(":")
    with _working_folder_last():
        factory: Any = _guarded(lambda: importlib.import_module(module_name), f"--model '{word}': importing {module_name} failed")
    for part in attribute.split("."):
        if not hasattr(factory, part):
            raise InputError(f"--model '{word}': '{shown(getattr(factory, '__file__', module_name))}' has no '{part}'{closest(part, vars(factory))}")
        factory = getattr(factory, part)
    if isinstance(factory, nn.Module) or not callable(factory):
        model = factory
    else:
        model = _guarded(factory, f"--model '{word}': calling {attribute}() failed")
    if not isinstance(model, nn.Module):
        raise InputError(f"--model '{word}': expected a torch.nn.Module, got {type(model).__name__}")
    return Program(model) if isinstance(model, torch.jit.ScriptModule) else model


@contextlib.contextmanager
def _working_folder_last() -> Iterator[None]:
    """The working folder at the very end of the path for a while: a `numpy.py` beside a stranger's clips must never win."""
    entry = os.getcwd()
    sys.path.append(entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        # The last one is ours, whatever else the import did to the path.
        del sys.path[len(sys.path) - 1 - sys.path[::-1].index(entry)]


def _guarded(call: Callable[[], Any], what: str) -> Any:
    """Run someone else's code; whatever it raises becomes one line."""
    try:
        return call()
    except (Exception, SystemExit) as problem:
        raise InputError(f"{shown(what)}: {type(problem).__name__}: {shown(str(problem))[:300]}") from problem


def _from_program(path: Path, trust: bool) -> nn.Module:
    """Load a TorchScript or `torch.export` file, if trusted. Without trust the file is not even opened."""
    named = f"--model '{shown(path)}'"
    if path.is_dir():
        raise InputError(f"{named}: is a folder; name a file: {KINDS}")
    if not path.exists():
        raise InputError(f"{named}: no such file")
    if path.suffix not in TORCHSCRIPT + EXPORTED:
        raise InputError(f"{named}: expected {KINDS}; build any other network in a factory")
    if not trust:
        raise InputError(f"{named}: such a file is a program and may do anything on this machine; pass --trust-model-file (Python: trust=True) if you trust it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit is deprecated, people's files are still there
        if path.suffix in EXPORTED:
            return Program(_guarded(lambda: torch.export.load(str(path)).module(), f"{named}: expected a file of torch.export.save"))
        return Program(_guarded(lambda: torch.jit.load(str(path), map_location="cpu").eval(), f"{named}: expected a TorchScript file"))


def _foreign(model: nn.Module, word: str, labels, sample_rate) -> nn.Module:
    """Give a foreign model labels and sample rate, and try it on one second of sound."""
    for name, option, wanted in (("labels", "--labels", _words(labels)), ("sample_rate", "--sample-rate", sample_rate)):
        value = wanted if wanted is not None else getattr(model, name, None)
        if value is None:
            raise ConfigError(f"--model '{shown(word)}' has no .{name}: pass {option}")
        _guarded(lambda: setattr(model, name, _words(value) if name == "labels" else value), f"--model '{word}': setting .{name} failed")
    if len(set(model.labels)) != len(model.labels):
        raise ConfigError(f"--model '{shown(word)}': expected different labels, got {shown(', '.join(model.labels))}")
    if not isinstance(model.sample_rate, int) or isinstance(model.sample_rate, bool) or model.sample_rate <= 0:
        raise ConfigError(f"--model '{shown(word)}': expected a sample rate in Hz, a whole number, got {shown(model.sample_rate)}")
    return _tried(model.eval(), word)


def _tried(model: nn.Module, word: str) -> nn.Module:
    """Raise InputError unless one second of two quiet tones gives logits (2, labels)."""
    time = torch.arange(model.sample_rate) / model.sample_rate
    tones = 0.1 * torch.stack([torch.sin(2 * torch.pi * hertz * time) for hertz in (220, 330)])
    with torch.no_grad():
        logits = _guarded(lambda: model(tones), f"--model '{word}': expected to hear a batch of any size, tried {tuple(tones.shape)}")
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise InputError(f"--model '{shown(word)}': expected a tensor of logits, got {type(logits).__name__}")
    if logits.shape != (2, len(model.labels)):
        raise InputError(f"--model '{shown(word)}': expected logits of shape (2, {len(model.labels)}) for 2 clips and {len(model.labels)} labels, "
                         f"got {tuple(logits.shape)}")
    if not logits.isfinite().all():
        raise InputError(f"--model '{shown(word)}': expected finite logits, got NaN or infinite ones")
    return model
