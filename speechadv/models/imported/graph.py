"""What a reader makes of a file: tensors, nodes, and what the file says about its input and output."""
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import InputError, shown

MOST_ELEMENTS = 1 << 26  # of a tensor; networks that hear a second of sound are far below
MOST_NODES = 20000
MOST_DIMENSIONS = 8


class Unsupported(InputError):
    """An operator that has no rebuilding: the file still runs, but has no gradient."""


@dataclass(frozen=True)
class Port:
    """An input or output of a file.

    Attributes:
        name, shape: the batch stands first; -1 is any size.
        dtype: of numpy, such as "int8" or "float32".
        scale, zero_point: real value = scale * (stored - zero_point); scale is 0 where nothing is quantised.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of one clip that are not 1."""
        return tuple(size for size in self.shape[1:] if size != 1)

    @property
    def integer(self) -> bool:
        """Whether real values are stored as integers."""
        return np.issubdtype(np.dtype(self.dtype), np.integer)


@dataclass
class Node:
    """One operator of `operators.OPERATORS`; a missing optional input is None. `saturation`: it is there for what a quantised tensor can hold."""

    operator: str
    inputs: list[str | None]
    output: str
    attributes: dict[str, Any] = field(default_factory=dict)
    saturation: bool = False


@dataclass
class Graph:
    """A network.

    Attributes:
        input, output: one of each.
        constants: by name; float32 (dequantised), or int64.
        nodes: in the order of execution; empty where `missing` says why there is no rebuilding.
        operators: the file's own names, in its order.
        weights: how the file stores them, in words.
        missing: the line that names what has no rebuilding.
    """

    input: Port
    output: Port
    constants: dict[str, np.ndarray]
    nodes: list[Node]
    operators: list[str]
    weights: str = "float32"
    missing: str = ""


def check_shape(shape: tuple[int, ...], named: str) -> tuple[int, ...]:
    """Raise InputError unless a tensor of this shape is one that a keyword spotter may have."""
    if len(shape) > MOST_DIMENSIONS or any(size < -1 for size in shape) or elements(shape) > MOST_ELEMENTS:
        raise InputError(f"{named}: expected at most {MOST_DIMENSIONS} dimensions and {MOST_ELEMENTS} elements, got a tensor of shape {shown(shape)}"[:300])
    return shape


def elements(shape: tuple[int, ...]) -> int:
    """Number of elements, an unknown size counted as 1."""
    count = 1
    for size in shape:
        count *= max(size, 1) if size else 0
    return count


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after, as TensorFlow's "same": the output has ceil(size / stride) places, an odd zero stands at the end."""
    total = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
    return total // 2, total - total // 2
