"""Two stages, first heard and then hidden: a penalty on what stands above the masking threshold (Qin et al. 2019), beside the hard projection."""
import math

import torch
from torch import Tensor
from torch.nn.functional import relu

from ..budgets.base import Bound
from ..errors import ConfigError
from ..goals import check_loss
from ..masking import MaskingModel
from ..masking.spectrum import to_db
from ..registry import register
from .base import Problem
from .gradient import Best, ascend, unit
from .minimum import MinimumNorm, Shrinking, shrink
from .steps import Plain

MORE, LESS = 1.2, 0.8  # by which the penalty's weight changes where the goal is reached, and where it is not: the paper's factors
WEIGHTS = (1e-3, 1e3)  # of the penalty's gradient against the loss's, both of length 1


@register("attack", "qin")
class Qin(MinimumNorm):
    """A perturbation that reaches the goal, then one that is hidden under the clip's masking threshold as well as it can be (Qin et al. 2019,
    arXiv:1903.10346, section 4 and algorithm in the appendix).

    The first stage is gradient ascent until the goal is reached. The second follows loss and penalty together, the penalty being the mean over all
    bins of the dB by which the perturbation exceeds the threshold; its weight grows while the goal is reached and falls while it is not. Of all
    iterates that reach the goal the one with the least penalty is kept. Bins may stay above the threshold: nothing forbids it. The budget is the outer limit,
    such as linf:0.02.

    Args:
        steps: gradient steps of the first stage; a clip leaves it at its first success.
        hiding: gradient steps of the second.
        step_size: of the second stage, in the first perturbation's root mean square; falls to a tenth along a cosine.
        loss: of the first stage, "cross_entropy" or "margin"; the second follows the margin.
        calibration: "full-scale" or "clip-peak" (the paper's): what plays at 96 dB SPL.
        maskers: "both" or "tonal" (the paper's).
        sample_rate: of the clips, in Hz.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(self, steps: int = 40, hiding: int = 200, step_size: float = 0.1, loss: str = "cross_entropy", calibration: str = "full-scale",
                 maskers: str = "both", sample_rate: int = 16000):
        for name, value, least in (("steps", steps, 1), ("hiding", hiding, 1), ("step_size", step_size, 1e-6)):
            if not value >= least:
                raise ConfigError(f"attack 'qin': {name}: expected {least:g} or more, got {value}")
        self.steps, self.hiding, self.step_size, self.loss = steps, hiding, step_size, check_loss(loss)
        self.model = MaskingModel(sample_rate, calibration, maskers)

    def once(self, problem: Problem, restart: int, best: Best) -> None:
        first = Best(problem)
        rule = Plain(min(1.0, 2.5 / self.steps))
        ascend(problem, torch.zeros_like(problem.clean), steps=self.steps, rule=rule, loss=self.loss, full=False, best=first)
        threshold = self.model.threshold_db(problem.clean)
        hide = Hide(self.hiding, self.step_size, Penalty(self.model, threshold), first.perturbation)
        shrink(problem, first.perturbation, steps=self.hiding, rule=hide, loss="margin", quietest=True, best=best)


class Penalty:
    """Mean excess over the threshold, (batch,) dB, over all bins of all frames: the paper's hinge on log power, per clip."""

    def __init__(self, model: MaskingModel, threshold: Tensor):
        self.model, self.threshold = model, threshold

    def value(self, perturbation: Tensor) -> Tensor:
        """(batch, time) -> (batch,)."""
        return relu(to_db(self.model.spectrum.analyse(perturbation)) - self.threshold).mean((1, 2))

    def gradient(self, perturbation: Tensor) -> Tensor:
        """By the perturbation, (batch, time)."""
        with torch.enable_grad():
            variable = perturbation.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.value(variable).sum(), variable)
        return torch.nan_to_num(slope)

    def __getitem__(self, index: Tensor) -> "Penalty":
        """That of some of the clips."""
        return Penalty(self.model, self.threshold[index])


class Hide(Shrinking):
    """Steps along the loss's and the penalty's gradient, each of length 1, weighed against each other."""

    state = ("weight", "scale", "penalty")

    def __init__(self, steps: int, step_size: float, penalty: Penalty, start: Tensor):
        self.steps, self.step_size, self.penalty, self.count = steps, step_size, penalty, 0
        self.scale = start.norm(dim=1, keepdim=True)
        self.weight = torch.ones_like(self.scale)

    def cost(self, candidate: Tensor) -> Tensor:
        return self.penalty.value(candidate)

    def advance(self, bound: Bound, iterate: Tensor, gradient: Tensor, margin: Tensor, reached: Tensor) -> Tensor:
        self.weight = (self.weight * torch.where(reached[:, None], MORE, LESS)).clamp(*WEIGHTS)
        way = unit(unit(gradient) - self.weight * unit(self.penalty.gradient(iterate)))
        decay = 0.1 + 0.9 * (1 + math.cos(math.pi * self.count / self.steps)) / 2
        self.count += 1
        return bound.project(iterate + self.step_size * decay * self.scale * way)
