"""A model and its detector as one thing to attack: the attacker wants another word heard and no alarm."""
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..goals import Goal
from .base import Detector

CONFIDENT = 1.0  # logits: with a margin of so much the attack turns to the detector alone
SLACK, SLACK_OF_DRAWS = 0.02, 0.5  # of the scale: how far below the threshold the attack aims, so that no rounding, or no other draw, takes a clip back above it


class Watched(nn.Module):
    """A model whose last output is the score of a detector: (batch, time) -> (batch, classes + 1). Attacked with the goal `Undetected`.

    So the one gradient loop, its budgets, step rules, rounding and final verdict serve attacks on detectors as they are.

    Args:
        model: nn.Module with `labels` and `sample_rate`.
        detector: of the same sample rate.
        draws: passes that an attack averages its loss over where something is random.

    Raises:
        ConfigError: another sample rate.
    """

    def __init__(self, model: nn.Module, detector: Detector, draws: int = 1):
        super().__init__()
        if detector.sample_rate != model.sample_rate:
            raise ConfigError(f"detector '{detector.name}' is made for {detector.sample_rate} Hz, the model hears {model.sample_rate} Hz")
        self.model, self.detector, self._draws = model, detector, draws
        self.labels, self.sample_rate = model.labels, model.sample_rate  # of all outputs but the last
        self.training = model.training
        self.detector.train(model.training)

    @property
    def stochastic(self) -> bool:
        """Whether two calls may differ."""
        return bool(self.detector.stochastic or getattr(self.model, "stochastic", False))

    @property
    def draws(self) -> int:
        """Passes that an attack averages its loss over: 1 unless something is random."""
        return max(self._draws, getattr(self.model, "draws", 1)) if self.stochastic else 1

    def forward(self, waveforms: Tensor) -> Tensor:
        logits = self.model(waveforms)
        return torch.cat([logits, self.detector(self.model, waveforms, logits)[:, None]], 1)


class Undetected(Goal):
    """A goal of the model, and a score of the detector that is not above its threshold. For outputs of `Watched`.

    The loss is min(margin, CONFIDENT) - weight * log(1 + excess / scale), whatever its kind: the margin of the goal in logits, and how far the score lies above
    what the attack aims at. Each term is silent once it has what it wants. The logarithm leaves the way down as it is and brings scores that
    lie orders of magnitude above the threshold within reach of one weight.

    Args:
        goal: of the model.
        threshold: of the detector; above it a clip is suspected.
        scale: what counts as a large difference between scores, above 0.
        weight: (batch,), of the detector's term.
        slack: how far below the threshold the attack aims, as a share of the scale; more where the score is drawn anew each time.
    """

    def __init__(self, goal: Goal, threshold: float, scale: float, weight: Tensor, slack: float = SLACK):
        super().__init__(goal.labels)
        self.goal, self.threshold, self.scale, self.weight, self.slack = goal, threshold, scale, weight, slack

    @property
    def aim(self) -> float:
        """The score that the attack is content with."""
        return self.threshold - self.slack * self.scale

    def select(self, index: Tensor) -> "Undetected":
        return Undetected(self.goal.select(index), self.threshold, self.scale, self.weight[index], self.slack)

    def loss(self, logits: Tensor, kind: str = "margin") -> Tensor:
        """(batch, classes + 1) -> (batch,), see above."""
        excess = ((logits[:, -1] - self.aim) / self.scale).clamp(min=0)
        return self.goal.loss(logits[:, :-1], "margin").clamp(max=CONFIDENT) - self.weight * excess.log1p()

    def reached(self, logits: Tensor) -> Tensor:
        return self.goal.reached(logits[:, :-1]) & (logits[:, -1] <= self.aim)
