"""Random numbers that depend on the seed, the cell and the clip alone: never on batch size, order or the number of workers."""
import contextlib
import hashlib
from typing import Iterator, Sequence

import torch
from torch import Tensor, nn

from .errors import InputError


def derived_seed(seed: int, *parts: object) -> int:
    """A 63-bit seed from a base seed and any number of names, the same on every machine (BLAKE2, not Python's salted hash)."""
    text = "\0".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1


def clip_generators(seed: int, cell: str, clips: Sequence[str]) -> list[torch.Generator]:
    """One CPU generator a clip, so that a clip's draws do not depend on its neighbours in the batch."""
    return [torch.Generator().manual_seed(derived_seed(seed, cell, clip)) for clip in clips]


def uniform(generators: Sequence[torch.Generator], shape: Sequence[int], device=None) -> Tensor:
    """(len(generators), *shape) numbers uniform in [0, 1), row i from generator i."""
    return torch.stack([torch.rand(*shape, generator=g) for g in generators]).to(device)


def normal(generators: Sequence[torch.Generator], shape: Sequence[int], device=None) -> Tensor:
    """(len(generators), *shape) standard normal numbers, row i from generator i."""
    return torch.stack([torch.randn(*shape, generator=g) for g in generators]).to(device)


class Draws:
    """Mixed into a module that may be random: where its numbers come from.

    Attributes:
        role, name: what an error calls it.
        stochastic: whether two calls may differ.
        generators: one a clip of the next batch, where it is random; `drawing` sets them.
    """

    role = "module"
    name: str
    stochastic = False
    generators: Sequence[torch.Generator] | None = None

    def generators_for(self, waveforms: Tensor) -> list[torch.Generator]:
        """What to draw from, one generator a clip: those that were passed in, without these new ones seeded by the system.

        Raises InputError: the generators that were passed in are not as many as the clips.
        """
        if self.generators is None:
            generators = [torch.Generator() for _ in waveforms]
            for generator in generators:
                generator.seed()
            return generators
        if len(self.generators) != len(waveforms):
            raise InputError(f"{self.role} '{self.name}': expected {len(waveforms)} generators, one a clip, got {len(self.generators)}")
        return list(self.generators)


def random_parts(model: nn.Module) -> list[nn.Module]:
    """The parts of a model that draw when it is called."""
    return [part for part in model.modules() if hasattr(part, "generators") and part.stochastic]


def apart(model: nn.Module, generators: Sequence[torch.Generator], times: int) -> list[list[torch.Generator]]:
    """For each of these generators, one a clip, as many as the clip is heard `times`, each seeded by a number from it.

    Where a model draws twice in a call, several rows of one clip that shared a generator would draw in an order that hangs on which rows are in the call.
    A model that draws nothing, or once for each clip, gets the clip's own.
    """
    if times == 1 or not random_parts(model):
        return [[generator] * times for generator in generators]
    return [[torch.Generator().manual_seed(int(torch.randint(2**63 - 1, (1,), generator=generator))) for _ in range(times)] for generator in generators]


@contextlib.contextmanager
def drawing(model: nn.Module, generators: Sequence[torch.Generator]) -> Iterator[None]:
    """Within, each random part of the model (a module with `stochastic` true and an attribute `generators`) draws for row i from generator i.

    Without generators nothing is set, and the parts draw as they do on their own.
    """
    parts = random_parts(model) if len(generators) else []
    before = [part.generators for part in parts]
    try:
        for part in parts:
            part.generators = list(generators)
        yield
    finally:
        for part, own in zip(parts, before):
            part.generators = own
