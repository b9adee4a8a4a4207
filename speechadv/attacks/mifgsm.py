"""Momentum and varied inputs: perturbations that are meant for networks that were not seen (Dong et al. 2018; Xie et al. 2019)."""
import copy

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..goals import check_loss
from ..randomness import uniform
from ..registry import register
from .base import Attack, Problem
from .steps import Momentum


@register("attack", "mifgsm")
class MIFGSM(Attack):
    """Momentum iterative steps (Dong et al. 2018, arXiv:1710.06081, algorithm 1) on randomly varied inputs (Xie et al. 2019, arXiv:1803.06978, eq. 4).

    Every clip spends every step, and the last iterate counts: an example that only just works on the network at hand seldom works on another.
    Each gradient is the mean over copies of the clip, shifted in time and made louder or quieter, clip by clip.

    Args:
        steps: gradient steps.
        momentum: decay of the running sum of gradients.
        step_size: as a fraction of the budget; 0 stands for 2 / steps, at most 1.
        copies: varied copies for each gradient; each is a pass.
        shift: seconds by which a copy is moved at most, to either side.
        gain_db: dB by which a copy is changed in level at most, up or down.
        loss: "cross_entropy" or "margin".
        sample_rate: of the clips, in Hz, for `shift`.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(self, steps: int = 30, momentum: float = 1.0, step_size: float = 0.0, copies: int = 2, shift: float = 0.05, gain_db: float = 6.0,
                 loss: str = "cross_entropy", sample_rate: int = 16000):
        least = {"steps": (steps, 1), "momentum": (momentum, 0), "step_size": (step_size, 0), "copies": (copies, 1), "shift": (shift, 0),
                 "gain_db": (gain_db, 0), "sample_rate": (sample_rate, 1)}
        for name, (value, lowest) in least.items():
            if not value >= lowest:
                raise ConfigError(f"attack 'mifgsm': {name}: expected {lowest} or more, got {value}")
        self.steps, self.momentum, self.step_size = steps, momentum, step_size or min(1.0, 2.0 / steps)
        self.copies, self.shift, self.gain_db, self.loss = copies, round(shift * sample_rate), gain_db, check_loss(loss)

    def run(self, problem: Problem) -> Tensor:
        iterate, rule = torch.zeros_like(problem.clean), Momentum(self.step_size, self.momentum)
        for _ in range(self.steps):
            heard = problem.bound.rough(iterate)
            drawn = uniform(problem.generators, (self.copies, 2), iterate.device) * 2 - 1
            answers = [self._varied(problem, one).gradient(heard, self.loss) for one in drawn.unbind(1)]
            gradient, loss = sum(answer[2] for answer in answers), sum(answer[1] for answer in answers)
            iterate = rule.advance(problem.bound, iterate, gradient / self.copies, loss / self.copies)
        return iterate

    def _varied(self, problem: Problem, drawn: Tensor) -> Problem:
        """The problem as a network hears it whose clips are moved and changed in level; `drawn` (batch, 2) in [-1, 1)."""
        varied = copy.copy(problem)
        varied.model = Varied(problem.model, (drawn[:, 0] * self.shift).round().long(), 10 ** (drawn[:, 1] * self.gain_db / 20))
        return varied


class Varied(nn.Module):
    """A network that hears clip i moved by `shift[i]` samples, silence moving in, and `gain[i]` times as loud."""

    def __init__(self, model: nn.Module, shift: Tensor, gain: Tensor):
        super().__init__()
        self.model, self.shift, self.gain = model, shift, gain

    def forward(self, waveforms: Tensor) -> Tensor:
        # The clips may come several times over: a single one for `padded_call`, all of them where a random model is asked for several draws.
        shift, gain = (drawn.repeat(len(waveforms) // len(drawn)) for drawn in (self.shift, self.gain))
        place = torch.arange(waveforms.shape[1], device=waveforms.device) - shift[:, None]
        inside = (place >= 0) & (place < waveforms.shape[1])
        return self.model(waveforms.gather(1, place.clamp(0, waveforms.shape[1] - 1)) * inside * gain[:, None])
