"""TensorFlow Lite -> graph."""
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from ...errors import InputError
from .graph import MOST_ELEMENTS, Graph, Node, Port, Unsupported, elements
from .tflite_schema import Schema, Stored, broken_files, read_operators

ACTIVATIONS = {1: ("relu", {}), 2: ("clamp", {"least": -1.0, "most": 1.0}), 3: ("clamp", {"least": 0.0, "most": 6.0}), 4: ("tanh", {})}
LOWER: dict[str, Callable[["Call"], None]] = {}


def read_tflite(content: bytes, named: str) -> Graph:
    """The graph of a TensorFlow Lite file.

    Args:
        content: the file.
        named: the file as it stands in messages.

    Raises:
        InputError: broken, not one input and one output, larger than it can be, or the extra is not installed.
    """
    schema = Schema(content, named)
    with broken_files(named):
        stored = [Stored(schema, tensor, index) for index, tensor in enumerate(schema.all(schema.subgraph, "Tensors"))]
        if sum(elements(tensor.shape) for tensor in stored) > 4 * MOST_ELEMENTS:
            raise InputError(f"{named}: expected tensors of at most {4 * MOST_ELEMENTS} elements together")
        ends = [_end(schema, stored, member) for member in ("Inputs", "Outputs")]
        operators = list(read_operators(schema))
        if not operators:
            raise InputError(f"{named}: expected a network, the file holds no operators")
        graph = Graph(*ends, {}, [], [name for _, name, _, _ in operators], _storage(stored))
        try:
            for operator, name, inputs, outputs in operators:
                Call(schema, graph, stored, operator, name, inputs, outputs).lower()
        except Unsupported as problem:
            graph.nodes, graph.missing = [], str(problem)
    return graph


def _end(schema: Schema, stored: list[Stored], member: str) -> Port:
    """The one input or output."""
    indices = schema.numbers(schema.subgraph, member)
    if len(indices) != 1 or not 0 <= indices[0] < len(stored):
        raise InputError(f"{schema.named}: expected one of {member.lower()}, got {len(indices)}")
    tensor = stored[indices[0]]
    scale, zero = (tensor.scales[0], int(tensor.zero_points[0])) if tensor.quantised() else (0.0, 0)
    if tensor.dtype not in ("float32", "int8", "uint8", "int16") or not tensor.shape:
        raise InputError(f"{schema.named}: expected {member.lower()} of float32, int8, uint8 or int16 with a batch, "
                         f"got {tensor.dtype or 'another type'} {tensor.shape}")
    return Port(tensor.name, (-1, *tensor.shape[1:]), tensor.dtype, float(scale), zero)


def _storage(stored: list[Stored]) -> str:
    """How weights are kept, in words."""
    kinds = sorted({f"{tensor.dtype}{' with a scale per channel' if len(tensor.scales) > 1 else ''}" for tensor in stored
                    if tensor.data is not None and len(tensor.shape) > 1 and tensor.dtype in ("float32", "float16", "int8", "uint8", "int16")})
    return ", ".join(kinds) or "none"


@dataclass
class Call:
    """One operator of the file on its way into the graph."""

    schema: Schema
    graph: Graph
    stored: list[Stored]
    operator: Any
    name: str
    inputs: list[int]
    outputs: list[int]

    def lower(self) -> None:
        """Append its nodes. Raises Unsupported, InputError."""
        if self.name not in LOWER:
            raise Unsupported(f"{self.schema.named}: its operator {self.name} has no rebuilding in torch")
        LOWER[self.name](self)

    def refuse(self, what: str) -> Unsupported:
        """The error for something that this operator may do in a file and cannot do here."""
        return Unsupported(f"{self.schema.named}: its operator {self.name} {what}, which has no rebuilding in torch")

    def tensor(self, place: int) -> Stored | None:
        """An input of the operator; None where it is missing."""
        return self.stored[self.inputs[place]] if place < len(self.inputs) and self.inputs[place] >= 0 else None

    def value(self, place: int, change: Callable[[np.ndarray], np.ndarray] | None = None) -> str | None:
        """The name of an input for a node; a constant is entered, changed where said."""
        tensor = self.tensor(place)
        if tensor is None or tensor.data is None:
            return tensor and tensor.name
        if not tensor.dtype or not tensor.data.size and elements(tensor.shape):
            raise self.refuse("has a constant of another type")
        name = tensor.name if change is None else f"{tensor.name}/{change.__name__}"
        if name not in self.graph.constants:
            total = sum(constant.size for constant in self.graph.constants.values()) + tensor.data.size
            if total > 4 * len(self.schema.content):  # many tensors of one buffer
                raise InputError(f"{self.schema.named}: its constants hold more than the file does")
            real = tensor.real()
            self.graph.constants[name] = np.array(real if change is None else change(real), order="C")
        return name

    def whole_numbers(self, place: int) -> list[int]:
        """A constant input as integers, such as axes or sizes."""
        tensor = self.tensor(place)
        if tensor is None or tensor.data is None or tensor.dtype not in ("int32", "int64"):
            raise self.refuse("has no constant input where one is expected")
        return tensor.data.ravel().tolist()

    def option(self, kind: str, member: str, default: Any = 0) -> Any:
        """An option of the operator."""
        options = self.schema.options(self.operator, kind)
        return default if options is None else getattr(options, member)()

    def emit(self, operator: str, inputs: list[str | None], activation: int = 0, **attributes: Any) -> None:
        """Append a node that makes the output, its fused activation, and the bounds of a quantised output."""
        output = self.stored[self.outputs[0]]
        steps = [(operator, attributes, False)]
        if activation:
            if activation not in ACTIVATIONS:
                raise self.refuse(f"has the fused activation number {activation}")
            steps.append((*ACTIVATIONS[activation], False))
        if output.quantised():
            low, high = output.bounds()
            steps.append(("clamp", {"least": low, "most": high}, True))
        for number, (name, keywords, saturation) in enumerate(steps):
            made = output.name if number == len(steps) - 1 else f"{output.name}/{number}"
            self.graph.nodes.append(Node(name, inputs, made, keywords, saturation))
            inputs = [made]


def lowers(*names: str) -> Callable:
    """Enter a function that lowers these operators."""
    def enter(function: Callable[[Call], None]) -> Callable[[Call], None]:
        LOWER.update(dict.fromkeys(names, function))
        return function
    return enter


def ohwi_to_oihw(weight: np.ndarray) -> np.ndarray:
    """A convolution's weight."""
    return weight.transpose(0, 3, 1, 2)


def hwo_to_oihw(weight: np.ndarray) -> np.ndarray:
    """A depthwise convolution's weight (1, height, width, out)."""
    return weight.transpose(3, 0, 1, 2)


def _padding(call: Call, kind: str) -> Any:
    """ "same", or no zeros."""
    return "same" if call.option(kind, "Padding") == 0 else [(0, 0), (0, 0)]


@lowers("CONV_2D", "DEPTHWISE_CONV_2D")
def _convolution(call: Call) -> None:
    kind, change = ("Conv2DOptions", ohwi_to_oihw) if call.name == "CONV_2D" else ("DepthwiseConv2DOptions", hwo_to_oihw)
    if call.tensor(1) is None or call.tensor(1).data is None or len(call.tensor(1).shape) != 4:
        raise call.refuse("has weights that are no constant of four axes")
    stride = [call.option(kind, "StrideH", 1), call.option(kind, "StrideW", 1)]
    dilation = [call.option(kind, "DilationHFactor", 1), call.option(kind, "DilationWFactor", 1)]
    if min(stride + dilation) < 1:
        raise InputError(f"{call.schema.named}: {call.name}: expected strides and dilations of at least 1, got {stride} and {dilation}")
    call.emit("convolution", [call.value(0), call.value(1, change), call.value(2)], call.option(kind, "FusedActivationFunction"),
              stride=stride, dilation=dilation, padding=_padding(call, kind), channels_last=True)


@lowers("FULLY_CONNECTED")
def _linear(call: Call) -> None:
    if call.option("FullyConnectedOptions", "WeightsFormat") != 0:
        raise call.refuse("has shuffled weights")
    call.emit("linear", [call.value(0), call.value(1), call.value(2)], call.option("FullyConnectedOptions", "FusedActivationFunction"),
              flatten=not call.option("FullyConnectedOptions", "KeepNumDims", False))


@lowers("AVERAGE_POOL_2D", "MAX_POOL_2D")
def _pool(call: Call) -> None:
    kind = "Pool2DOptions"
    stride, kernel = ([call.option(kind, f"{what}{axis}", 1) for axis in axes] for what, axes in (("Stride", "HW"), ("Filter", ("Height", "Width"))))
    if min(stride + kernel) < 1:
        raise InputError(f"{call.schema.named}: {call.name}: expected sizes and strides of at least 1, got {kernel} and {stride}")
    call.emit("pool", [call.value(0)], call.option(kind, "FusedActivationFunction"), kind="average" if call.name.startswith("A") else "max",
              kernel=kernel, stride=stride, padding=_padding(call, kind), channels_last=True)


@lowers("MEAN", "SUM", "REDUCE_MAX")
def _reduce(call: Call) -> None:
    call.emit("reduce", [call.value(0)], kind={"MEAN": "mean", "SUM": "sum", "REDUCE_MAX": "max"}[call.name], axes=call.whole_numbers(1),
              keep=bool(call.option("ReducerOptions", "KeepDims", False)))


@lowers("ADD", "SUB", "MUL", "DIV")
def _arithmetic(call: Call) -> None:
    operator = {"ADD": "add", "SUB": "subtract", "MUL": "multiply", "DIV": "divide"}[call.name]
    call.emit(operator, [call.value(0), call.value(1)], call.option(f"{call.name.capitalize()}Options", "FusedActivationFunction"))


@lowers("PAD", "PADV2", "MIRROR_PAD")
def _pad(call: Call) -> None:
    numbers, more = call.whole_numbers(1), {}
    if call.name == "PADV2":
        constant = call.tensor(2)
        if constant is None or constant.data is None:
            raise call.refuse("has no constant input where one is expected")
        more = {"value": float(constant.real().ravel()[0])}
    if call.name == "MIRROR_PAD":
        if call.option("MirrorPadOptions", "Mode") != 0:
            raise call.refuse("mirrors with the edge")
        more = {"mode": "reflect"}
    if any(not 0 <= number <= MOST_ELEMENTS for number in numbers):
        raise InputError(f"{call.schema.named}: {call.name}: expected paddings of at least 0, got {numbers[:16]}")
    call.emit("pad", [call.value(0)], pairs=list(zip(numbers[::2], numbers[1::2])), **more)


@lowers("RESHAPE")
def _reshape(call: Call) -> None:
    shape = call.tensor(1)
    if shape is not None and shape.data is None:
        return call.emit("reshape", [call.value(0), call.value(1)])
    options = call.schema.options(call.operator, "ReshapeOptions")
    sizes = call.whole_numbers(1) if shape is not None else call.schema.numbers(options, "NewShape") if options else []
    return call.emit("reshape", [call.value(0)], sizes=sizes)


@lowers("CONCATENATION")
def _concatenate(call: Call) -> None:
    call.emit("concatenate", [call.value(place) for place in range(len(call.inputs))], call.option("ConcatenationOptions", "FusedActivationFunction"),
              axis=call.option("ConcatenationOptions", "Axis"))


@lowers("PACK")
def _stack(call: Call) -> None:
    call.emit("stack", [call.value(place) for place in range(len(call.inputs))], axis=call.option("PackOptions", "Axis"))


@lowers("SOFTMAX", "LOG_SOFTMAX")
def _softmax(call: Call) -> None:
    call.emit(call.name.lower(), [call.value(0)], axis=-1, **({"beta": float(call.option("SoftmaxOptions", "Beta", 1.0))} if call.name == "SOFTMAX" else {}))


@lowers("LEAKY_RELU")
def _leaky_relu(call: Call) -> None:
    call.emit("leaky_relu", [call.value(0)], slope=float(call.option("LeakyReluOptions", "Alpha", 0.0)))


@lowers("RELU6", "RELU_N1_TO_1")
def _bounded_relu(call: Call) -> None:
    call.emit("clamp", [call.value(0)], least=0.0 if call.name == "RELU6" else -1.0, most=6.0 if call.name == "RELU6" else 1.0)


@lowers("TRANSPOSE")
def _transpose(call: Call) -> None:
    call.emit("transpose", [call.value(0)], order=call.whole_numbers(1))


@lowers("SQUEEZE")
def _squeeze(call: Call) -> None:
    options = call.schema.options(call.operator, "SqueezeOptions")
    call.emit("squeeze", [call.value(0)], axes=call.schema.numbers(options, "SqueezeDims") if options else [])


@lowers("EXPAND_DIMS")
def _expand(call: Call) -> None:
    call.emit("unsqueeze", [call.value(0)], axes=call.whole_numbers(1))


@lowers("STRIDED_SLICE")
def _slice(call: Call) -> None:
    starts, ends, steps = (call.whole_numbers(place) for place in (1, 2, 3))
    masks = ("BeginMask", "EndMask", "ShrinkAxisMask", "EllipsisMask", "NewAxisMask")
    begin, end, shrink, *others = (call.option("StridedSliceOptions", mask) for mask in masks)
    if any(others) or not len(starts) == len(ends) == len(steps) or any(step < 1 for step in steps):
        raise call.refuse("slices in another way")
    axes = range(len(starts))
    starts = [0 if begin >> axis & 1 else start for axis, start in zip(axes, starts)]
    ends = [None if end >> axis & 1 else stop for axis, stop in zip(axes, ends)]
    drop = [axis for axis in axes if shrink >> axis & 1]
    ends = [(start + 1 or None) if axis in drop else stop for axis, start, stop in zip(axes, starts, ends)]
    call.emit("part", [call.value(0)], starts=starts, ends=ends, axes=list(axes), steps=steps, drop=drop)


SIMPLE = {"RELU": "relu", "LOGISTIC": "sigmoid", "TANH": "tanh", "HARD_SWISH": "hard_swish", "SHAPE": "shape", "MINIMUM": "minimum", "MAXIMUM": "maximum",
          "EXP": "exponential", "LOG": "logarithm", "SQRT": "root", "RSQRT": "reciprocal_root", "NEG": "negative", "ABS": "absolute", "SQUARE": "square",
          "QUANTIZE": "identity", "DEQUANTIZE": "identity"}


@lowers(*SIMPLE)
def _simple(call: Call) -> None:
    call.emit(SIMPLE[call.name], [call.value(place) for place in range(len(call.inputs))])
