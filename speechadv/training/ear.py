"""How a network hears while it learns: behind its defense, through the replica whose gradients are averaged over the processes."""
import contextlib
from typing import Sequence

import torch
from torch import Tensor, nn

from ..defenses import Defended, Defense
from ..models.layers import Rough, folded
from ..randomness import drawing


class Ear:
    """Hears clips in training mode, and makes the copies that are attacked.

    Args:
        model: the network that learns.
        replica: what to call for it.
        defenses: what it is deployed behind, in the order of application.
        rough: whether the copies that are attacked compute in bfloat16.
    """

    def __init__(self, model: nn.Module, replica: nn.Module, defenses: Sequence[Defense] = (), rough: bool = False):
        self.model, self.replica, self.rough = model, replica, rough
        self.front = Defended(model, *defenses) if defenses else None

    @property
    def stochastic(self) -> bool:
        """Whether a defense draws."""
        return self.front is not None and any(defense.stochastic for defense in self.front.defenses)

    def __call__(self, sound: Tensor, generators: Sequence[torch.Generator] = ()) -> Tensor:
        """(batch, time) -> logits (batch, labels). The defense is exact; where the sound wants a gradient, that of the stand-in comes back."""
        if self.front is None:
            return self.replica(sound)
        with drawing(self.front.defenses, generators) if self.stochastic else contextlib.nullcontext():
            sound = self.front.defend(sound)
        return self.replica(sound)

    def copy(self) -> nn.Module:
        """A frozen copy as it will be deployed: evaluation mode, normalisation folded, behind the defense, whose stand-in passes the gradient back."""
        fast = folded(self.model)
        return behind(Rough(fast) if self.rough else fast, self.front.defenses if self.front is not None else ())


def behind(model: nn.Module, defenses: Sequence[Defense]) -> nn.Module:
    """A model with defenses in front of it, if there are any."""
    return Defended(model, *defenses) if len(defenses) else model
