"""TensorFlow Lite flatbuffers with every length and index checked: the schema's own classes believe whatever the file says."""
import contextlib
import struct
from typing import Any, Iterator

import numpy as np

from ...errors import InputError, SpeechAdvError, shown
from ..foreign import optional
from .graph import MOST_NODES, check_shape, elements

IDENTIFIER = b"TFL3"
MOST_INPUTS = 1024  # of one operator
DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8", 10: "float64"}
# What the schema's classes and numpy raise on a file that is not what it claims to be.
BROKEN = (struct.error, IndexError, ValueError, TypeError, KeyError, AttributeError, OverflowError, AssertionError, RecursionError, MemoryError)


@contextlib.contextmanager
def broken_files(named: str) -> Iterator[None]:
    """Whatever goes wrong inside is the file's fault."""
    try:
        with np.errstate(all="ignore"):  # numbers that no cast can hold are found by their results
            yield
    except SpeechAdvError:
        raise
    except BROKEN as problem:
        raise InputError(f"{named}: expected a TensorFlow Lite model, its content is broken ({type(problem).__name__})") from None


class Schema:
    """A file and the schema's modules.

    Args:
        content: of the file.
        named: the file as it stands in messages.

    Raises:
        InputError: no TensorFlow Lite model, more than one subgraph, or a package is missing.
    """

    def __init__(self, content: bytes, named: str):
        optional("flatbuffers", "tflite", named), optional("tflite", "tflite", named)
        if content[4:8] != IDENTIFIER:
            raise InputError(f"{named}: expected a TensorFlow Lite model, its content is none")
        self.content, self.named, self.most = content, named, len(content) // 4
        with broken_files(named):
            self.model = self.type("Model").GetRootAs(content, 0)
            if self.model.SubgraphsLength() != 1:
                raise InputError(f"{named}: expected one subgraph, got {self.model.SubgraphsLength()}")
            self.subgraph = self.model.Subgraphs(0)
            codes = self.type("BuiltinOperator")
            self.names = {value: name for name, value in vars(codes).items() if isinstance(value, int)}
            self.operator_names = [self._name(code) for code in self.all(self.model, "OperatorCodes")]

    def type(self, name: str) -> Any:
        """A class of the schema."""
        return getattr(optional(f"tflite.{name}", "tflite", self.named), name)

    def all(self, thing: Any, member: str, most: int = MOST_NODES) -> list[Any]:
        """The members of a vector of tables, its length checked first."""
        count, get = getattr(thing, f"{member}Length")(), getattr(thing, member)
        if count > min(most, self.most):
            raise InputError(f"{self.named}: expected at most {min(most, self.most)} {member}, the file says {count}")
        return [get(index) for index in range(count)]

    def numbers(self, thing: Any, member: str, most: int = MOST_INPUTS) -> list[Any]:
        """The numbers of a vector."""
        return [number.item() for number in self.array(thing, member, most)]

    def array(self, thing: Any, member: str, most: int) -> np.ndarray:
        """A vector of numbers as an array, without a copy."""
        count = getattr(thing, f"{member}Length")()
        if count > min(most, len(self.content)):
            raise InputError(f"{self.named}: expected at most {min(most, len(self.content))} {member}, the file says {count}")
        return np.asarray(getattr(thing, f"{member}AsNumpy")()) if count else np.zeros(0)

    def options(self, operator: Any, name: str) -> Any:
        """The options of an operator as the class that it must have; None where the file holds none."""
        table = operator.BuiltinOptions()
        if table is None:
            return None
        wanted = getattr(self.type("BuiltinOptions"), name)
        if operator.BuiltinOptionsType() != wanted:
            raise InputError(f"{self.named}: expected {name} for an operator, got options of kind {operator.BuiltinOptionsType()}")
        options = self.type(name)()
        options.Init(table.Bytes, table.Pos)
        return options

    def _name(self, code: Any) -> str:
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        custom = code.CustomCode()
        return f"custom {shown(custom.decode('utf-8', 'replace'))[:60]}" if custom else self.names.get(number, f"number {number}")


class Stored:
    """A tensor of a file: `name, shape, dtype, scales, zero_points, axis`, and `data`, the stored numbers of a constant or None."""

    def __init__(self, schema: Schema, tensor: Any, index: int):
        self.name = f"{index}"  # names in files need not differ
        named = schema.named
        shape, signature = (tuple(schema.numbers(tensor, member)) for member in ("Shape", "ShapeSignature"))
        self.shape = check_shape(shape, named)
        self.signature = signature if len(signature) == len(shape) else shape
        self.type_number = tensor.Type()
        self.dtype = DTYPES.get(self.type_number, "")
        self._read_quantisation(schema, tensor.Quantization())
        self.data = self._constant(schema, tensor.Buffer())

    def _read_quantisation(self, schema: Schema, quantisation: Any) -> None:
        self.scales, self.zero_points, self.axis = np.zeros(0), np.zeros(0), 0
        if quantisation is None:
            return
        self.scales, zeros = (schema.array(quantisation, member, schema.most).astype(np.float64) for member in ("Scale", "ZeroPoint"))
        self.zero_points = zeros if len(zeros) == len(self.scales) else np.zeros(len(self.scales))
        self.axis = quantisation.QuantizedDimension()
        if not (np.isfinite(self.scales).all() and (self.scales >= 0).all()):
            raise InputError(f"{schema.named}: expected finite scales of at least 0, a tensor has others")
        if len(self.scales) > 1 and (not 0 <= self.axis < len(self.shape) or self.shape[self.axis] != len(self.scales)):
            raise InputError(f"{schema.named}: expected a scale for each channel, a tensor of shape {self.shape} has {len(self.scales)}")

    def _constant(self, schema: Schema, index: int) -> np.ndarray | None:
        if not 0 <= index < schema.model.BuffersLength():
            raise InputError(f"{schema.named}: a tensor names buffer {index}, the file has {schema.model.BuffersLength()}")
        buffer = schema.model.Buffers(index)
        if buffer.Offset() or buffer.Size():
            raise InputError(f"{schema.named}: buffers outside the flatbuffer are not read")
        data = schema.array(buffer, "Data", len(schema.content))
        if not len(data):
            return None
        size = np.dtype(self.dtype).itemsize if self.dtype else 0
        if size and elements(self.shape) * size != len(data):
            raise InputError(f"{schema.named}: expected {elements(self.shape) * size} bytes for a tensor of shape {self.shape}, its buffer holds {len(data)}")
        return np.frombuffer(data.tobytes(), np.dtype(self.dtype).newbyteorder("<")).reshape(self.shape) if size else np.zeros(0)

    def real(self) -> np.ndarray:
        """What a constant stands for: float32 dequantised, or int64."""
        if self.dtype in ("int32", "int64", "bool") and not len(self.scales):
            return self.data.astype(np.int64)
        if len(self.scales) and np.issubdtype(self.data.dtype, np.integer):
            along = [1] * len(self.shape)
            if len(self.scales) > 1:
                along[self.axis] = len(self.scales)
            return (self.scales.reshape(along) * (self.data - self.zero_points.reshape(along))).astype(np.float32)
        return self.data.astype(np.float32)

    def quantised(self) -> bool:
        """Whether it is an activation stored as integers with one scale."""
        return len(self.scales) == 1 and self.dtype in ("int8", "uint8", "int16") and self.scales[0] > 0

    def bounds(self) -> tuple[float, float]:
        """The smallest and largest real value that a quantised tensor can hold."""
        limits = np.iinfo(self.dtype)
        return tuple(float(self.scales[0] * (limit - self.zero_points[0])) for limit in (limits.min, limits.max))


def read_operators(schema: Schema) -> Iterator[tuple[Any, str, list[int], list[int]]]:
    """(operator, its name, indices of inputs and outputs) each; -1 is a missing input. Raises InputError for an index that names nothing."""
    tensors = schema.subgraph.TensorsLength()
    for operator in schema.all(schema.subgraph, "Operators"):
        index = operator.OpcodeIndex()
        if not 0 <= index < len(schema.operator_names):
            raise InputError(f"{schema.named}: an operator names code {index}, the file has {len(schema.operator_names)}")
        inputs, outputs = schema.numbers(operator, "Inputs"), schema.numbers(operator, "Outputs")
        if any(not -1 <= i < tensors for i in inputs) or any(not 0 <= i < tensors for i in outputs) or not outputs:
            raise InputError(f"{schema.named}: {schema.operator_names[index]} names tensors that the file does not hold")
        yield operator, schema.operator_names[index], inputs, outputs


