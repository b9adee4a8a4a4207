"""Small TensorFlow Lite files for tests, written with flatbuffers and the schema alone."""
import importlib
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}


@dataclass
class T:
    """A tensor; `data` makes it a constant, `scale` and `zero` (numbers or lists) quantise it."""

    shape: tuple
    dtype: str = "float32"
    data: Any = None
    scale: Any = None
    zero: Any = 0
    axis: int = 0


@dataclass
class Op:
    """An operator by its name in the schema, with indices of tensors; `options` is (class, {field: value})."""

    name: str
    inputs: list
    outputs: list
    options: tuple = ()
    custom: str = ""
    fields: dict = field(default_factory=dict)


def constant(values, dtype="float32", **more) -> T:
    array = np.asarray(values, dtype)
    return T(array.shape, dtype, array, **more)


def quantised(values, axis=None) -> T:
    """int8 weights, symmetric, with one scale or one a channel of `axis`."""
    values = np.asarray(values, np.float32)
    others = tuple(i for i in range(values.ndim) if i != axis) if axis is not None else None
    scale = np.abs(values).max(axis=others, keepdims=True) / 127
    stored = np.rint(values / scale).astype(np.int8)
    return T(values.shape, "int8", stored, scale.ravel().tolist(), [0] * scale.size, axis or 0)


def schema(name):
    return importlib.import_module(f"tflite.{name}")


def vector(builder, values, dtype):
    return builder.CreateNumpyVector(np.asarray(values, dtype))


def table(builder, name, fields):
    """A table of scalars and vectors that were made before."""
    module = schema(name)
    getattr(module, f"{name}Start")(builder)
    for key, value in fields.items():
        getattr(module, f"{name}Add{key}")(builder, value)
    return getattr(module, f"{name}End")(builder)


def offsets(builder, parts):
    builder.StartVector(4, len(parts), 4)
    for part in reversed(parts):
        builder.PrependUOffsetTRelative(part)
    return builder.EndVector()


def build(tensors, operators, inputs=(0,), outputs=None, **faults) -> bytes:
    """The content of a file. `faults`: `buffer=N` lets every tensor name buffer N; `subgraphs=N` lists the one subgraph N times."""
    builder = flatbuffers.Builder(1024)
    outputs = [len(tensors) - 1] if outputs is None else outputs
    buffers = [table(builder, "Buffer", {})]
    made = []
    for tensor in tensors:
        place = 0
        if tensor.data is not None:
            raw = np.ascontiguousarray(tensor.data).view(np.uint8).ravel() if np.asarray(tensor.data).size else np.zeros(0, np.uint8)
            data = vector(builder, raw, np.uint8)
            buffers.append(table(builder, "Buffer", {"Data": data}))
            place = len(buffers) - 1
        fields = {"Shape": vector(builder, tensor.shape, np.int32), "Type": TYPES[tensor.dtype], "Buffer": faults.get("buffer", place)}
        if tensor.scale is not None:
            scale, zero = vector(builder, np.atleast_1d(tensor.scale), np.float32), vector(builder, np.atleast_1d(tensor.zero), np.int64)
            fields["Quantization"] = table(builder, "QuantizationParameters", {"Scale": scale, "ZeroPoint": zero, "QuantizedDimension": tensor.axis})
        fields["Name"] = builder.CreateString(f"tensor{len(made)}")
        made.append(table(builder, "Tensor", fields))
    codes, calls = [], []
    for index, operator in enumerate(operators):
        number = getattr(schema("BuiltinOperator").BuiltinOperator, operator.name)
        more = {"CustomCode": builder.CreateString(operator.custom)} if operator.custom else {}
        codes.append(table(builder, "OperatorCode", {"DeprecatedBuiltinCode": min(number, 127), "BuiltinCode": number, "Version": 1, **more}))
        fields = {"OpcodeIndex": operator.fields.get("code", index), "Inputs": vector(builder, operator.inputs, np.int32), "Outputs": vector(builder, operator.outputs, np.int32)}
        if operator.options:
            name, values = operator.options
            values = {key: vector(builder, value, np.int32) if isinstance(value, list) else value for key, value in values.items()}
            fields["BuiltinOptions"] = table(builder, name, values)
            fields["BuiltinOptionsType"] = getattr(schema("BuiltinOptions").BuiltinOptions, name)
        calls.append(table(builder, "Operator", fields))
    parts = {"Tensors": offsets(builder, made), "Inputs": vector(builder, inputs, np.int32), "Outputs": vector(builder, outputs, np.int32), "Operators": offsets(builder, calls)}
    graph = table(builder, "SubGraph", parts)
    parts = {"OperatorCodes": offsets(builder, codes), "Subgraphs": offsets(builder, [graph] * faults.get("subgraphs", 1)), "Buffers": offsets(builder, buffers)}
    builder.Finish(table(builder, "Model", {"Version": 3, **parts}), b"TFL3")
    return bytes(builder.Output())
