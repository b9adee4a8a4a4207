"""Adversarial audio for keyword spotting: attacks inside audible budgets, defenses, and an evaluation that scores the saved files.

Importing this package loads no torch: each public function imports what it needs when it is called, and submodules
(`speechadv.data`, `speechadv.audio`, ...) are loaded when they are first named.
"""
import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "create_attack", "list_attacks", "list_defenses", "list_models", "load_model"]

_SUBMODULES = {"attacks", "audio", "budgets", "data", "defenses", "detectors", "errors", "evaluation", "goals", "masking", "models", "registry", "report", "training"}


def __getattr__(name: str) -> Any:
    """Submodules on first use (PEP 562)."""
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES})


def load_model(word: str, *, labels=None, sample_rate: int | None = None, trust: bool = False, device: str = "cpu"):
    """A classifier from one word; the same words as `--model` of the command line.

    Args:
        word: a pretrained name (see `list_models`), `path/to/NAME.safetensors` with its card `NAME.json` beside it, `package.module:factory`, a
            TorchScript (`.pt`) or `torch.export` (`.pt2`) file, or one of `tflite:FILE`, `onnx:FILE`, `torchscript:FILE`, `hf:FOLDER_OR_NAME`,
            `command:COMMAND` and `http://HOST:PORT/PATH` (docs/your-own-model.md).
        labels: words of the outputs, in order, for a model that does not carry them.
        sample_rate: Hz, for a model that does not carry it.
        trust: load a TorchScript or `torch.export` file, which is a program and may do anything.
        device: where to put it.

    Returns:
        A `torch.nn.Module` in evaluation mode: waveforms (batch, time) float32 in [-1, 1) -> logits (batch, len(labels)), with `.labels` and
        `.sample_rate`.

    Raises:
        SpeechAdvError: the word names nothing, the file is damaged or not trusted, or labels or sample rate are missing.
    """
    from .models.resolve import resolve_model

    return resolve_model(word, labels=labels, sample_rate=sample_rate, trust=trust, device=device)


def list_models() -> list[str]:
    """Names of the pretrained models inside the package."""
    from .models.pretrained import list_models

    return list_models()


def list_attacks() -> list[str]:
    """Names of the attacks."""
    from .registry import names

    return names("attack")


def list_defenses() -> list[str]:
    """Names of the defenses."""
    from .registry import names

    return names("defense")


def create_attack(name: str, **keywords: Any):
    """An attack by name; `keywords` are its configuration.

    Raises:
        ConfigError: unknown name or keyword; the message has the closest match.
    """
    from .registry import create

    return create("attack", name, **keywords)
