"""The contract of a detector: one number a clip, higher where the clip looks more like an attack."""
import contextlib
import re
from typing import Iterator

import torch
from torch import Tensor, nn

from ..defenses.base import check_waveforms
from ..errors import ConfigError, InputError, shown
from ..randomness import Draws, apart, drawing, random_parts


@contextlib.contextmanager
def heard_again(model: nn.Module, times: int, by_clip: bool) -> Iterator[None]:
    """Within, a random model hears each clip of a batch `times` in one call: all of a clip's rows after each other (`by_clip`), or all clips after each other."""
    parts = random_parts(model)
    if not parts or parts[0].generators is None:
        yield
        return
    own = apart(model, parts[0].generators, times)
    with drawing(model, [g for clip in own for g in clip] if by_clip else [clip[number] for number in range(times) for clip in own]):
        yield


class Detector(Draws, nn.Module):
    """Something that looks at a clip and at what a network makes of it, and says how suspicious both are.

    The score has no unit of its own: a threshold that is fixed on clean clips makes a verdict of it, above which a clip is suspected. It can be
    differentiated by the waveforms, for attackers who know the detector: what has no useful gradient passes back that of a stand-in, as defenses do.

    Attributes:
        name: the specification that makes it again, such as "disagreement:mp3:16": `parse_detector(d.name)` gives an equal detector.
        sample_rate: Hz of the waveforms it is made for.
        stochastic: whether two calls may differ.
        generators: of a stochastic detector, one a clip of the next batch; `speechadv.randomness.drawing` sets them.
    """

    role = "detector"
    name: str
    sample_rate: int = 16000

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Detector":
        """Make the detector from what follows the colon in its specification ("" where there is none). Raises ConfigError."""
        raise NotImplementedError(f"{cls.__name__}.from_spec")

    def forward(self, model: nn.Module, waveforms: Tensor, logits: Tensor | None = None) -> Tensor:
        """How suspicious each clip is.

        Args:
            model: the classifier whose input is watched, in evaluation mode; a part of the score, never changed.
            waveforms: (batch, time) floating point in [-1, 1).
            logits: what the model says of these very waveforms, (batch, classes), where the caller has it already.

        Returns:
            (batch,), higher is more suspicious.

        Raises:
            InputError: other shapes, or a model with a single label.
        """
        check_waveforms(waveforms)
        logits = model(waveforms) if logits is None else logits
        if logits.ndim != 2 or logits.shape[1] < 2:
            raise InputError(f"detector '{self.name}': expected a model with two labels or more, got outputs of shape {tuple(logits.shape)}")
        return self.score(model, waveforms, logits)

    def score(self, model: nn.Module, waveforms: Tensor, logits: Tensor) -> Tensor:
        """What authors write: (batch,) from checked waveforms (batch, time) and their logits (batch, classes)."""
        raise NotImplementedError(f"{type(self).__name__}.score")


def divergence(one: Tensor, other: Tensor) -> Tensor:
    """How far two answers are apart, (batch, classes) logits each -> (batch,) nats: Jeffreys' divergence of the two distributions (Jeffreys 1946).

    It is 0 where both are alike and grows without bound, so that neither a threshold nor a gradient is lost where a network is sure of itself.
    """
    p, q = one.log_softmax(1), other.log_softmax(1)
    return ((p.exp() - q.exp()) * (p - q)).sum(1)


def gap(logits: Tensor, labels: Tensor) -> Tensor:
    """Logit of a label minus the largest other one: (batch, classes), (batch,) int64 -> (batch,)."""
    own = logits.gather(1, labels[:, None])
    return own.squeeze(1) - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def options(text: str, kind: str, known: dict[str, float], example: str) -> dict[str, float]:
    """Numbers from "shift=50,parts=4": those of `known` that the text names, with its values. Raises ConfigError."""
    found: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"([a-z_]+)=([0-9]{1,6}(?:\.[0-9]{1,9})?)", part)
        if match is None or match[1] not in known or match[1] in found:
            raise ConfigError(f"detector {kind}: expected {example} with {', '.join(known)}, each once, got '{kind}:{shown(text)}'")
        found[match[1]] = float(match[2])
    return known | found


def whole(value: float, kind: str, name: str, least: int, most: int) -> int:
    """A whole number in a range. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or not least <= value <= most or int(value) != value:
        raise ConfigError(f"detector {kind}: {name}: expected a whole number from {least} to {most}, got {shown(value)}")
    return int(value)


def number(value: float, kind: str, name: str, least: float, most: float) -> float:
    """A number in a range. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ConfigError(f"detector {kind}: {name}: expected a number from {least:g} to {most:g}, got {shown(value)}")
    return float(value)
