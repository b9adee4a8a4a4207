"""ONNX -> graph."""
from typing import Any

import numpy as np

from ...errors import InputError, shown
from ..foreign import optional
from .graph import MOST_NODES, Graph, Port, Unsupported, check_shape
from .onnx_calls import DTYPES, Call, Source
from .onnx_operators import LOWER

__all__ = ["LOWER", "read_onnx"]


def read_onnx(content: bytes, named: str) -> Graph:
    """The graph of an ONNX file.

    Args:
        content: the file.
        named: the file as it stands in messages.

    Raises:
        InputError: broken, not one input and one output, data in other files, larger than it can be, or the extra is not installed.
    """
    onnx = optional("onnx", "onnx", named)
    try:
        model = onnx.load_model_from_string(content)
        return _graph(Source(onnx, model, named, 8 * len(content)))
    except InputError:
        raise
    except Exception as problem:  # protobuf has errors of its own, and its readers trust the file
        raise InputError(f"{named}: expected an ONNX model, its content is broken ({type(problem).__name__})") from None


def _graph(source: Source) -> Graph:
    protocol = source.model.graph
    if len(protocol.node) > MOST_NODES or not protocol.node:
        raise InputError(f"{source.named}: expected an ONNX model of 1 to {MOST_NODES} operators, got {len(protocol.node)}")
    source.opset = max([entry.version for entry in source.model.opset_import if entry.domain in ("", "ai.onnx")] or [0])
    constants: dict[str, np.ndarray] = {}
    for tensor in protocol.initializer:
        source.enter(tensor.name, source.array(tensor, constants), constants)
    inputs = [value for value in protocol.input if value.name not in constants]
    if len(inputs) != 1 or len(protocol.output) != 1:
        raise InputError(f"{source.named}: expected one input and one output, got {len(inputs)} and {len(protocol.output)}")
    weights = ", ".join(sorted({str(array) for name, array in source.kinds.items() if constants[name].ndim > 1})) or "none"
    graph = Graph(_port(source, inputs[0]), _port(source, protocol.output[0]), constants, [], [node.op_type for node in protocol.node], weights)
    for node in protocol.node:
        _note_scale(graph, node)
    try:
        for node in protocol.node:
            Call(source, graph, node).lower()
    except Unsupported as problem:
        graph.nodes, graph.missing = [], str(problem)
    return graph


def _port(source: Source, value: Any) -> Port:
    kind = value.type.tensor_type
    shape = check_shape(tuple(size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim), source.named)
    dtype = DTYPES.get(kind.elem_type, "")
    if dtype not in ("float32", "int8", "uint8", "int16", "uint16") or not shape:
        raise InputError(f"{source.named}: expected '{shown(value.name)[:60]}' as float32 or an integer of 8 or 16 bits with a batch, got "
                         f"{dtype or 'another type'} {shape}")
    return Port(value.name, (-1, *shape[1:]), dtype)


def _note_scale(graph: Graph, node: Any) -> None:
    """The scale of an integer input or output stands at the operator next to it."""
    for which, operator, near in (("input", "DequantizeLinear", list(node.input)[:1]), ("output", "QuantizeLinear", list(node.output)[:1])):
        port = getattr(graph, which)
        if node.op_type == operator and port.integer and near == [port.name] and len(node.input) > 1 and node.input[1] in graph.constants:
            scale = graph.constants[node.input[1]]
            zero = graph.constants.get(node.input[2] if len(node.input) > 2 else "", np.zeros(1))
            if scale.size == 1 and zero.size == 1:
                setattr(graph, which, Port(port.name, port.shape, port.dtype, float(scale.ravel()[0]), int(zero.ravel()[0])))
