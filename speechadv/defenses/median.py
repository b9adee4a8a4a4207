"""Median filter: a sample becomes the middle one of its neighbourhood."""
import torch
from torch import Tensor

from ..audio import to_grid
from ..errors import ConfigError, shown
from ..registry import register
from .base import Defense, check_waveforms, straight_through, whole_number

WIDEST = 31


@register("defense", "median")
class Median(Defense):
    """The median of an odd number of samples around each (Yang et al. 2019, arXiv:1809.10875: local smoothing). No delay.

    The first and the last sample stand for those beyond the ends. The gradient is the filter's own: it goes to the sample that was the median.

    Args:
        size: samples, odd, 3 to 31.
        sample_rate: Hz.

    Raises:
        ConfigError: another size.
        InputError: waveforms that are no floating (batch, time).
    """

    def __init__(self, size: int = 3, sample_rate: int = 16000):
        super().__init__()
        if size not in range(3, WIDEST + 1, 2):
            raise ConfigError(f"defense median: expected an odd number of samples from 3 to {WIDEST}, got '{shown(size)}'")
        self.size, self.sample_rate, self.name = int(size), sample_rate, f"median:{int(size)}"

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Median":
        """From "3". Raises ConfigError."""
        return cls(whole_number(text, "median", f"median:SIZE, odd, from 3 to {WIDEST}"), sample_rate)

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        beside = self.size // 2
        padded = torch.cat([waveforms[:, :1].expand(-1, beside), waveforms, waveforms[:, -1:].expand(-1, beside)], 1)
        middle = padded.unfold(1, self.size, 1).median(-1).values
        return straight_through(to_grid(middle.detach()), middle)
