"""Random shift: the clip comes earlier or later, by how much is drawn."""
from torch import Tensor

from ..audio import to_grid
from ..errors import ConfigError, shown
from ..randomness import uniform
from ..registry import register
from ..rooms import moved
from .base import Defense, check_waveforms, straight_through, whole_number

LONGEST = 500  # ms


@register("defense", "shift")
class Shift(Defense):
    """The clip moved by up to so many milliseconds to either side, silence moving in (Xie et al. 2018, arXiv:1711.01991, in time instead of an image).

    Drawn anew for every clip and pass, uniformly among whole samples. It moves the clip on purpose. The gradient moves back; attacks average over draws.

    Args:
        milliseconds: the largest shift, 1 to 500.
        sample_rate: Hz.

    Raises:
        ConfigError: another shift.
        InputError: waveforms that are no floating (batch, time), or as many generators as there are clips are missing.
    """

    stochastic = True
    moves = True  # the clip, on purpose

    def __init__(self, milliseconds: int = 50, sample_rate: int = 16000):
        super().__init__()
        if isinstance(milliseconds, bool) or milliseconds not in range(1, LONGEST + 1):
            raise ConfigError(f"defense shift: expected 1 to {LONGEST} ms, got '{shown(milliseconds)}'")
        self.milliseconds, self.sample_rate, self.name = int(milliseconds), sample_rate, f"shift:{int(milliseconds)}"
        self.most = round(self.milliseconds * sample_rate / 1000)  # samples

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Shift":
        """From "50", ms. Raises ConfigError."""
        return cls(whole_number(text, "shift", f"shift:MS, 1 to {LONGEST}"), sample_rate)

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        drawn = uniform(self.generators_for(waveforms), (1,), waveforms.device)[:, 0]
        heard = moved(waveforms, (drawn * (2 * self.most + 1)).long().clamp(max=2 * self.most) - self.most)
        return straight_through(to_grid(heard.detach()), heard)
