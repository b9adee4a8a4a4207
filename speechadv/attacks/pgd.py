"""Projected gradient descent and its single step (Goodfellow et al. 2015; Madry et al. 2018)."""
import torch
from torch import Tensor

from ..errors import ConfigError
from ..goals import check_loss
from ..registry import register
from .base import Attack, Problem
from .gradient import Best, ascend
from .steps import Adam, Momentum, Plain


@register("attack", "pgd")
class PGD(Attack):
    """Projected gradient descent (Madry et al. 2018, arXiv:1706.06083), targeted or untargeted as the goal says.

    Args:
        steps: gradient steps a start.
        step_size: as a fraction of the budget; 0 stands for 2.5 / steps, at most 1.
        loss: "cross_entropy" or "margin" (the difference of logits, Carlini & Wagner 2017), which label smoothing cannot saturate.
        momentum: 0 for plain steps, else the decay of the running sum of gradients (Dong et al. 2018).
        optimizer: "steepest" follows the budget's steepest direction, "adam" Adam's.
        restarts: independent starts; the later ones only for clips that are not there yet, unless `full`.
        random_start: begin at a random point of the budget; later restarts always do.
        full: the strongest example that the budget allows: every step for every clip, and the highest loss is kept.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(self, steps: int = 40, step_size: float = 0.0, loss: str = "cross_entropy", momentum: float = 0.0,
                 optimizer: str = "steepest", restarts: int = 1, random_start: bool = True, full: bool = False):
        for name, value, least in (("steps", steps, 1), ("restarts", restarts, 1), ("step_size", step_size, 0), ("momentum", momentum, 0)):
            if not value >= least:
                raise ConfigError(f"attack 'pgd': {name}: expected {least} or more, got {value}")
        if optimizer not in ("steepest", "adam") or optimizer == "adam" and momentum:
            raise ConfigError(f"attack 'pgd': optimizer: expected steepest or adam (which has a momentum of its own), got {optimizer}, momentum {momentum}")
        self.optimizer = optimizer
        self.steps, self.loss, self.momentum, self.restarts = steps, check_loss(loss), momentum, restarts
        self.step_size = step_size or min(1.0, 2.5 / steps)
        self.random_start, self.full = random_start, full

    def run(self, problem: Problem) -> Tensor:
        best = Best(problem)
        for restart in range(self.restarts):
            rows = torch.ones_like(best.reached) if self.full else ~best.reached
            if not rows.any():
                break
            self._once(problem.select(rows), restart, best, rows.nonzero().squeeze(1))
        return best.perturbation

    def _once(self, problem: Problem, restart: int, best: Best, rows: Tensor) -> None:
        mine = Best(problem)
        ascend(problem, self.start(problem, restart), steps=self.steps, rule=self.rule(), loss=self.loss, full=self.full, best=mine)
        best.offer(rows, mine.perturbation, mine.loss, mine.reached)

    def start(self, problem: Problem, restart: int = 0) -> Tensor:
        """Where a restart begins."""
        drawn = self.random_start or restart
        return problem.bound.random_start(problem.generators) if drawn else torch.zeros_like(problem.clean)

    def rule(self) -> Plain:
        """A fresh step rule."""
        if self.optimizer == "adam":
            return Adam(self.step_size)
        return Momentum(self.step_size, self.momentum) if self.momentum else Plain(self.step_size)


@register("attack", "fgsm")
class FGSM(PGD):
    """One step across the whole budget from the clean clip (Goodfellow et al. 2015, arXiv:1412.6572).

    Args:
        loss: as for `PGD`.
    """

    def __init__(self, loss: str = "cross_entropy"):
        super().__init__(steps=1, step_size=1.0, loss=loss, random_start=False)


@register("attack", "noise")
class Noise(Attack):
    """A random perturbation of the budget's full size: what chance alone does, to stand beside every attack.

    Args:
        draws: independent draws; a clip that is there leaves.
    """

    white_box, label_suffices, one_by_one = False, True, True

    def __init__(self, draws: int = 1):
        if draws < 1:
            raise ConfigError(f"attack 'noise': draws: expected 1 or more, got {draws}")
        self.draws = draws

    def run(self, problem: Problem) -> Tensor:
        best = Best(problem)
        for _ in range(self.draws):
            rows = (~best.reached).nonzero().squeeze(1)
            if not len(rows):
                break
            part = problem.select(rows)
            drawn = part.bound.steepest(part.bound.random_start(part.generators)) * part.bound.size()
            candidate = part.bound.quantise(drawn)
            logits = part.expected(candidate)
            best.offer(rows, candidate, part.goal.loss(logits, "margin"), part.goal.reached(logits))
        return best.perturbation
