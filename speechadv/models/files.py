"""`--model tflite:FILE`, `onnx:FILE` and `torchscript:FILE`."""
from typing import Callable

from torch import nn

from ..errors import InputError, shown
from .card import card_path, read_card, read_file
from .deployed import Deployed, deployed
from .foreign import Request, completed, own, tried
from .imported.graph import Graph
from .programs import exported, scripted
from .runtimes import LiteRT, OnnxRuntime, Runtime


def from_tflite(request: Request) -> Deployed:
    """A TensorFlow Lite file with its card: LiteRT's verdicts, the rebuilding's gradient."""
    from .imported.tflite_file import read_tflite

    return _from_file(request, LiteRT, read_tflite)


def from_onnx(request: Request) -> Deployed:
    """An ONNX file with its card: onnxruntime's verdicts, the rebuilding's gradient."""
    from .imported.onnx_file import read_onnx

    return _from_file(request, OnnxRuntime, read_onnx)


def _from_file(request: Request, runtime: type[Runtime], read: Callable[[bytes, str], Graph]) -> Deployed:
    content = read_file(request.rest, request.named)
    graph = read(content, request.named)
    card = read_card(request.rest, content)
    return own(tried(deployed(runtime, content, graph, card, request.named), request.named), request)


def from_torchscript(request: Request) -> nn.Module:
    """A TorchScript file; labels and sample rate come from a card where one is beside it, else from the options."""
    return _program_with_card(request, scripted)


def from_torch_export(request: Request) -> nn.Module:
    """A `torch.export` file, as `speechadv export` writes it; labels and sample rate as for TorchScript."""
    return _program_with_card(request, exported)


def _program_with_card(request: Request, load: Callable[[Request], nn.Module]) -> nn.Module:
    """The card, and with it the SHA-256, is checked before the program runs."""
    content = read_file(request.rest, request.named)
    card = read_card(request.rest, content) if card_path(request.rest).exists() else None
    model = load(request)
    if card is None:
        return completed(model, request)
    if card.front_end.kind != "raw" or card.outputs != "logits":
        raise InputError(f"'{shown(card_path(request.rest))}': expected front_end.kind \"raw\" and outputs \"logits\": what else stands before or behind "
                         "belongs into the program")
    model.labels, model.sample_rate = tuple(card.labels), card.sample_rate
    return own(tried(model, request.named), request)
