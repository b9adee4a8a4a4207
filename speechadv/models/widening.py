"""A wider residual network that begins as a narrower one which has learned already (Net2Net: Chen et al. 2016, arXiv:1511.05641)."""
import torch
from torch import Tensor

from ..errors import ConfigError
from .resnet import ResNet

SPREAD = 0.05  # relative standard deviation of what tells a copied kernel from its original


def widen(narrow: ResNet, wide: ResNet, generator: torch.Generator, spread: float = SPREAD) -> None:
    """Give the wide network the narrow one's weights: its further channels are copies of random ones, whose share in what follows is divided among the copies.

    Without a spread both networks hear the same; copies that are all alike would learn the same as well.

    Args:
        narrow: the network that has learned; it stays as it is.
        wide: of the same layers, none of them narrower; filled in place.
        generator: of the choice of channels and of the spread.
        spread: relative standard deviation of the noise on the kernels.

    Raises:
        ConfigError: the networks are not residual CNNs of as many blocks, or a layer of the wide one is narrower.
    """
    if not (isinstance(narrow, ResNet) and isinstance(wide, ResNet) and len(narrow.blocks) == len(wide.blocks)):
        raise ConfigError("widen: expected two resnets of as many blocks")
    maps = channel_maps(widths_of(narrow), widths_of(wide), generator)
    weights = {}
    for name, old in narrow.state_dict().items():
        into, outof = places(name, maps)
        new = copied(old, into, outof)
        weights[name] = new * (1 + spread * torch.randn(new.shape, generator=generator)) if new.ndim == 4 else new
    wide.load_state_dict(weights)


def widths_of(network: ResNet) -> list[int]:
    """Channels of the stem and of each block."""
    return [len(network.stem[0][0].weight), *(len(block.second[0].weight) for block in network.blocks)]


def channel_maps(narrow: list[int], wide: list[int], generator: torch.Generator) -> list[Tensor]:
    """For each width the channel of the narrow network that each channel of the wide one copies. Blocks of one width share a map: their shortcuts pass channels on as they are.
    Each map is int64 (channels of the wide one,). Raises ConfigError: a width is smaller than it was, or blocks of one width have two."""
    maps: list[Tensor] = []
    for place, (few, many) in enumerate(zip(narrow, wide)):
        if many < few:
            raise ConfigError(f"widen: expected at least {few} channels, got {many}")
        shared = place > 0 and few == narrow[place - 1]
        if shared and many != wide[place - 1]:
            raise ConfigError(f"widen: expected {wide[place - 1]} channels as in the block before, as in the narrower network, got {many}")
        maps.append(maps[-1] if shared else torch.cat([torch.arange(few), torch.randint(0, few, (many - few,), generator=generator)]))
    return maps


def places(name: str, maps: list[Tensor]) -> tuple[Tensor | None, Tensor | None]:
    """The maps of what a weight of that name gives and takes; None where the wide network has as many."""
    if name.startswith("frontend"):
        return None, None
    if name.startswith("stem"):
        return maps[0], None
    if not name.startswith("blocks"):
        return None, maps[-1]
    _, block, layer, *_ = name.split(".")
    return maps[int(block) + 1], maps[int(block) + (layer == "second")]


def copied(old: Tensor, into: Tensor | None, outof: Tensor | None) -> Tensor:
    """A weight with its rows copied by one map and its columns by another, each column divided by the number of its copies."""
    new = old if into is None or not old.ndim else old[into]
    if outof is None or old.ndim < 2:
        return new
    copies = torch.bincount(outof)[outof].to(new)
    return new[:, outof] / copies.view(1, -1, *[1] * (new.ndim - 2))
