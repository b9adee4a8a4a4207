"""ONNX operators on their way into a graph: what the file gives them, checked, and what they become."""
from dataclasses import dataclass, field
from typing import Any, Callable

import numpy as np
import torch

from ...errors import InputError, shown
from .graph import Graph, Node, Unsupported, check_shape, elements
from .operators import OPERATORS

DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}
FOLDED = ("cast", "filled", "identity", "reshape", "transpose", "squeeze", "unsqueeze", "concatenate", "part", "gather", "shape")  # done at once on constants
LOWER: dict[str, Callable[["Call"], None]] = {}


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
