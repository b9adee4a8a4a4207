"""Whether file, card and front end fit together, and how the file takes a batch."""
import contextlib
import dataclasses
import math
from pathlib import Path
from typing import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError, InputError, shown
from .card import FileCard
from .foreign import guarded
from .frontends import Features
from .imported.graph import Graph, Port

MOST_MEMORY = 4 << 30  # bytes that a network may take for two clips


def ports(graph: Graph, card: FileCard, named: str) -> tuple[Port, Port]:
    """Input and output with the scales that file or card give. Raises ConfigError: missing, or the two differ."""
    return _scaled(graph.input, "input", card, named), _scaled(graph.output, "output", card, named)


def _scaled(port: Port, which: str, card: FileCard, named: str) -> Port:
    scale, zero = getattr(card, f"{which}_scale"), getattr(card, f"{which}_zero_point")
    if not port.integer:
        if scale:
            raise ConfigError(f"{named}: its card gives {which}_scale, but the file's {which} is {port.dtype}")
        return port
    if scale and port.scale and not (math.isclose(scale, port.scale, rel_tol=1e-5) and zero == port.zero_point):
        raise ConfigError(f"{named}: its card gives {which}_scale {scale:g} and zero point {zero}, the file {port.scale:g} and {port.zero_point}")
    if not (scale or port.scale):
        raise ConfigError(f"{named}: its {which} is {port.dtype} and the file gives no scale: put {which}_scale and {which}_zero_point into its card")
    return port if port.scale else dataclasses.replace(port, scale=scale, zero_point=zero)


def fitting(card: FileCard, entry: Port, named: str) -> tuple[int, ...]:
    """The sizes of one clip's input. Raises ConfigError unless the front end makes as many numbers, in the same order of axes."""
    made = front_end_sizes(card, named)
    sizes, there = entry.sizes, tuple(size for size in made if size != 1)
    alike = len(sizes) == len(there) and all(size in (-1, other) for size, other in zip(sizes, there))
    flat = len(sizes) == 1 and sizes[0] in (-1, math.prod(there))
    if not (alike or flat):
        turned = tuple(reversed(there)) == sizes and len(sizes) == 2
        hint = "; the other layout would fit" if turned else ""
        raise ConfigError(f"{named}: expected an input of shape {shown((-1, *entry.shape[1:]))}, the front end of its card makes {shown((-1, *made))}{hint}")
    known = iter(there if alike else (math.prod(there),))
    return tuple(1 if size == 1 else next(known) for size in entry.shape[1:])


def front_end_sizes(card: FileCard, named: str) -> tuple[int, ...]:
    """The sizes of one clip's features."""
    features = Features(card.front_end, card.sample_rate)
    with torch.no_grad():
        made = guarded(lambda: features(torch.zeros(1, card.samples)), f"{named}: the front end of its card cannot hear {card.samples} samples")
    return tuple(made.shape[1:])


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    """A few GiB more than now and no further, while a file runs for the first time: its operators may ask for any size.

    Only where the system has such a limit.
    """
    try:
        import resource

        before = resource.getrlimit(resource.RLIMIT_AS)
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MOST_MEMORY, before[1]))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def settle(model: nn.Module, samples: int, exact: bool, named: str) -> nn.Module:
    """Try a `Deployed` on two clips: count its outputs, and let runtime and rebuilding take clips one by one where a batch does not work.

    Where the rebuilding does not run, or says something else than the runtime although nothing is quantised, the model becomes a black box that says why.

    Args:
        model: in evaluation mode.
        samples: of a clip.
        exact: nothing in the file is quantised, so that runtime and rebuilding must agree.
        named: the file as it stands in messages.

    Raises:
        InputError: the runtime cannot run the file.
        ConfigError: the card has another number of labels.
    """
    noise = torch.rand(2, samples, generator=torch.Generator().manual_seed(0)) * 0.2 - 0.1
    with torch.no_grad():
        features = model.front_end(noise)
        with bounded_memory():
            single = guarded(lambda: [model.runtime(row[None]) for row in features], f"{named}: the runtime cannot run it")
        if single[0].numel() != len(model.labels):
            raise ConfigError(f"{named}: expected {single[0].numel()} labels in its card, one for each output, got {len(model.labels)}")
        model.runtime.one_by_one = not _takes_batches(model.runtime, features, single)
        if model.surrogate is not None:
            try:
                rebuilt = [model.surrogate(row[None]) for row in features]
                model.surrogate.one_by_one = not _takes_batches(model.surrogate, features, rebuilt)
                heard = torch.cat(rebuilt) if model.floor is None else torch.cat(rebuilt).clamp_min(math.log(model.floor))
                if exact and not _alike(heard, model(noise)):
                    model.surrogate, model.why_no_gradient = None, f"{named}: its rebuilding in torch does not say what the runtime says"
            except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, InputError) as problem:
                model.surrogate, model.why_no_gradient = None, f"{named}: its rebuilding in torch does not run ({shown(str(problem))[:160]})"
    return model


def _takes_batches(function: nn.Module, features: Tensor, single: Sequence[Tensor]) -> bool:
    """Whether two clips together give what each alone gives."""
    try:
        return _alike(function(features), torch.cat([row.reshape(1, -1) for row in single]))
    except (RuntimeError, ValueError, IndexError):
        return False


def _alike(some: Tensor, others: Tensor) -> bool:
    """Whether two results are the same, up to rounding."""
    return some.numel() == others.numel() and bool((some.flatten() - others.flatten()).abs().max() <= 1e-3 + 0.02 * others.abs().max())
