"""Networks of others that are trained further: a word of `--model` -> a network whose every weight takes a gradient, with its front end inside."""
import re

from torch import nn

from ..errors import DataError, InputError, shown
from .access import enough
from .deployed import Deployed
from .programs import Program
from .resolve import resolve_model

HOLDS_NO_CODE = re.compile(r"(tflite|onnx):")


def is_word(name: str) -> bool:
    """Whether a network is named by a word of `--model` (`tflite:FILE`, `package.module:factory`) instead of a name of the registry."""
    return ":" in name


def trainable(word: str) -> nn.Module:
    """A network to train further, in evaluation mode.

    Of a deployed file it is the float rebuilding: the front end of its card inside, the bounds of quantised tensors gone. Raises InputError where
    the word names no network of torch: a black box, a program, a file that has no rebuilding.
    """
    model = resolve_model(word)
    if isinstance(model, Deployed):
        return model.trainable().eval()
    if not enough("gradient", model) or isinstance(model, Program) or not any(True for _ in model.parameters()):
        raise InputError(f"model '{shown(word)}': has no weights that can be trained here")
    return model.requires_grad_(True)


def rebuilt(word: str, configuration: dict, trust: bool, named: str) -> nn.Module:
    """The network that a card of `speechadv train` was trained from.

    Args:
        word: the card's `architecture`.
        configuration: of the card; `identity` is that of file and card.
        trust: whether a factory may run.
        named: the card, in messages.

    Raises:
        InputError: the word names code, which is not trusted.
        DataError: the file or its card is another one than at training.
    """
    if not (trust or HOLDS_NO_CODE.match(word)):
        raise InputError(f"{named}: its network is made by '{shown(word)}', code that may do anything on this machine; "
                         "pass --trust-model-file (Python: trust=True) if you trust it")
    model = trainable(word)
    if configuration != identity(model):
        raise DataError(f"{named}: '{shown(word)}' or its card is another one than it was trained from")
    return model


def identity(model: nn.Module) -> dict[str, str]:
    """What a card keeps of the file that a network comes from; empty for networks that come from no file."""
    return {"identity": model.identity} if getattr(model, "identity", "") else {}
