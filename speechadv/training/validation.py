"""What a checkpoint is chosen by: accuracy on validation, under attack where the network is trained against one."""
import numpy as np
import torch
from torch import Tensor, nn

from ..attacks.base import padded_call
from ..attacks.pgd import PGD
from ..budgets import parse_budget
from ..goals import Misclassify
from ..models.layers import folded
from ..randomness import clip_generators
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
    """

    def __init__(self, examples: Examples, budget: str | None, attacked: int, steps: int = 20, seed: int = 0, batch_size: int = 64):
        self.examples, self.budget, self.batch_size = examples, budget, batch_size
        if budget:
            parse_budget(budget)  # what is misspelt is told before an epoch is spent
        self.part = examples.first(attacked, seed) if budget else None
        self.attacks = [PGD(steps=steps, loss="cross_entropy"), PGD(steps=steps, loss="margin")]
        self.seed = seed

    def __call__(self, model: nn.Module, group: Group = ALONE) -> dict[str, float]:
        """{"accuracy", "robust_accuracy" where attacked, "score"}; the score is what checkpoints are compared by. Several processes share the batches."""
        fast = folded(model)
        device = next(model.parameters()).device
        with torch.no_grad():
            hits = [padded_call(fast, x.to(device)).argmax(1).cpu() == y for _, x, y in batches(self.examples, self.batch_size, group)]
        row = {"accuracy": share_of(hits, group)}
        if self.budget:
            row["robust_accuracy"] = self.robust(fast, device, group)
        return row | {"score": row.get("robust_accuracy", row["accuracy"])}

    def robust(self, fast: nn.Module, device, group: Group = ALONE) -> float:
        """Share of the attacked clips that stay right under both attacks."""
        survived, budget = [], parse_budget(self.budget, fast.sample_rate)
        for number, waveforms, classes in batches(self.part, self.batch_size, group):
            waveforms, classes = waveforms.to(device), classes.to(device)
            generators = clip_generators(self.seed, "validation", [f"{number}-{i}" for i in range(len(waveforms))])
            right = torch.ones_like(classes, dtype=torch.bool)
            for attack in self.attacks:
                rows = right.nonzero().squeeze(1)
                result = attack(fast, waveforms[rows], Misclassify(classes[rows]), budget, generators=[generators[i] for i in rows.tolist()])
                right[rows] = ~result.reached
            survived.append(right)
        return share_of(survived, group)


def batches(examples: Examples, size: int, group: Group = ALONE):
    """(number, waveforms, classes) of at most `size` clips; of several processes each has its share of the batches."""
    for number in group.mine(range(-(-len(examples.clips) // size))):
        part = slice(number * size, (number + 1) * size)
        yield number, torch.from_numpy(examples.clips[part].astype(np.float32) / 32768), torch.from_numpy(examples.classes[part])


def share_of(verdicts: list[Tensor], group: Group) -> float:
    """The share of true ones among the verdicts of all processes."""
    return float(torch.cat([part for own in group.gathered([part.cpu() for part in verdicts]) for part in own]).float().mean())
