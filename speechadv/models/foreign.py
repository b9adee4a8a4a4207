"""What every network that was not made here goes through: what was asked for, labels and sample rate, and a trial on two tones."""
import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Callable, Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError, InputError, shown


@dataclass(frozen=True)
class Request:
    """A word of `--model` and the options beside it.

    Attributes:
        word: as it was written, such as "tflite:kws.tflite".
        rest: what follows the colon of its kind, such as "kws.tflite"; the whole word where it has none.
        labels: words of the outputs in order, or None where the option is missing.
        sample_rate: Hz, or None.
        trust: whether files that are programs may run.
    """

    word: str
    rest: str
    labels: tuple[str, ...] | None = None
    sample_rate: int | None = None
    trust: bool = False

    @property
    def named(self) -> str:
        """The word as it may stand at the beginning of a message."""
        return f"--model '{shown(self.word)}'"


def words(labels: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Labels from a sequence, or from one text with commas."""
    if labels is None:
        return None
    return tuple(word.strip() for word in labels.split(",")) if isinstance(labels, str) else tuple(str(word) for word in labels)


def guarded(call: Callable[[], Any], what: str) -> Any:
    """Run someone else's code; whatever it raises becomes one line."""
    try:
        return call()
    except (Exception, SystemExit) as problem:
        raise InputError(f"{shown(what)}: {type(problem).__name__}: {shown(str(problem))[:300]}") from problem


def optional(module: str, extra: str, named: str) -> ModuleType:
    """A module of a package that only an extra installs. Raises InputError that names the extra."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"{named} needs the package {module.partition('.')[0]}: pip install 'speechadv[{extra}]'") from None


def own(model: nn.Module, request: Request) -> nn.Module:
    """A model that knows its labels and sample rate itself: options must not contradict. Raises ConfigError."""
    for option, wanted, has in (("--labels", request.labels, tuple(model.labels)), ("--sample-rate", request.sample_rate, model.sample_rate)):
        if wanted is not None and wanted != has:
            raise ConfigError(f"{option}: '{shown(request.word)}' has its own ({shown(has)}), leave the option out")
    return model


def completed(model: nn.Module, request: Request) -> nn.Module:
    """A model with labels and sample rate, from the options where given, in evaluation mode and tried. Raises ConfigError or InputError."""
    for name, option, wanted in (("labels", "--labels", request.labels), ("sample_rate", "--sample-rate", request.sample_rate)):
        value = wanted if wanted is not None else getattr(model, name, None)
        if value is None:
            raise ConfigError(f"{request.named} has no .{name}: pass {option}")
        guarded(lambda: setattr(model, name, words(value) if name == "labels" else value), f"{request.named}: setting .{name} failed")
    check_labels(model.labels, request.named)
    if not isinstance(model.sample_rate, int) or isinstance(model.sample_rate, bool) or model.sample_rate <= 0:
        raise ConfigError(f"{request.named}: expected a sample rate in Hz, a whole number, got {shown(model.sample_rate)}")
    return tried(model.eval(), request.named)


def check_labels(labels: Sequence[str], named: str) -> None:
    """Raise ConfigError unless the labels differ."""
    if len(set(labels)) != len(labels):
        raise ConfigError(f"{named}: expected different labels, got {shown(', '.join(labels))}")


def tried(model: nn.Module, named: str) -> nn.Module:
    """The model, or InputError unless one second of two quiet tones gives logits (2, labels)."""
    time = torch.arange(model.sample_rate) / model.sample_rate
    tones = 0.1 * torch.stack([torch.sin(2 * torch.pi * hertz * time) for hertz in (220, 330)])
    with torch.no_grad():
        logits = guarded(lambda: model(tones), f"{named}: expected to hear a batch of any size, tried {tuple(tones.shape)}")
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise InputError(f"{named}: expected a tensor of logits, got {type(logits).__name__}")
    if logits.shape != (2, len(model.labels)):
        raise InputError(f"{named}: expected logits of shape (2, {len(model.labels)}) for 2 clips and {len(model.labels)} labels, got {tuple(logits.shape)}")
    if not logits.isfinite().all():
        raise InputError(f"{named}: expected finite logits, got NaN or infinite ones")
    return model
