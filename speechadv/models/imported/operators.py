"""The operators of imported networks as functions of torch tensors. Readers bring each format's own operators into this form."""
from typing import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .graph import MOST_ELEMENTS, elements, same_padding

OPERATORS: dict[str, Callable[..., Tensor]] = {}
Padding = Sequence[tuple[int, int]] | str  # before and after each axis of space, or "same", or "same-lower" (an odd zero at the start)


def operator(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Enter a function under its name; its positional arguments are the node's inputs, its keywords the node's attributes."""
    OPERATORS[function.__name__] = function
    return function


def paddings(padding: Padding, sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    """Zeros before and after each axis."""
    if not isinstance(padding, str):
        return [tuple(pair) for pair in padding]
    pairs = [same_padding(*axis) for axis in zip(map(int, sizes), kernel, stride, dilation)]  # int: an exporter that traces sees constants
    return pairs if padding == "same" else [pair[::-1] for pair in pairs]


def padded(x: Tensor, pairs: Sequence[tuple[int, int]], value: float = 0.0, mode: str = "constant") -> Tensor:
    """The last len(pairs) axes padded."""
    if not any(map(any, pairs)):
        return x
    flat = [size for pair in reversed(pairs) for size in pair]
    return F.pad(x, flat, mode, value) if mode == "constant" else F.pad(x, flat, mode)


@operator
def convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: Sequence[int], dilation: Sequence[int], padding: Padding,
                channels_last: bool = False) -> Tensor:
    """x (batch, channels, ...) or channels last; weight (out, channels / groups, ...); the number of groups follows from the two."""
    x = x.movedim(x.ndim - 1, 1) if channels_last else x
    pairs = paddings(padding, x.shape[2:], weight.shape[2:], stride, dilation)
    even = all(before == after for before, after in pairs)
    x = x if even else padded(x, pairs)
    convolve = F.conv1d if weight.ndim == 3 else F.conv2d
    y = convolve(x, weight, bias, tuple(stride), tuple(pair[0] for pair in pairs) if even else 0, tuple(dilation), x.shape[1] // weight.shape[1])
    return y.movedim(1, y.ndim - 1) if channels_last else y


@operator
def pool(x: Tensor, *, kind: str, kernel: Sequence[int], stride: Sequence[int], padding: Padding, channels_last: bool = False, count_padding: bool = False,
         dilation: Sequence[int] = (1, 1)) -> Tensor:
    """kind "average" (over the places that are no padding, unless `count_padding`) or "max"."""
    x = x.movedim(x.ndim - 1, 1) if channels_last else x
    pairs = paddings(padding, x.shape[2:], kernel, stride, dilation)
    flat = len(kernel) == 1
    if kind == "max":
        function = F.max_pool1d if flat else F.max_pool2d
        y = function(padded(x, pairs, -torch.inf), tuple(kernel), tuple(stride), 0, tuple(dilation[: len(kernel)]))
    else:
        function = F.avg_pool1d if flat else F.avg_pool2d
        y = function(padded(x, pairs), tuple(kernel), tuple(stride))
        if any(map(any, pairs)) and not count_padding:
            y = y / function(padded(torch.ones_like(x[:1, :1]), pairs), tuple(kernel), tuple(stride))
    return y.movedim(1, y.ndim - 1) if channels_last else y


@operator
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, flatten: bool = False) -> Tensor:
    """weight (out, in); `flatten` makes rows of `in` values first, whatever the shape."""
    return F.linear(x.reshape(-1, weight.shape[1]) if flatten else x, weight, bias)


@operator
def batch_norm(x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, *, epsilon: float) -> Tensor:
    """With the statistics of training, as it is deployed."""
    return F.batch_norm(x, mean, variance, scale, shift, False, 0.0, epsilon)


@operator
def pad(x: Tensor, *, pairs: Sequence[tuple[int, int]], value: float = 0.0, mode: str = "constant") -> Tensor:
    """Zeros, a value or mirrored values around each axis."""
    if mode == "constant":
        return padded(x, pairs, value)
    for axis, (before, after) in enumerate(pairs):  # torch mirrors only the last axes of some shapes
        place = torch.arange(-before, x.shape[axis] + after, device=x.device).abs()
        last = x.shape[axis] - 1
        x = x.index_select(axis, last - (last - place).abs())
    return x


@operator
def reduce(x: Tensor, *, kind: str, axes: Sequence[int] | None, keep: bool) -> Tensor:
    """kind "mean", "sum" or "max" over the axes, all of them where None."""
    axes = tuple(range(x.ndim)) if axes is None else tuple(axes)
    return {"mean": torch.mean, "sum": torch.sum, "max": torch.amax}[kind](x, dim=axes, keepdim=keep) if axes else x


@operator
def reshape(x: Tensor, shape: Tensor | None = None, *, sizes: Sequence[int] | None = None, keep_zeros: bool = True) -> Tensor:
    """To `shape` or `sizes`. A size of 0 is, unless `keep_zeros`, that of x."""
    sizes = [int(size) for size in (shape if sizes is None else sizes)]
    return x.reshape([x.shape[i] if size == 0 and not keep_zeros else size for i, size in enumerate(sizes)])


@operator
def flatten(x: Tensor, *, axis: int) -> Tensor:
    """To two axes: those before `axis` and the others."""
    return x.reshape(elements(x.shape[:axis]) if axis else 1, -1)


@operator
def squeeze(x: Tensor, *, axes: Sequence[int] | None) -> Tensor:
    """Without axes of size 1."""
    return x.squeeze() if not axes else x.squeeze(tuple(axes))


@operator
def unsqueeze(x: Tensor, *, axes: Sequence[int]) -> Tensor:
    """With new axes of size 1, at their places in the result."""
    for axis in sorted(a % (x.ndim + len(axes)) for a in axes):
        x = x.unsqueeze(axis)
    return x


@operator
def transpose(x: Tensor, *, order: Sequence[int] | None) -> Tensor:
    """Axes in another order, reversed where None."""
    return x.permute(*(order or range(x.ndim - 1, -1, -1)))


@operator
def concatenate(*parts: Tensor, axis: int) -> Tensor:
    """One after the other."""
    return torch.cat(parts, axis)


@operator
def stack(*parts: Tensor, axis: int) -> Tensor:
    """Along a new axis."""
    return torch.stack(parts, axis)


@operator
def part(x: Tensor, *, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int], drop: Sequence[int] = ()) -> Tensor:
    """x[start:end:step] along some axes; the axes in `drop` have one place and go."""
    for start, end, axis, step in zip(starts, ends, axes, steps):
        places = range(x.shape[axis])[start:end:step]
        x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=x.device))
    return x.squeeze(tuple(drop)) if drop else x


@operator
def measured_part(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None) -> Tensor:
    """The same where sizes that are known only when it runs say which part."""
    places = range(len(starts)) if axes is None else axes.tolist()
    return part(x, starts=starts.tolist(), ends=ends.tolist(), axes=places, steps=[1] * len(starts) if steps is None else steps.tolist())


@operator
def gather(x: Tensor, index: Tensor, *, axis: int) -> Tensor:
    """Places of an axis; a single index removes the axis."""
    index = index.to(torch.int64)
    flat = x.index_select(axis, torch.where(index < 0, index + x.shape[axis], index).reshape(-1))
    axis %= x.ndim
    return flat.reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


@operator
def shape(x: Tensor) -> Tensor:
    """The sizes, int64."""
    return torch.tensor(x.shape, device=x.device)


@operator
def filled(sizes: Tensor, *, value: float) -> Tensor:
    """A tensor of one value."""
    device, sizes = sizes.device, [int(size) for size in sizes]
    if elements(tuple(sizes)) > MOST_ELEMENTS:
        raise ValueError(f"a tensor of shape {sizes} is too large")
    return torch.full(sizes, value, device=device)


@operator
def expand(x: Tensor, sizes: Tensor) -> Tensor:
    """Repeated along axes of size 1, to a shape that both fit."""
    wanted = torch.broadcast_shapes(x.shape, [int(size) for size in sizes])
    if elements(tuple(wanted)) > MOST_ELEMENTS:
        raise ValueError(f"a tensor of shape {tuple(wanted)} is too large")
    return x.expand(wanted)


@operator
def divide(a: Tensor, b: Tensor) -> Tensor:
    """a / b, whole numbers towards zero."""
    return torch.div(a, b) if a.is_floating_point() or b.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@operator
def where(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """One or the other."""
    return torch.where(condition.bool(), yes, no)


@operator
def global_average(x: Tensor) -> Tensor:
    """The mean over all places, axes kept."""
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


@operator
def global_max(x: Tensor) -> Tensor:
    """The largest of all places, axes kept."""
    return x.amax(tuple(range(2, x.ndim)), keepdim=True)


@operator
def matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b."""
    return a @ b


@operator
def gemm(a: Tensor, b: Tensor, c: Tensor | None = None, *, alpha: float = 1.0, beta: float = 1.0, across_a: bool = False, across_b: bool = False) -> Tensor:
    """alpha a b + beta c, a and b transposed where said."""
    product = (a.T if across_a else a) @ (b.T if across_b else b)
    product = product if alpha == 1 else alpha * product
    return product if c is None else product + (c if beta == 1 else beta * c)


@operator
def clamp(x: Tensor, low: Tensor | None = None, high: Tensor | None = None, *, least: float | None = None, most: float | None = None) -> Tensor:
    """Between two bounds; what an activation or the range of a quantised tensor does."""
    least, most = (float(low) if low is not None else least), (float(high) if high is not None else most)
    return x if least is None and most is None else x.clamp(least, most)


@operator
def softmax(x: Tensor, *, axis: int, beta: float = 1.0) -> Tensor:
    """exp(beta x) over its sum."""
    return torch.softmax(x if beta == 1 else x * beta, axis)


@operator
def log_softmax(x: Tensor, *, axis: int, beta: float = 1.0) -> Tensor:
    """The logarithm of softmax."""
    return torch.log_softmax(x if beta == 1 else x * beta, axis)


@operator
def cast(x: Tensor, *, dtype: torch.dtype) -> Tensor:
    """As another type."""
    return x.to(dtype)


@operator
def leaky_relu(x: Tensor, *, slope: float) -> Tensor:
    """x, or slope x below zero."""
    return F.leaky_relu(x, slope)


@operator
def hard_sigmoid(x: Tensor, *, alpha: float, beta: float) -> Tensor:
    """alpha x + beta between 0 and 1."""
    return (alpha * x + beta).clamp(0, 1)


@operator
def identity(x: Tensor) -> Tensor:
    """x."""
    return x


OPERATORS |= {"relu": F.relu, "sigmoid": torch.sigmoid, "log_sigmoid": F.logsigmoid, "tanh": torch.tanh, "hard_swish": F.hardswish,
              "add": torch.add, "subtract": torch.sub,
              "multiply": torch.mul, "minimum": torch.minimum, "maximum": torch.maximum, "power": torch.pow, "root": torch.sqrt,
              "exponential": torch.exp, "logarithm": torch.log, "negative": torch.neg, "absolute": torch.abs, "reciprocal": torch.reciprocal,
              "reciprocal_root": torch.rsqrt, "error_function": torch.erf, "square": torch.square, "less": torch.lt, "greater": torch.gt, "equal": torch.eq,
              "sine": torch.sin, "cosine": torch.cos}
