"""What each ONNX operator becomes."""
from typing import Any

import numpy as np
import torch

from ...errors import InputError
from .onnx_calls import DTYPES, LOWER, Call, lowers

__all__ = ["LOWER"]

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
    call.emit("pool", kind="max" if call.node.op_type == "MaxPool" else "average", kernel=_steps(call, "kernel_shape", axes),
              stride=_steps(call, "strides", axes), dilation=dilation, padding=_padding(call, axes), count_padding=bool(call.option("count_include_pad", 0)))


@lowers("Gemm")
def _gemm(call: Call) -> None:
    call.emit("gemm", alpha=call.option("alpha", 1.0), beta=call.option("beta", 1.0), across_a=bool(call.option("transA", 0)),
              across_b=bool(call.option("transB", 0)))


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
