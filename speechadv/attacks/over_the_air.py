"""Examples to be played: the expectation over rooms, levels, moments and noise (Athalye et al. 2018; Qin et al. 2019; Yakura & Sakuma 2019)."""
import torch
from torch import Tensor

from .. import rooms as acoustics
from ..errors import ConfigError
from ..goals import check_loss
from ..registry import register
from .base import Attack, Problem
from .gradient import last_iterate
from .steps import Momentum
from .varied import varied


@register("attack", "over_the_air")
class OverTheAir(Attack):
    """Gradient steps on the mean loss over draws of the way through the air (Athalye et al. 2018, arXiv:1707.07397; for sound and rooms Qin et al.
    2019, arXiv:1903.10346, section 5, and Yakura & Sakuma 2019, arXiv:1810.11793).

    Every clip spends every step, and the last iterate counts: the best one would be that of the luckiest draws. What is reported as `reached` is
    the clip as a file; whether it works in rooms that the attack never saw, a defense such as air:1000-1019 says.

    Args:
        steps: gradient steps.
        rooms: "0-29", simulated rooms by their numbers, or a folder of measured impulse responses; not those that it is scored in.
        copies: draws for each gradient; each is a pass.
        gain_db: by which the level changes at most, up or down.
        shift: seconds by which a clip comes earlier or later at most.
        noise_db: the least signal-to-noise ratio of the background noise in dB.
        step_size: as a fraction of the budget; 0 stands for 2.5 / steps, at most 1.
        momentum: decay of the running sum of gradients.
        loss: "cross_entropy" or "margin".
        sample_rate: of the clips, in Hz.

    Raises:
        ConfigError: a value out of range, or no such folder. SpeechAdvError: pyroomacoustics is not installed.
    """

    sent = True

    def __init__(self, steps: int = 60, rooms: str = "0-29", copies: int = 4, gain_db: float = 6.0, shift: float = 0.05, noise_db: float = 20.0,
                 step_size: float = 0.0, momentum: float = 0.9, loss: str = "cross_entropy", sample_rate: int = 16000):
        for name, value, least in (("steps", steps, 1), ("copies", copies, 1), ("step_size", step_size, 0), ("momentum", momentum, 0), ("shift", shift, 0)):
            if not value >= least:
                raise ConfigError(f"attack 'over_the_air': {name}: expected {least} or more, got {value}")
        self.steps, self.rooms, self.copies, self.momentum, self.loss = steps, rooms, copies, momentum, check_loss(loss)
        self.step_size = step_size or min(1.0, 2.5 / steps)
        self.air = acoustics.Air(acoustics.responses(rooms, sample_rate), gain_db, round(shift * sample_rate), noise_db)

    def run(self, problem: Problem) -> Tensor:
        rule = Momentum(self.step_size, self.momentum)
        return last_iterate(varied(problem, self.air, self.copies), torch.zeros_like(problem.clean), steps=self.steps, rule=rule, loss=self.loss)
