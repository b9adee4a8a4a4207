"""The batches of an epoch: what is heard, what should be heard in it, and the adversary within its budget."""
from typing import Sequence

import numpy as np
import torch
from torch import Tensor

from ..budgets import parse_budget
from ..budgets.base import Budget
from ..randomness import clip_generators, normal
from .ear import Ear
from .inner import Inner
from .objectives import Batch
from .processes import Group
from .settings import TrainingConfig
from .targets import Targets
from .views import Views


class Batches:
    """Makes this process's share of batches.

    Args:
        config: of the run.
        ear: how the network hears.
        views: augmented training clips.
        targets: of the clips.
        group: the processes that share each batch.
        starts: of random starts and noise: the same numbers however many processes there are.
    """

    def __init__(self, config: TrainingConfig, ear: Ear, views: Views, targets: Targets, group: Group, starts: torch.Generator):
        self.config, self.ear, self.views, self.targets, self.group, self.starts = config, ear, views, targets, group, starts
        self.device = next(ear.model.parameters()).device

    def attacked(self, size: int, steps: int) -> int:
        """How many of a batch of `size` the adversary gets."""
        return size - round(size * self.config.adversary.clean_share) if steps else 0

    def __call__(self, indices: np.ndarray, view: int, epoch: int, steps: int) -> Batch:
        """The share of the batch of these clips, under an adversary of so many steps."""
        share = self.group.mine(indices)
        waveforms = self.views(share, view).to(self.device)
        targets, hard = (each.to(self.device) for each in self.targets(share, view, waveforms))
        sound = self.noisy(waveforms, len(indices))
        generators = clip_generators(self.config.seed, f"defense, epoch {epoch}", list(map(str, share))) if self.ear.stochastic else []
        batch = Batch(sound, targets, hard, lambda heard, rows: self.ear(heard, [generators[row] for row in rows.tolist()] if generators else ()), steps)
        attacked = self.attacked(len(indices), steps)
        if attacked:
            batch.inner = self.inner(batch, waveforms, generators, len(indices), attacked, self.config.adversary.budget_at(epoch))
        return batch

    def inner(self, batch: Batch, waveforms: Tensor, generators: Sequence[torch.Generator], size: int, attacked: int, budget: str) -> Inner | None:
        """The adversary of the last `attacked` clips of a batch of `size`, as far as they are in the share."""
        own = self.group.mine_of_first(size - attacked)
        limit = parse_budget(budget, self.ear.model.sample_rate)
        clean = waveforms[own:]
        start = self.shared_start(limit, clean, size - attacked, size) if self.group.size > 1 else None  # drawn also where all of the share stays clean
        if not len(clean):
            return None
        bound = limit.bind(clean)
        start = bound.random_start([self.starts] * len(clean)) if start is None else start
        generators = generators[own:] or [torch.default_generator] * len(clean)  # forked and seeded by the epoch
        return Inner(self.ear.copy, batch.sound[own:], batch.targets[own:], batch.hard[own:], bound, start, generators)

    def shared_start(self, budget: Budget, clean: Tensor, kept: int, size: int) -> Tensor:
        """Random starts of this process's attacked clips, as one process would have drawn them: those of the others' clips, silence here, are dropped."""
        mine = [place - kept for place in self.group.mine(range(size)) if place >= kept]
        every = clean.new_zeros(size - kept, clean.shape[1])
        every[mine] = clean
        return budget.bind(every).random_start([self.starts] * len(every))[mine]

    def noisy(self, waveforms: Tensor, size: int) -> Tensor:
        """The share of a batch of `size` under white Gaussian noise, neither rounded nor clipped, as `certify` hears it."""
        if not self.config.noise_sigma:
            return waveforms
        noise = normal([self.starts] * size, waveforms.shape[1:], waveforms.device)
        return waveforms + self.config.noise_sigma * noise[list(self.group.mine(range(size)))]
