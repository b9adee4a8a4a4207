"""The attacker who knows the detector: gradient descent on model and detector together, the weight between them searched for each clip."""
import dataclasses
from dataclasses import dataclass
from typing import Callable, Sequence

import torch
from torch import Tensor

from ..attacks.base import Attack, frozen, padded_call
from ..budgets.base import Budget
from ..detectors import Undetected, Watched
from ..detectors.watched import SLACK, SLACK_OF_DRAWS
from ..goals import Goal

FIRST, FASTER = 1.0, 4.0  # the weight that is tried first; by how much it grows or shrinks until both sides are known
LOOKS = 8  # passes whose mean tells the attacker where a clip stands, where something is random
Generators = Callable[[int], Sequence[torch.Generator]]  # one a clip, for the round of this number


@dataclass
class Evasion:
    """What the attacker sends, a row a clip: a clip that fools the model unseen, else one that fools it with the lowest score, else the one nearest to both.

    Attributes:
        adversarial: (batch, time), on the 16-bit grid.
        fooled: (batch,) bool, the goal of the model alone.
        score: (batch,) of the detector; a mean of several looks where it is random.
        weight: (batch,) with which it was found; NaN for what the attacker had before.
        passes, queries: (batch,) int64, spent in all rounds; a pass goes through model and detector together.
    """

    adversarial: Tensor
    fooled: Tensor
    score: Tensor
    weight: Tensor
    passes: Tensor
    queries: Tensor

    def offer(self, rows: Tensor, other: "Evasion") -> None:
        """Take what is better for these clips; what was spent adds up."""
        better = (other.fooled & ~self.fooled[rows]) | ((other.fooled == self.fooled[rows]) & (other.score < self.score[rows]))
        for field in dataclasses.fields(self):
            mine, new = getattr(self, field.name), getattr(other, field.name)
            if field.name in ("passes", "queries"):
                mine[rows] += new
            else:
                mine[rows[better]] = new[better]


def judged(watched: Watched, waveforms: Tensor, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
    """(logits (batch, classes), score (batch,)): one pass of model and detector as they are deployed."""
    with frozen(watched), torch.no_grad():
        outputs = padded_call(watched, waveforms, generators)
    return outputs[:, :-1], outputs[:, -1]


def evade(watched: Watched, attack: Attack, clean: Tensor, goal: Goal, budget: Budget, *, threshold: float, scale: float, searches: int, start: Tensor,
          generators: Generators) -> Evasion:
    """Look for clips that fool the model and are not suspected (the objective of Carlini & Wagner 2017, arXiv:1705.07263, with the weight found by bisection).

    In each round those clips that are not there yet are attacked with a weight of their own: larger than before where the model was fooled and the
    detector saw it, smaller where the model was not fooled; by factors at first, then the geometric mean of the nearest two. Clips with which not even `start`, which
    had the model alone to fool, fools it are left as they are.

    Args:
        watched: model and detector.
        attack: a gradient attack that follows the goal's own loss.
        clean: (batch, time) clips that are heard right.
        goal: of the model, for these clips.
        budget: how far each clip may move.
        threshold, scale: of the detector, see `Undetected`.
        searches: rounds.
        start: (batch, time) what the attacker has already: adversarial clips that were made without the detector in mind.
        generators: for the verdict on `start` (round 0), and for the attack and the verdict of each round.
    """
    found = _sent(watched, start, goal, generators(0))
    slack, hopeless = SLACK_OF_DRAWS if watched.stochastic else SLACK, ~found.fooled
    enough = threshold - slack * scale if watched.stochastic else threshold  # one that is just below on average is seen every other time
    low, weight, high = (torch.full_like(found.score, value) for value in (0.0, FIRST, torch.inf))
    for search in range(searches):
        rows = (~(hopeless | found.fooled & (found.score <= enough))).nonzero().squeeze(1)
        if not len(rows):
            break
        mine = goal.select(rows)
        drawn = [generators(search + 1)[row] for row in rows.tolist()]
        result = attack(watched, clean[rows], Undetected(mine, threshold, scale, weight[rows], slack), budget, generators=drawn)
        sent = _sent(watched, result.adversarial, mine, drawn, weight[rows], result.passes, result.queries)
        found.offer(rows, sent)
        low[rows], high[rows] = torch.where(sent.fooled, weight[rows], low[rows]), torch.where(sent.fooled, high[rows], weight[rows])
        weight = torch.where(high.isinf(), FASTER * weight, torch.where(low == 0, weight / FASTER, (low * high.nan_to_num(posinf=0.0)).sqrt()))
    return found


def _sent(watched: Watched, adversarial: Tensor, goal: Goal, generators: Sequence[torch.Generator], weight: Tensor | None = None, passes: Tensor | None = None,
          queries: Tensor | None = None) -> Evasion:
    """A candidate for each clip, judged as it would be deployed, several times where something is random."""
    looks = [judged(watched, adversarial, generators) for _ in range(LOOKS if watched.stochastic else 1)]
    logits, score = (torch.stack(part).mean(0) for part in zip(*looks))
    nothing = torch.zeros(len(adversarial), dtype=torch.int64, device=adversarial.device)
    weight = torch.full_like(score, torch.nan) if weight is None else weight
    return Evasion(adversarial.clone(), goal.reached(logits), score, weight, nothing.clone() if passes is None else passes, nothing.clone() if queries is None else queries)
