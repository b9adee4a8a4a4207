"""Step rules: how a gradient loop gets from one iterate to the next. Each holds the state of its clips and forgets those that leave."""
import math

import torch
from torch import Tensor

from ..budgets.base import Bound
from ..budgets.linf import BoundLinf


class Plain:
    """Steps of a fixed size along the steepest direction, projected (Madry et al. 2018).

    Args:
        step_size: as a fraction of the budget.
    """

    state: tuple[str, ...] = ()  # names of the tensors that hold a row a clip; None before the first step

    def __init__(self, step_size: float):
        self.step_size = step_size
        for name in self.state:
            setattr(self, name, None)

    def advance(self, bound: Bound, iterate: Tensor, gradient: Tensor, loss: Tensor) -> Tensor:
        """The next iterate (batch, time) from this one, the loss there (batch,) and the loss's gradient."""
        direction = bound.steepest(self.smoothed(gradient))  # a new tensor in every budget: the step is written over it
        return bound.project_(torch.addcmul(iterate, self.step_size * bound.size(), direction, out=direction))

    def smoothed(self, gradient: Tensor) -> Tensor:
        """What the step follows."""
        return gradient

    def select(self, index: Tensor) -> None:
        """Keep the state of these clips."""
        for name in self.state:
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name)[index])

    def join(self, other: "Plain") -> None:
        """Take over the clips of a rule that has come as many steps, behind one's own."""
        for name in self.state:
            if getattr(self, name) is not None:
                setattr(self, name, torch.cat([getattr(self, name), getattr(other, name)]))


class Momentum(Plain):
    """Follows a running sum of gradients, each divided by its mean size (Dong et al. 2018, arXiv:1710.06081, eq. 6).

    Args:
        step_size: as a fraction of the budget.
        decay: of the sum, a step.
    """

    state = ("sum",)

    def __init__(self, step_size: float, decay: float = 0.75):
        super().__init__(step_size)
        self.decay = decay

    def smoothed(self, gradient: Tensor) -> Tensor:
        scaled = gradient / gradient.abs().mean(1, keepdim=True).clamp(min=1e-30)
        self.sum = scaled if self.sum is None else self.decay * self.sum + scaled
        return self.sum


class Adam(Plain):
    """Adam's direction (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1), and the step as long as the budget's geometry says.

    Under an L-infinity budget each sample's running gradient is divided by its own running size, as in the paper: unlike a sign it stays small
    where the gradient is small beside its own history. Elsewhere all samples of a clip share one running size: divided by its own each, a steady gradient would
    turn into its sign, which is not the way up in an L2 ball.
    """

    state = ("mean", "square")

    def __init__(self, step_size: float, beta1: float = 0.9, beta2: float = 0.99):
        super().__init__(step_size)
        self.beta1, self.beta2, self.count = beta1, beta2, 0

    def advance(self, bound: Bound, iterate: Tensor, gradient: Tensor, loss: Tensor) -> Tensor:
        if self.mean is None:
            self.mean, self.square = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self.count += 1
        # Per clip to unit size first: cross-entropy's gradient shrinks by orders of magnitude along a search, and Adam's memory must not notice.
        gradient = gradient / gradient.abs().amax(1, keepdim=True).clamp(min=1e-30)
        self.mean = self.beta1 * self.mean + (1 - self.beta1) * gradient
        self.square = self.beta2 * self.square + (1 - self.beta2) * gradient.square()
        mean, square = self.mean / (1 - self.beta1**self.count), self.square / (1 - self.beta2**self.count)
        if isinstance(bound, BoundLinf):
            direction = mean / (square.sqrt() + 1e-8)
            full = bound.size() * bound.steepest(direction)  # the length of a whole step in this budget
            scaled = direction * full.norm(dim=1, keepdim=True) / direction.norm(dim=1, keepdim=True).clamp(min=1e-30)
        else:
            scaled = bound.size() * bound.steepest(mean) * (mean.norm(dim=1) / square.sum(1).sqrt().clamp(min=1e-30))[:, None]
        return bound.project(iterate + self.step_size * scaled)


class Adaptive(Plain):
    """APGD's schedule (Croce & Hein 2020, arXiv:2003.01690, section 3): begin with steps of twice the budget, halve where the loss stops rising, and then
    go on from the best point so far; momentum between iterates.

    Args:
        steps: of the whole search, which the checkpoints are laid over.
    """

    state = ("size", "previous", "best", "best_gradient", "best_loss", "last_loss", "risen", "best_at_check", "halved")
    MOMENTUM, RISING = 0.75, 0.75  # weight of the new direction; share of rising steps below which a step is too long

    def __init__(self, steps: int):
        super().__init__(2.0)
        self.checks, self.count, self.since = checkpoints(steps), 0, 0

    def advance(self, bound: Bound, iterate: Tensor, gradient: Tensor, loss: Tensor) -> Tensor:
        if self.size is None:
            self._begin(iterate, gradient, loss)
        self.risen = self.risen + (loss > self.last_loss)
        better = loss > self.best_loss
        self.best = torch.where(better[:, None], iterate, self.best)
        self.best_gradient = torch.where(better[:, None], gradient, self.best_gradient)
        self.best_loss, self.last_loss = torch.maximum(loss, self.best_loss), loss
        if self.count in self.checks:
            iterate, gradient = self._check(iterate, gradient)
        step = bound.project(iterate + self.size * bound.size() * bound.steepest(gradient))
        following = step
        if self.count:
            following = bound.project(iterate + self.MOMENTUM * (step - iterate) + (1 - self.MOMENTUM) * (iterate - self.previous))
        self.previous, self.count, self.since = iterate, self.count + 1, self.since + 1
        return following

    def _begin(self, iterate: Tensor, gradient: Tensor, loss: Tensor) -> None:
        self.size = torch.full_like(loss, self.step_size)[:, None]
        self.previous = self.best = iterate
        self.best_gradient, self.best_loss, self.last_loss, self.best_at_check = gradient, loss, loss, loss
        self.risen, self.halved = torch.zeros_like(loss), torch.zeros_like(loss, dtype=torch.bool)

    def _check(self, iterate: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Halve the step where it is too long, and take those clips back to their best point."""
        stuck = ~self.halved & (self.best_loss <= self.best_at_check)  # condition 2: nothing gained with a step that was not halved last time
        halve = (self.risen < self.RISING * self.since) | stuck
        self.size = torch.where(halve[:, None], self.size / 2, self.size)
        self.risen, self.best_at_check, self.halved, self.since = torch.zeros_like(self.risen), self.best_loss, halve, 0
        back = halve[:, None]
        return torch.where(back, self.best, iterate), torch.where(back, self.best_gradient, gradient)


def checkpoints(steps: int) -> set[int]:
    """The steps at which APGD looks at its step size: after 22 % of them, then at intervals that shrink by 3 % of all down to 6 %."""
    places, last, now = set(), 0.0, 0.22
    while now < 1 - 1e-9:
        places.add(math.ceil(now * steps - 1e-9))  # 0.57 * 100 is a little more than 57 in floats
        last, now = now, now + max(now - last - 0.03, 0.06)
    return places
