"""Momentum and varied inputs: perturbations that are meant for networks that were not seen (Dong et al. 2018; Xie et al. 2019)."""
from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor

from ..errors import ConfigError
from ..goals import check_loss
from ..randomness import normal, uniform
from ..registry import register
from .base import Attack, Problem
from .gradient import last_iterate
from .steps import Momentum
from .varied import varied


@register("attack", "mifgsm")
class MIFGSM(Attack):
    """Momentum iterative steps (Dong et al. 2018, arXiv:1710.06081, algorithm 1) on randomly varied inputs (Xie et al. 2019, arXiv:1803.06978, eq. 4).

    Every clip spends every step, and the last iterate counts: an example that only just works on the network at hand seldom works on another.
    Each gradient is the mean over copies of the clip, moved in time, played faster or slower, made louder or quieter, with noise, clip by clip.

    Args:
        steps: gradient steps.
        momentum: decay of the running sum of gradients.
        step_size: as a fraction of the budget; 0 stands for 2 / steps, at most 1.
        copies: varied copies for each gradient; each is a pass.
        shift: seconds by which a copy is moved at most, to either side.
        gain_db: dB by which a copy is changed in level at most, up or down.
        speed: share by which a copy is resampled at most, faster or slower; 0 for none.
        noise_db: signal-to-noise ratio of white noise that is added to a copy, in dB; 0 for none.
        loss: "cross_entropy" or "margin".
        sample_rate: of the clips, in Hz, for `shift`.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(self, steps: int = 30, momentum: float = 1.0, step_size: float = 0.0, copies: int = 2, shift: float = 0.05, gain_db: float = 6.0,
                 speed: float = 0.0, noise_db: float = 0.0, loss: str = "cross_entropy", sample_rate: int = 16000):
        least = {"steps": (steps, 1), "momentum": (momentum, 0), "step_size": (step_size, 0), "copies": (copies, 1), "shift": (shift, 0),
                 "gain_db": (gain_db, 0), "speed": (speed, 0), "noise_db": (noise_db, 0), "sample_rate": (sample_rate, 1)}
        for name, (value, lowest) in least.items():
            if not value >= lowest:
                raise ConfigError(f"attack 'mifgsm': {name}: expected {lowest} or more, got {value}")
        if speed > 0.5:
            raise ConfigError(f"attack 'mifgsm': speed: expected 0.5 or less, got {speed}")
        self.steps, self.momentum, self.step_size, self.copies = steps, momentum, step_size or min(1.0, 2.0 / steps), copies
        self.change, self.loss = Change(round(shift * sample_rate), gain_db, speed, noise_db), check_loss(loss)

    def run(self, problem: Problem) -> Tensor:
        rule = Momentum(self.step_size, self.momentum)
        return last_iterate(varied(problem, self.change, self.copies), torch.zeros_like(problem.clean), steps=self.steps, rule=rule, loss=self.loss)


@dataclass
class Change:
    """A random small change of clips: see `MIFGSM`. `shift` is in samples."""

    shift: int
    gain_db: float
    speed: float
    noise_db: float

    def __call__(self, waveforms: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """(batch, time) -> the same shape, row i by draws from generator i."""
        shift, gain, speed = (uniform(generators, (3,), waveforms.device) * 2 - 1).unbind(1)
        heard = resampled(waveforms, (shift * self.shift).round(), 1 + speed * self.speed) * 10 ** (gain * self.gain_db / 20)[:, None]
        if not self.noise_db:
            return heard
        noise = normal(generators, waveforms.shape[1:], waveforms.device)
        level = heard.detach().norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True).clamp(min=1e-12)
        return heard + noise * level * 10 ** (-self.noise_db / 20)


def resampled(waveforms: Tensor, shift: Tensor, speed: Tensor) -> Tensor:
    """Clip i of (batch, time) later by shift[i] samples and speed[i] times as fast about its middle, by lines between samples; silence moves in."""
    last = waveforms.shape[1] - 1
    place = torch.arange(last + 1, device=waveforms.device) - shift[:, None]
    place = torch.where((speed == 1)[:, None], place, (place - last / 2) * speed[:, None] + last / 2)
    left = place.floor()
    between = place - left

    def at(position: Tensor) -> Tensor:
        return waveforms.gather(1, position.long().clamp(0, last)) * ((position >= 0) & (position <= last))

    return at(left) * (1 - between) + at(left + 1) * between
