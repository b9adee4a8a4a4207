"""Examples that must hold under changes which nobody can foresee: gradients at randomly varied copies of a clip, and the last iterate counts."""
import copy
from typing import Callable, Sequence

import torch
from torch import Tensor, nn

from .base import Problem

Change = Callable[[Tensor, Sequence[torch.Generator]], Tensor]


class Varied(nn.Module):
    """A network that hears each clip changed at random, anew at every pass; losses are averaged over `draws` of them.

    Args:
        model: the network; where it is random itself, each draw draws there too.
        change: (batch, time) and a generator a clip -> (batch, time).
        draws: passes for each gradient, at least as many as the model asks for.
    """

    stochastic = True

    def __init__(self, model: nn.Module, change: Change, draws: int):
        super().__init__()
        self.model, self.change, self.draws = model, change, max(draws, getattr(model, "draws", 1))
        self.generators: Sequence[torch.Generator] | None = None  # set by `randomness.drawing`

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.model(self.change(waveforms, self.generators))


def varied(problem: Problem, change: Change, draws: int) -> Problem:
    """The problem as the network hears it through a random change."""
    other = copy.copy(problem)
    other.model = Varied(problem.model, change, draws)
    other.draws = other.model.draws
    return other
