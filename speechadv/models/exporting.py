"""Models as files for other programs: ONNX, float or int8, and `torch.export`; waveform in, logits out, the front end inside.

ONNX is written by torch's exporter through TorchScript: it needs no further package, works in every torch that this package allows, and names each
node by the module that it comes from, which tells the front end from the network.
"""
import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from ..errors import ConfigError, InputError, shown
from .access import enough
from .foreign import guarded, optional
from .frontend import LogMel
from .frontends import Features
from .hf_features import KaldiBank, RawWave, WhisperBank
from .imported.graph import Port
from .runtimes import OnnxRuntime, Runtime

FORMATS = {"onnx": ".onnx", "torch-export": ".pt2"}
OPSET = 17
QUANTISED = ("Conv", "Gemm", "MatMul")
FRONT_ENDS = (LogMel, Features, RawWave, KaldiBank, WhisperBank)
INPUT, OUTPUT = "waveforms", "logits"


def exported(model: nn.Module, kind: str, named: str) -> bytes:
    """A file's content: waveforms (batch, time) float32 -> logits (batch, classes), the batch of any size, one second of sound.

    Args:
        model: a classifier on the processor, in evaluation mode.
        kind: one of FORMATS.
        named: the model, in messages.

    Raises:
        InputError: `onnx` is not installed, the format cannot hold something in the model, or the model is no network but a runtime or a service.
        ConfigError: an unknown format.
    """
    if kind not in FORMATS:
        raise ConfigError(f"--format '{shown(kind)}': expected one of {', '.join(FORMATS)}")
    if not enough("gradient", model) or any(isinstance(module, Runtime) for module in model.modules()):
        raise InputError(f"{named}: its verdicts come from somewhere else; there is no network in it to export")
    example = torch.zeros(2, model.sample_rate)
    if kind == "onnx":
        optional("onnx", "onnx", "--format onnx")
    with _quiet(), torch.no_grad():
        return guarded(lambda: (_onnx if kind == "onnx" else _program)(model, example), f"{named}: cannot be written as {kind}")


def _onnx(model: nn.Module, example: torch.Tensor) -> bytes:
    buffer, batch = io.BytesIO(), {0: "batch"}
    torch.onnx.export(model, (example,), buffer, dynamo=False, opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT],
                      dynamic_axes={INPUT: batch, OUTPUT: batch})
    return buffer.getvalue()


def _program(model: nn.Module, example: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)), buffer)
    return buffer.getvalue()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the exporters print about themselves; what fails is raised all the same."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def quantised(content: bytes, model: nn.Module, clips: np.ndarray) -> bytes:
    """An ONNX file with int8 weights (a scale a channel) and int8 activations, by static quantisation; the front end stays float.

    Args:
        content: of the float file.
        model: what it was made from; says which nodes are the front end.
        clips: float32 (n, time): the ranges of the activations are taken from them.

    Raises:
        InputError: onnxruntime is not installed, or nothing in the file can be quantised.
    """
    tools = optional("onnxruntime.quantization", "onnx", "--int8")
    onnx = optional("onnx", "onnx", "--int8")
    keep = _front_end_nodes([node.name for node in onnx.load_from_string(content).graph.node], model)
    with tempfile.TemporaryDirectory(prefix="speechadv-") as folder, _silenced():
        source, ready, target = (Path(folder) / name for name in ("float.onnx", "ready.onnx", "int8.onnx"))
        source.write_bytes(content)
        preprocess = optional("onnxruntime.quantization.shape_inference", "onnx", "--int8").quant_pre_process
        preprocess(str(source), str(ready), skip_symbolic_shape=True, skip_optimization=True)
        options = {"quant_format": tools.QuantFormat.QDQ, "per_channel": True, "activation_type": tools.QuantType.QInt8,
                   "weight_type": tools.QuantType.QInt8, "op_types_to_quantize": list(QUANTISED), "nodes_to_exclude": keep}
        guarded(lambda: tools.quantize_static(str(ready), str(target), _reader(tools, clips), **options), "--int8: quantisation failed")
        result = target.read_bytes()
    if not any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(result).graph.node):
        raise InputError(f"--int8: the model has no {', '.join(QUANTISED)} behind its front end: nothing to quantise")
    return result


def _front_end_nodes(names: Sequence[str], model: nn.Module) -> list[str]:
    """Those nodes whose name leads through a module that is a front end."""
    parts = {path.rpartition(".")[2] for path, module in model.named_modules() if isinstance(module, FRONT_ENDS)}
    return [name for name in names if parts & set(name.split("/")[:-1])]


def _reader(tools, clips: np.ndarray):
    """The clips one at a time, as onnxruntime asks for them."""

    class Reader(tools.CalibrationDataReader):
        def __init__(self):
            self.left = iter(clips)

        def get_next(self):
            clip = next(self.left, None)
            return None if clip is None else {INPUT: clip[None]}

    return Reader()


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Advice of the quantisation tools on the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def reader(content: bytes, kind: str, classes: int, sample_rate: int) -> nn.Module:
    """The file as the program that runs it: waveforms (batch, time) -> logits. Raises InputError where onnxruntime is missing or refuses it."""
    if kind == "torch-export":
        return torch.export.load(io.BytesIO(content)).module()
    return OnnxRuntime(content, Port(INPUT, (-1, sample_rate), "float32"), Port(OUTPUT, (-1, classes), "float32"), "the exported file")
