"""What a checkpoint is chosen by: accuracy on validation, under attack where the network is trained against one."""
from typing import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..attacks.base import Attack, padded_call
from ..attacks.pgd import PGD
from ..budgets import parse_budget
from ..defenses import Defense
from ..goals import Misclassify
from ..models.layers import folded
from ..randomness import clip_generators, normal
from .ear import behind
from .examples import Examples
from .processes import ALONE, Group


class Validator:
    """Scores a network on validation clips.

    Args:
        examples: of the validation split.
        budget: of the adversary, or None for clean accuracy alone.
        attacked: how many of the clips are attacked; a fixed random part.
        steps: of each of the two attacks, PGD with cross-entropy and with the margin loss; a clip counts as right if it survives both.
        seed: of the random starts.
        defenses: what the network is heard and attacked behind.
        noise_sigma: standard deviation of the white noise that it is trained under: accuracy under noise is then told, and chosen by where there is no budget.
        watched: training clips that are scored in the same way.
    """

    def __init__(self, examples: Examples, budget: str | None, attacked: int, steps: int = 20, seed: int = 0, batch_size: int = 64, *,
                 defenses: Sequence[Defense] = (), noise_sigma: float = 0.0, watched: Examples | None = None):
        self.examples, self.budget, self.batch_size = examples, budget, batch_size
        if budget:
            parse_budget(budget)  # what is misspelt is told before an epoch is spent
        self.part = examples.first(attacked, seed) if budget else None
        self.attacks = [PGD(steps=steps, loss="cross_entropy"), PGD(steps=steps, loss="margin")]
        self.seed, self.defenses, self.noise_sigma, self.watched = seed, defenses, noise_sigma, watched

    def __call__(self, model: nn.Module, group: Group = ALONE) -> dict[str, float]:
        """{"accuracy", "noisy_accuracy" where noise is trained with, "robust_accuracy" where attacked, "train_..." where training clips are watched, "score"};
        the score is what checkpoints are compared by. Several processes share the batches."""
        fast = behind(folded(model), self.defenses)
        device = next(model.parameters()).device
        row = {"accuracy": self.right(fast, self.examples, device, group)}
        if self.noise_sigma:
            row["noisy_accuracy"] = self.right(fast, self.examples, device, group, self.noise_sigma)
        if self.budget:
            row["robust_accuracy"] = self.survivors(fast, self.part, self.attacks, device, group)
        score = row.get("robust_accuracy", row.get("noisy_accuracy", row["accuracy"]))
        if self.watched is not None:
            row["train_accuracy"] = self.right(fast, self.watched, device, group)
        if self.watched is not None and self.budget:
            row["train_robust_accuracy"] = self.survivors(fast, self.watched, self.attacks, device, group)
        return row | {"score": score}

    def right(self, fast: nn.Module, examples: Examples, device, group: Group = ALONE, sigma: float = 0.0) -> float:
        """Share of clips that are heard right, under one draw of noise each where sigma is not 0."""
        hits, draws = [], sigma or getattr(fast, "stochastic", False)
        for number, waveforms, classes in batches(examples, self.batch_size, group):
            generators = self.generators("clean", number, len(waveforms)) if draws else ()
            noise = sigma * normal(generators, waveforms.shape[1:]) if sigma else 0
            with torch.no_grad():
                hits.append(padded_call(fast, (waveforms + noise).to(device), generators).argmax(1).cpu() == classes)
        return share_of(hits, group)

    def survivors(self, fast: nn.Module, examples: Examples, attacks: Sequence[Attack], device, group: Group = ALONE) -> float:
        """Share of clips that stay right under each of the attacks."""
        survived, budget = [], parse_budget(self.budget, fast.sample_rate)
        for number, waveforms, classes in batches(examples, self.batch_size, group):
            waveforms, classes = waveforms.to(device), classes.to(device)
            generators = self.generators("validation", number, len(waveforms))
            right = torch.ones_like(classes, dtype=torch.bool)
            for attack in attacks:
                rows = right.nonzero().squeeze(1)
                if not len(rows):
                    break
                result = attack(fast, waveforms[rows], Misclassify(classes[rows]), budget, generators=[generators[i] for i in rows.tolist()])
                right[rows] = ~result.reached
            survived.append(right)
        return share_of(survived, group)

    def generators(self, what: str, number: int, count: int) -> list[torch.Generator]:
        """One for each clip of a batch."""
        return clip_generators(self.seed, what, [f"{number}-{i}" for i in range(count)])


def batches(examples: Examples, size: int, group: Group = ALONE):
    """(number, waveforms, classes) of at most `size` clips; of several processes each has its share of the batches."""
    for number in group.mine(range(-(-len(examples.clips) // size))):
        part = slice(number * size, (number + 1) * size)
        yield number, torch.from_numpy(examples.clips[part].astype(np.float32) / 32768), torch.from_numpy(examples.classes[part])


def share_of(verdicts: list[Tensor], group: Group) -> float:
    """The share of true ones among the verdicts of all processes."""
    return float(torch.cat([part for own in group.gathered([part.cpu() for part in verdicts]) for part in own]).float().mean())
