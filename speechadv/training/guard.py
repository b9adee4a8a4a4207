"""The guard against catastrophic overfitting (Wong, Rice & Kolter 2020, section 4): a network that learns from single steps may one day withstand nothing else."""
from torch import nn

from ..attacks.pgd import FGSM, PGD
from ..models.layers import folded
from .ear import behind
from .processes import ALONE, Group
from .validation import Validator

STRONGEST = 7  # steps (or replays) after which the guard gives up: that is plain adversarial training
STAYS = 0.1  # a loss of accuracy under one step up to which that counts as holding


class Guard:
    """Looks after each epoch whether a few validation clips that used to withstand PGD still do.

    Args:
        validator: whose clips, budget and defenses are used.
        fall: of the accuracy under PGD from its best value, that is a collapse where one step finds no more than before.
        clips: how many.
    """

    def __init__(self, validator: Validator, fall: float, clips: int):
        self.validator, self.fall = validator, fall
        self.part = validator.examples.first(clips, validator.seed)
        self.attacks = {"guard_fgsm": FGSM(), "guard_pgd": PGD(steps=10)}

    def __call__(self, model: nn.Module, group: Group = ALONE) -> dict[str, float]:
        """{"guard_fgsm", "guard_pgd"}: accuracies of the network itself, not of its average, which falls later."""
        fast, device = behind(folded(model), self.validator.defenses), next(model.parameters()).device
        return {name: self.validator.survivors(fast, self.part, [attack], device, group) for name, attack in self.attacks.items()}

    def collapsed(self, row: dict[str, float], history: list[dict]) -> bool:
        """Whether an epoch's accuracies are a collapse, in the light of those before it."""
        best = max((old for old in history if "guard_pgd" in old), key=lambda old: old["guard_pgd"], default=None)
        return best is not None and row["guard_pgd"] < best["guard_pgd"] - self.fall and row["guard_fgsm"] > best["guard_fgsm"] - STAYS
