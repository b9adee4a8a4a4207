"""Networks that are code: a factory in someone's module, and TorchScript or `torch.export` files, which run only when they are trusted."""
import contextlib
import importlib
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any, Iterator

import torch
from torch import Tensor, nn

from ..errors import InputError, shown
from ..registry import closest
from .foreign import Request, completed, guarded

FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
TORCHSCRIPT, EXPORTED = (".pt", ".pth", ".ts", ".torchscript"), (".pt2",)


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


def from_factory(request: Request) -> nn.Module:
    """Import the module of `package.module:factory`, call the factory."""
    module_name, _, attribute = request.word.partition(":")
    with _working_folder_last():
        factory: Any = guarded(lambda: importlib.import_module(module_name), f"{request.named}: importing {module_name} failed")
    for part in attribute.split("."):
        if not hasattr(factory, part):
            raise InputError(f"{request.named}: '{shown(getattr(factory, '__file__', module_name))}' has no '{part}'{closest(part, vars(factory))}")
        factory = getattr(factory, part)
    if isinstance(factory, nn.Module) or not callable(factory):
        model = factory
    else:
        model = guarded(factory, f"{request.named}: calling {attribute}() failed")
    if not isinstance(model, nn.Module):
        raise InputError(f"{request.named}: expected a torch.nn.Module, got {type(model).__name__}")
    return completed(Program(model) if isinstance(model, torch.jit.ScriptModule) else model, request)


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


def from_file(request: Request, kinds: str) -> nn.Module:
    """A TorchScript or `torch.export` file by its ending; `kinds` says in a message what else could have been named."""
    path = Path(request.rest)
    if path.is_dir():
        raise InputError(f"{request.named}: is a folder; name a file: {kinds}")
    if not path.exists():
        raise InputError(f"{request.named}: no such file")
    if path.suffix in EXPORTED:
        return completed(exported(request), request)
    if path.suffix in TORCHSCRIPT:
        return completed(scripted(request), request)
    raise InputError(f"{request.named}: expected {kinds}; build any other network in a factory")


def scripted(request: Request) -> Program:
    """The network of a TorchScript file. Raises InputError."""
    return _program(request, lambda path: torch.jit.load(path, map_location="cpu").eval(), "a TorchScript file")


def exported(request: Request) -> Program:
    """The network of a `torch.export` file. Raises InputError."""
    return _program(request, lambda path: torch.export.load(path).module(), "a file of torch.export.save")


def _program(request: Request, load, expected: str) -> Program:
    """Without trust the file is not even opened."""
    if not request.trust:
        raise InputError(f"{request.named}: such a file is a program and may do anything on this machine; "
                         "pass --trust-model-file (Python: trust=True) if you trust it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit is deprecated, people's files are still there
        return Program(guarded(lambda: load(request.rest), f"{request.named}: expected {expected}"))
