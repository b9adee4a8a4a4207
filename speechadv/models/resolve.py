"""One word -> a classifier: the words of `--model` and of `speechadv.load_model`."""
import importlib
import os
from pathlib import Path
from typing import Sequence

import torch
from torch import nn

from ..errors import ConfigError, shown
from ..registry import closest, names
from .foreign import Request, own, words
from .pretrained import list_models, load_checkpoint, load_pretrained
from .programs import FACTORY, from_factory, from_file

KINDS = ("NAME.safetensors (its card beside it), package.module:factory, tflite:FILE or onnx:FILE (a card beside it), torchscript:FILE or a file .pt, "
         "a torch.export file .pt2, hf:FOLDER_OR_NAME, command:COMMAND, http://HOST:PORT/PATH")

# `KIND:REST` -> module and function that make the model of a `foreign.Request`, complete: with labels and sample rate, in evaluation mode, and tried
# on two tones where trying costs nothing (`foreign.completed`, or `foreign.own` for a model that knows its labels itself). The module is imported
# when a word asks for it. A model without a gradient says so with an attribute `access` (access.py).
SCHEMES: dict[str, tuple[str, str]] = {
    "tflite": (".files", "from_tflite"),
    "onnx": (".files", "from_onnx"),
    "torchscript": (".files", "from_torchscript"),
    "torch-export": (".files", "from_torch_export"),
    "command": (".remote.service", "load_service"),
    "http": (".remote.service", "load_service"),
    "https": (".remote.service", "load_service"),
    "hf": (".hf", "load_hf"),
}


def resolve_model(word: str, labels: Sequence[str] | str | None = None, sample_rate: int | None = None, trust: bool = False,
                  device: str = "cpu") -> nn.Module:
    """A classifier from one word.

    Args:
        word: the name of a pretrained model; `path/to/NAME.safetensors` with its card `NAME.json` beside it; `package.module:factory`, where the
            factory takes no arguments and returns a `torch.nn.Module` (importing it runs its code; the working folder is searched, last); a
            TorchScript (.pt) or `torch.export` (.pt2) file; or `KIND:REST` with one of the kinds in SCHEMES.
        labels: words of the outputs in order, a sequence or separated by commas; for foreign models that have no `.labels`, or others.
        sample_rate: Hz; for foreign models that have no `.sample_rate`, or another one.
        trust: load a TorchScript or `torch.export` file, or weights whose card names a factory: each is a program, and may do what any program may.
        device: where to put the model. On a GPU this process's convolutions are computed in float32 from then on, not in TF32, which cuDNN takes by default: verdicts
            are those of the network as it was trained.

    Returns:
        The model in evaluation mode: waveforms (batch, time) float32 in [-1, 1) -> logits (batch, len(labels)), with `.labels` (tuple of str)
        and `.sample_rate` (Hz).

    Raises:
        ConfigError: the word names nothing known, or labels or sample rate are missing or do not fit.
        InputError: a model file is missing, of another kind, or not trusted; a factory fails.
        DataError: a checkpoint is damaged or not the one that its card describes.
    """
    word = str(word)
    kind, colon, rest = word.partition(":")
    request = Request(word, rest if colon and kind in SCHEMES else word, words(labels), sample_rate, trust)
    if word in list_models():
        model = own(load_pretrained(word), request)
    elif colon and kind in SCHEMES:
        module, function = SCHEMES[kind]
        model = getattr(importlib.import_module(module, __package__), function)(request)
    elif Path(word).suffix == ".safetensors":
        model = own(load_checkpoint(word, trust), request)
    elif FACTORY.fullmatch(word):
        model = from_factory(request)
    elif Path(word).suffix or os.sep in word or os.path.exists(word):
        model = from_file(request, KINDS)
    else:
        raise ConfigError(_unknown(word))
    if torch.device(device).type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    return model.to(device)


def _unknown(word: str) -> str:
    known, networks = list_models(), names("model")
    if word in networks:
        return f"model '{word}': the package holds no weights of this network (it holds: {', '.join(known) or 'none'}); train it with `speechadv train`"
    return f"unknown model '{shown(word)}'{closest(word, known)} (known: {', '.join(known) or 'none'}; or {KINDS})"
