"""ONNX -> graph."""
from dataclasses import dataclass, field
from typing import Any, Callable

import numpy as np
import torch

from ...errors import InputError, shown
from ..foreign import optional
from .graph import MOST_NODES, Graph, Node, Port, Unsupported, check_shape, elements
from .operators import OPERATORS

DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}
FOLDED = ("cast", "filled", "identity", "reshape", "transpose", "squeeze", "unsqueeze", "concatenate", "part", "gather", "shape")  # done at once on constants
LOWER: dict[str, Callable[["Call"], None]] = {}


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


@dataclass
class Source:
    """A file while it is read.

    Attributes:
        most: elements that all constants may have together.
        kinds: the stored type of each constant.
        opset: version of the operators.
    """

    onnx: Any
    model: Any
    named: str
    most: int
    kinds: dict[str, np.dtype] = field(default_factory=dict)
    opset: int = 0

    def array(self, tensor: Any, constants: dict[str, np.ndarray]) -> np.ndarray:
        """A constant, its claims checked before anything is allocated."""
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise InputError(f"{self.named}: expected all weights inside the file, '{shown(tensor.name)[:60]}' is in another one")
        check_shape(tuple(tensor.dims), self.named)
        if elements(tuple(tensor.dims)) + sum(constant.size for constant in constants.values()) > self.most:
            raise InputError(f"{self.named}: its constants claim more than the file holds")
        return self.onnx.numpy_helper.to_array(tensor)

    def enter(self, name: str, array: np.ndarray, constants: dict[str, np.ndarray]) -> None:
        """A constant as the graph has it: float32 or int64, and remember its stored type."""
        self.kinds[name] = array.dtype
        constants[name] = array.astype(np.float32 if np.issubdtype(array.dtype, np.floating) else np.int64)


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


@dataclass
class Call:
    """One operator of the file on its way into the graph."""

    source: Source
    graph: Graph
    node: Any

    def lower(self) -> None:
        """Append its node. Raises Unsupported."""
        name = self.node.op_type
        if name not in LOWER or self.node.domain not in ("", "ai.onnx"):
            raise Unsupported(f"{self.source.named}: its operator {shown(name)[:60]} has no rebuilding in torch")
        if any(list(self.node.output)[1:]):
            raise self.refuse("has several outputs")
        LOWER[name](self)

    def refuse(self, what: str) -> Unsupported:
        """The error for something that this operator may do in a file and cannot do here."""
        return Unsupported(f"{self.source.named}: its operator {self.node.op_type} {what}, which has no rebuilding in torch")

    def option(self, name: str, default: Any = None) -> Any:
        """An attribute; texts as str."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                value = self.source.onnx.helper.get_attribute_value(attribute)
                return value.decode("utf-8", "replace") if isinstance(value, bytes) else list(value) if attribute.type in (6, 7) else value
        return default

    def value(self, place: int) -> str | None:
        """The name of an input, None where it is missing."""
        names = self.node.input
        return names[place] if place < len(names) and names[place] else None

    def values(self) -> list[str | None]:
        """The names of all inputs."""
        return [self.value(place) for place in range(len(self.node.input))]

    def constant(self, place: int) -> np.ndarray | None:
        """An input that must be constant, None where it is missing."""
        name = self.value(place)
        if name is not None and name not in self.graph.constants:
            raise self.refuse("has no constant input where one is expected")
        return None if name is None else self.graph.constants[name]

    def numbers(self, option: str, place: int) -> list[int] | None:
        """Whole numbers that were an attribute in older versions and are a constant input in newer ones."""
        given = self.option(option)
        if given is None:
            constant = self.constant(place)
            given = None if constant is None else constant.ravel().tolist()
        return None if given is None else [int(number) for number in given]

    def emit(self, operator: str, inputs: list[str | None] | None = None, saturation: bool = False, **attributes: Any) -> None:
        """Append a node that makes the output, or do it now where everything is known."""
        inputs, output = self.values() if inputs is None else inputs, self.node.output[0]
        constants = self.graph.constants
        if operator in FOLDED and all(name in constants for name in inputs):
            made = OPERATORS[operator](*(torch.from_numpy(np.array(constants[name])) for name in inputs), **attributes).numpy()
            if made.size + sum(constant.size for constant in constants.values()) > self.source.most:
                raise InputError(f"{self.source.named}: its constants hold more than the file does")
            return self.source.enter(output, made, constants)
        return self.graph.nodes.append(Node(operator, inputs, output, attributes, saturation))


def lowers(*names: str) -> Callable:
    """Enter a function that lowers these operators."""
    def enter(function: Callable[[Call], None]) -> Callable[[Call], None]:
        LOWER.update(dict.fromkeys(names, function))
        return function
    return enter


SIMPLE = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "HardSwish": "hard_swish", "Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide",
          "Min": "minimum", "Max": "maximum", "Pow": "power", "Sqrt": "root", "Exp": "exponential", "Log": "logarithm", "Neg": "negative", "Abs": "absolute",
          "Reciprocal": "reciprocal", "Erf": "error_function", "Sin": "sine", "Cos": "cosine", "MatMul": "matrix_product", "Shape": "shape", "Less": "less",
          "Greater": "greater", "Equal": "equal", "Where": "where", "Expand": "expand", "Identity": "identity", "GlobalAveragePool": "global_average",
          "GlobalMaxPool": "global_max"}


@lowers(*SIMPLE)
def _simple(call: Call) -> None:
    if call.node.op_type in ("Min", "Max") and len(call.node.input) != 2:
        raise call.refuse("has more or fewer than two inputs")
    if call.node.op_type == "Shape" and (call.option("start") or call.option("end") is not None):
        raise call.refuse("gives a part of the sizes")
    call.emit(SIMPLE[call.node.op_type])


@lowers("Dropout")
def _dropout(call: Call) -> None:
    call.emit("identity", [call.value(0)])


def _padding(call: Call, axes: int) -> Any:
    automatic, pads = call.option("auto_pad", "NOTSET"), call.option("pads", [0] * 2 * axes)
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        return "same" if automatic == "SAME_UPPER" else "same-lower"
    if len(pads) != 2 * axes or min(pads) < 0:
        raise InputError(f"{call.source.named}: {call.node.op_type}: expected {2 * axes} pads of at least 0, got {pads[:8]}")
    return [(0, 0)] * axes if automatic == "VALID" else list(zip(pads[:axes], pads[axes:]))


def _steps(call: Call, name: str, axes: int) -> list[int]:
    given = call.option(name, [1] * axes)
    if len(given) != axes or min(given) < 1:
        raise InputError(f"{call.source.named}: {call.node.op_type}: expected {axes} {name} of at least 1, got {given[:8]}")
    return given


@lowers("Conv")
def _convolution(call: Call) -> None:
    weight = call.constant(1)
    if weight is None or weight.ndim not in (3, 4):
        raise call.refuse("is over more than two axes")
    axes = weight.ndim - 2
    call.emit("convolution", stride=_steps(call, "strides", axes), dilation=_steps(call, "dilations", axes), padding=_padding(call, axes))


@lowers("MaxPool", "AveragePool")
def _pool(call: Call) -> None:
    kernel = call.option("kernel_shape", [])
    axes = len(kernel)
    if axes not in (1, 2) or call.option("ceil_mode", 0):
        raise call.refuse("is over more than two axes, or counts places that it fills only in part")
    dilation = _steps(call, "dilations", axes)
    if call.node.op_type == "AveragePool" and max(dilation) > 1:
        raise call.refuse("skips places")
    call.emit("pool", kind="max" if call.node.op_type == "MaxPool" else "average", kernel=_steps(call, "kernel_shape", axes), stride=_steps(call, "strides", axes),
              dilation=dilation, padding=_padding(call, axes), count_padding=bool(call.option("count_include_pad", 0)))


@lowers("Gemm")
def _gemm(call: Call) -> None:
    call.emit("gemm", alpha=call.option("alpha", 1.0), beta=call.option("beta", 1.0), across_a=bool(call.option("transA", 0)), across_b=bool(call.option("transB", 0)))


@lowers("BatchNormalization")
def _batch_norm(call: Call) -> None:
    if call.option("training_mode", 0):
        raise call.refuse("is in training mode")
    call.emit("batch_norm", epsilon=call.option("epsilon", 1e-5))


@lowers("Clip")
def _clip(call: Call) -> None:
    bounds = {}
    for name, option, place in (("least", "min", 1), ("most", "max", 2)):
        value = call.option(option, call.constant(place))
        bounds[name] = None if value is None else float(np.ravel(value)[0])
    call.emit("clamp", [call.value(0)], **bounds)


@lowers("LeakyRelu")
def _leaky_relu(call: Call) -> None:
    call.emit("leaky_relu", slope=call.option("alpha", 0.01))


@lowers("HardSigmoid")
def _hard_sigmoid(call: Call) -> None:
    call.emit("hard_sigmoid", alpha=call.option("alpha", 0.2), beta=call.option("beta", 0.5))


@lowers("Softmax", "LogSoftmax")
def _softmax(call: Call) -> None:
    call.emit("softmax" if call.node.op_type == "Softmax" else "log_softmax", axis=call.option("axis", -1 if call.source.opset >= 13 else 1))


@lowers("ReduceMean", "ReduceSum", "ReduceMax")
def _reduce(call: Call) -> None:
    call.emit("reduce", [call.value(0)], kind=call.node.op_type[6:].lower(), axes=call.numbers("axes", 1), keep=bool(call.option("keepdims", 1)))


@lowers("Reshape")
def _reshape(call: Call) -> None:
    call.emit("reshape", keep_zeros=bool(call.option("allowzero", 0)))


@lowers("Flatten")
def _flatten(call: Call) -> None:
    call.emit("flatten", axis=call.option("axis", 1))


@lowers("Squeeze", "Unsqueeze")
def _squeeze(call: Call) -> None:
    call.emit(call.node.op_type.lower(), [call.value(0)], axes=call.numbers("axes", 1))


@lowers("Transpose")
def _transpose(call: Call) -> None:
    call.emit("transpose", order=call.option("perm"))


@lowers("Concat")
def _concatenate(call: Call) -> None:
    call.emit("concatenate", axis=call.option("axis", 0))


@lowers("Pad")
def _pad(call: Call) -> None:
    numbers, mode, value = call.numbers("pads", 1), call.option("mode", "constant"), call.option("value", call.constant(2))
    if call.value(3) is not None or mode not in ("constant", "reflect") or numbers is None or min(numbers, default=0) < 0:
        raise call.refuse("pads in another way")
    half = len(numbers) // 2
    call.emit("pad", [call.value(0)], pairs=list(zip(numbers[:half], numbers[half:])), mode=mode, value=0.0 if value is None else float(np.ravel(value)[0]))


@lowers("Slice")
def _slice(call: Call) -> None:
    if any(name is not None and name not in call.graph.constants for name in call.values()[1:]):
        return call.emit("measured_part")
    starts, ends = call.numbers("starts", 1), call.numbers("ends", 2)
    axes, steps = call.numbers("axes", 3), call.numbers("steps", 4) or [1] * len(starts or [])
    return call.emit("part", [call.value(0)], starts=starts, ends=ends, axes=list(range(len(starts or []))) if axes is None else axes, steps=steps)


@lowers("Gather")
def _gather(call: Call) -> None:
    call.emit("gather", axis=call.option("axis", 0))


@lowers("Cast")
def _cast(call: Call) -> None:
    kind = DTYPES.get(call.option("to"), "")
    if not kind:
        raise call.refuse("makes another type")
    call.emit("cast", [call.value(0)], dtype=torch.float32 if kind.startswith("float") else torch.bool if kind == "bool" else torch.int64)


@lowers("Constant")
def _constant(call: Call) -> None:
    made = next((call.option(name) for name in ("value_float", "value_floats", "value_int", "value_ints") if call.option(name) is not None), None)
    tensor = call.option("value")
    if tensor is None and made is None:
        raise call.refuse("holds another kind of value")
    array = call.source.array(tensor, call.graph.constants) if tensor is not None else np.asarray(made)
    call.source.enter(call.node.output[0], array, call.graph.constants)


@lowers("ConstantOfShape")
def _filled(call: Call) -> None:
    tensor = call.option("value")
    call.emit("filled", value=0.0 if tensor is None else call.source.array(tensor, call.graph.constants).ravel()[0].item())


@lowers("QuantizeLinear")
def _quantise(call: Call) -> None:
    scale, zero = call.constant(1), call.constant(2)
    if scale is None or scale.size != 1:
        return call.emit("identity", [call.value(0)])
    limits = np.iinfo(np.uint8 if zero is None else call.source.kinds[call.value(2)])
    low, high = (float(scale.ravel()[0]) * (limit - (0 if zero is None else int(zero.ravel()[0]))) for limit in (limits.min, limits.max))
    return call.emit("clamp", [call.value(0)], saturation=True, least=low, most=high)


@lowers("DequantizeLinear")
def _dequantise(call: Call) -> None:
    name, constants = call.value(0), call.graph.constants
    if name not in constants:
        return call.emit("identity", [name])
    stored, scale, zero = constants[name], call.constant(1), call.constant(2)
    if scale.size > 1:
        along = [1] * stored.ndim
        along[call.option("axis", 1)] = scale.size
        scale, zero = scale.reshape(along), zero if zero is None else zero.reshape(along)
    return call.source.enter(call.node.output[0], np.asarray((stored - (0 if zero is None else zero)) * scale, np.float32), constants)
