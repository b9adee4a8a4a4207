"""Several networks as one, in one file."""
import math
from pathlib import Path
from typing import Any, Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError, InputError, shown
from ..registry import create, register
from .pretrained import build, card_path, load_checkpoint, read_card, weights_path

DEFAULT = ({"model": "resnet"}, {"model": "resnet"})


@register("model", "committee")
class Committee(nn.Module):
    """The logarithm of the mean of its members' probabilities (deep ensembles: Lakshminarayanan et al. 2017, arXiv:1612.01474).

    Args:
        labels: the words of the outputs, in order.
        sample_rate: Hz.
        members: for each a table with `model`, a registered network, and its constructor keywords.

    Shapes: waveforms (batch, time) -> logits (batch, len(labels)).

    Raises:
        ConfigError: a member is not such a table.
    """

    def __init__(self, labels: Sequence[str], sample_rate: int = 16000, members: Sequence[dict[str, Any]] = DEFAULT):
        if not members:
            raise ConfigError("committee: members: expected one or more, got none")
        super().__init__()
        self.labels, self.sample_rate = tuple(labels), sample_rate
        self.members = nn.ModuleList(member_of(member, labels, sample_rate) for member in members)
        self.configuration = {"members": [dict(member) for member in members]}

    def forward(self, waveforms: Tensor) -> Tensor:
        heard = torch.stack([member(waveforms).log_softmax(1) for member in self.members])
        return heard.logsumexp(0) - math.log(len(self.members))


def member_of(member: Any, labels: Sequence[str], sample_rate: int) -> nn.Module:
    """A member with fresh weights. Raises ConfigError."""
    if not isinstance(member, dict) or not isinstance(member.get("model"), str):
        raise ConfigError(f"committee: members: expected tables with 'model', the name of a network, got {shown(repr(member))[:80]}")
    options = {key: value for key, value in member.items() if key != "model"}
    return create("model", member["model"], labels, sample_rate=sample_rate, **options)


def committee_of(words: Sequence[str]) -> Committee:
    """A committee of trained networks, in training mode, with the words and the rate of the first.

    Args:
        words: for each member a name of the package or `path/to/NAME.safetensors`, its card beside it.

    Raises:
        InputError: a network that is no entry of the registry.
        ConfigError: a member hears other words, or the same in another order, or at another rate.
        DataError: a word names neither, or its weights are damaged.
    """
    cards, members = cards_of(words), [load_checkpoint(file_of(word)) for word in words]
    for word, card, member in zip(words, cards, members):
        if ":" in card["architecture"]:
            raise InputError(f"members: '{shown(word)}': expected a network of the package, got {shown(card['architecture'])}")
        if (list(member.labels), member.sample_rate) != (list(members[0].labels), members[0].sample_rate):
            raise ConfigError(f"members: '{shown(word)}' hears {', '.join(member.labels)} at {member.sample_rate} Hz; expected the words of '{shown(words[0])}' in its "
                              f"order, {', '.join(members[0].labels)}, at {members[0].sample_rate} Hz")
    configuration = {"members": [{"model": card["architecture"], **card["configuration"]} for card in cards]}
    together = build(cards[0] | {"architecture": "committee", "configuration": configuration}, card_path(file_of(words[0])))
    together.members = nn.ModuleList(members)
    return together.train()


def cards_of(words: Sequence[str]) -> list[dict[str, Any]]:
    """The members' cards. Raises DataError."""
    return [read_card(file_of(word)) for word in words]


def file_of(word: str) -> Path:
    """A member's weights. Raises DataError: no name of the package."""
    return Path(word) if Path(word).suffix == ".safetensors" else weights_path(word)
