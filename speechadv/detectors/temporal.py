"""Temporal consistency: a word is heard as the same word a little earlier or later, and in what is left when a part of the clip is silenced."""
import torch
from torch import Tensor, nn

from ..errors import ConfigError, InputError
from ..registry import register
from .base import Detector, divergence, heard_again, number, options, whole

EXAMPLE = "temporal:shift=50,parts=4"


@register("detector", "temporal")
class Temporal(Detector):
    """The mean distance between the network's answer to a clip and its answers to the same clip moved in time and with parts of it silenced.

    Yang et al. 2019 (arXiv:1809.10875, section 4) compare the transcript of the first part of a recording with the first part of the transcript of all of it. A clip
    with one word has no such parts, so this is asked instead: the clip is heard `shift` ms earlier and as much later, silence in the place of what left
    it; and, cut into `parts` equal parts, once without each of them, that part silenced. With two parts these are the halves of the clip. The distance is
    the divergence of the two answers, and all of these clips count alike.

    Args:
        shift: ms by which the clip is moved; 0 for not at all.
        parts: equal parts that are silenced in turn; 0 for none, else 2 to 64.
        sample_rate: Hz.

    Raises:
        ConfigError: a value out of range, or nothing to compare with.
        InputError: waveforms that are no floating (batch, time), or clips too short to be moved or cut like that.
    """

    def __init__(self, shift: float = 50.0, parts: int = 4, sample_rate: int = 16000):
        super().__init__()
        self.shift, self.parts, self.sample_rate = number(shift, "temporal", "shift", 0, 10_000), whole(parts, "temporal", "parts", 0, 64), sample_rate
        self.samples = round(self.shift * sample_rate / 1000)
        if self.parts == 1 or not (self.samples or self.parts):
            raise ConfigError(f"detector temporal: expected {EXAMPLE}, a shift above 0 or two parts or more, got shift={self.shift:g},parts={self.parts}")
        self.name = f"temporal:shift={self.shift:.6f}".rstrip("0").rstrip(".") + f",parts={self.parts}"

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Temporal":
        """From "" or "shift=50,parts=4"; of what is not named the default. Raises ConfigError."""
        return cls(**options(text, "temporal", {"shift": 50.0, "parts": 4.0}, EXAMPLE), sample_rate=sample_rate)

    def score(self, model: nn.Module, waveforms: Tensor, logits: Tensor) -> Tensor:
        if waveforms.shape[1] <= max(self.samples, self.parts):
            raise InputError(f"detector '{self.name}': expected clips of more than {max(self.samples, self.parts)} samples, got {waveforms.shape[1]}")
        others = [*self._moved(waveforms), *self._cut(waveforms)]
        with heard_again(model, len(others), by_clip=False):
            answers = model(torch.cat(others)).unflatten(0, (len(others), len(waveforms)))
        return torch.stack([divergence(logits, answer) for answer in answers]).mean(0)

    def _moved(self, waveforms: Tensor) -> list[Tensor]:
        """Earlier and later."""
        gone = torch.zeros_like(waveforms[:, : self.samples])
        return [torch.cat([waveforms[:, self.samples :], gone], 1), torch.cat([gone, waveforms[:, : -self.samples]], 1)] if self.samples else []

    def _cut(self, waveforms: Tensor) -> list[Tensor]:
        """Without each part."""
        place = torch.arange(waveforms.shape[1], device=waveforms.device) * max(self.parts, 1) // waveforms.shape[1]
        return [waveforms * (place != part) for part in range(self.parts)]
