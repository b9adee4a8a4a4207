"""The contract of an attack: one final call that validates, searches, rounds, and judges; authors write `run` alone."""
import contextlib
import copy
import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Callable, Iterator, Sequence, final

import torch
from torch import Tensor, nn

from ..budgets.base import HIGHEST, Bound, Budget, to_grid
from ..errors import InputError
from ..goals import Goal
from ..models.layers import folded
from ..randomness import apart, drawing
from .offered import check_offered


FULL_CALL = 256  # clips that the network hears in one call at most, where an attack asks many times at once


@dataclass
class AttackResult:
    """What an attack found, measured on the 16-bit grid.

    Attributes:
        adversarial: (batch, time) float32 on the grid, inside the budget.
        reached: (batch,) bool, by a fresh forward pass of the model that was passed in; of a random one by its logits averaged over `draws` passes.
        already: (batch,) bool; the clean clip met the goal, so it was left alone.
        distance: (batch,) in the budget's unit.
        passes: (batch,) int64, forward-and-backward passes spent.
        queries: (batch,) int64, forward passes without a backward one.
    """

    adversarial: Tensor
    reached: Tensor
    already: Tensor
    distance: Tensor
    passes: Tensor
    queries: Tensor


class Problem:
    """What `run` gets: clips, goal, budget and a counted way to ask the network.

    Attributes:
        clean: (batch, time) clips.
        goal, bound: goal and budget of these clips.
        generators: one torch.Generator a clip.
        draws: forward passes that a loss is averaged over: the model's `draws` where something in it is random, else 1.
    """

    def __init__(self, model: nn.Module, clean: Tensor, goal: Goal, bound: Bound, generators: Sequence[torch.Generator],
                 passes: Tensor | None = None, queries: Tensor | None = None, rows: Tensor | None = None, report: Callable | None = None):
        self.model, self.clean, self.goal, self.bound, self.generators = model, clean, goal, bound, list(generators)
        self.draws = getattr(model, "draws", 1)
        counters = [torch.zeros(len(clean), dtype=torch.int64, device=clean.device) if c is None else c for c in (passes, queries)]
        self.passes, self.queries = counters
        self.rows = torch.arange(len(clean), device=clean.device) if rows is None else rows
        self.report = report or (lambda done: None)

    def __len__(self) -> int:
        return len(self.clean)

    def select(self, index: Tensor) -> "Problem":
        """The same problem for some of its clips (bool or int64 index); passes and queries are counted in the same place."""
        chosen = torch.arange(len(self), device=self.clean.device)[index]
        return Problem(self.model, self.clean[chosen], self.goal.select(chosen), self.bound.select(chosen),
                       [self.generators[i] for i in chosen.tolist()], self.passes, self.queries, self.rows[chosen], self.report)

    def logits(self, perturbation: Tensor) -> Tensor:
        """Logits of clean + perturbation, without a gradient; one query a clip.

        A perturbation of shape (batch, count, time) asks `count` times a clip, in calls as full as they may be, and gets (batch, count, classes).
        """
        several = perturbation.ndim == 3
        self.queries[self.rows] += perturbation.shape[1] if several else 1
        heard = (self.clean[:, None] + perturbation).flatten(0, 1) if several else self.clean + perturbation
        with torch.no_grad():
            logits = heard_in_parts(self.model, heard, [g for own in apart(self.model, self.generators, perturbation.shape[1] if several else 1) for g in own])
        return logits.unflatten(0, perturbation.shape[:2]) if several else logits

    def expected(self, perturbation: Tensor) -> Tensor:
        """Logits of clean + perturbation, averaged over the model's draws: what a search may take for its success. `draws` queries a clip."""
        if self.draws == 1:
            return self.logits(perturbation)
        return self.logits(perturbation[:, None].expand(-1, self.draws, -1)).mean(1)

    def gradient(self, perturbation: Tensor, loss: str | Callable[[Tensor], Tensor] = "cross_entropy") -> tuple[Tensor, Tensor, Tensor]:
        """(logits, loss, gradient of the loss by the waveform). `loss` is a goal's loss or a function of the logits.

        Costs one pass a clip; where the model is random, `draws` passes, and all three are means over as many independent draws (Athalye et al. 2018,
        arXiv:1707.07397: expectation over transformation, of the loss and not of the logits).
        """
        heard, parts, each = (self.clean + perturbation).detach(), [], max(1, FULL_CALL // max(1, len(self)))
        if self.draws == 1:
            return self._gradient(heard, [self.generators], loss)
        own = apart(self.model, self.generators, self.draws)
        draws = [[clip[number] for clip in own] for number in range(self.draws)]
        for start in range(0, self.draws, each):
            part = draws[start : start + each]
            parts.append([len(part) * mean for mean in self._gradient(heard, part, loss)])
        return tuple(sum(part[i] for part in parts) / self.draws for i in range(3))

    def _gradient(self, heard: Tensor, draws: Sequence[Sequence[torch.Generator]], loss: str | Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Means over some draws, all in one call; for each of them a generator a clip."""
        count = len(draws)
        self.passes[self.rows] += count
        with torch.enable_grad():
            heard = heard.requires_grad_()
            logits = padded_call(self.model, heard.repeat(count, 1) if count > 1 else heard, list(itertools.chain(*draws))).unflatten(0, (count, len(self)))
            value = torch.stack([loss(each) if callable(loss) else self.goal.loss(each, loss) for each in logits]).mean(0)
            # A network that does not listen has no gradient: zeros, so that the attack runs, fails, and can be asked why.
            (gradient,) = torch.autograd.grad(value.sum(), heard, allow_unused=True) if value.requires_grad else (None,)
        if gradient is None:
            gradient = torch.zeros_like(heard)
        elif not gradient.sum().isfinite():  # seldom, and looking is cheaper than mending
            gradient = torch.nan_to_num(gradient)
        return logits.detach().mean(0), value.detach(), gradient


def padded_call(model: nn.Module, waveforms: Tensor, generators: Sequence[torch.Generator] = ()) -> Tensor:
    """The model's logits; a single clip is heard twice, since matrix products of one row round differently from those of a batch.

    `generators`, one a clip, are what random parts of the model draw from; the second hearing of a single clip has one of its own.
    """
    single = len(waveforms) == 1
    with drawing(model, [*generators, torch.Generator()] if single and len(generators) else generators):
        return model(waveforms.expand(2, -1))[:1] if single else model(waveforms)


def heard_in_parts(model: nn.Module, waveforms: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """The model's logits for any number of clips, in calls as full as they may be."""
    starts = range(0, max(1, len(waveforms)), FULL_CALL)
    return torch.cat([padded_call(model, waveforms[i : i + FULL_CALL], generators[i : i + FULL_CALL]) for i in starts])


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode, its parameters without gradients; both as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(p, p.requires_grad) for p in model.parameters()]
    try:
        model.eval().requires_grad_(False)
        yield model
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in wanted:
            parameter.requires_grad_(flag)


class Counted:
    """A progress callback that remembers how many clips it has told of."""

    def __init__(self, progress: Callable[[int], None] | None):
        self.progress, self.told = progress, 0

    def __call__(self, finished: int) -> None:
        self.told += finished
        if self.progress and finished:
            self.progress(finished)


class Attack(ABC):
    """An attack; its constructor's keywords are its configuration."""

    white_box = True  # asks for gradients
    learns = False  # from other clips before it attacks, by a method `fit`: see `universal`
    at_edge = False  # what it finds stands at the edge of the decision by design: for verdicts on the very model, never to be sent elsewhere
    sent = False  # what it finds is made for a way through something else, which it brings along: attacks the undefended model alone
    label_suffices = False  # of a black box: asks for labels alone
    fewest = 0  # of a search by queries: those that it needs before it may hear a success again
    one_by_one = False  # asks one question a clip at a time: its calls are as full as there are clips left

    @final
    def __call__(self, model: nn.Module, waveforms: Tensor, goal: Goal, budget: Budget, *, generators: Sequence[torch.Generator] | torch.Generator,
                 progress: Callable[[int], None] | None = None) -> AttackResult:
        """Attack a batch.

        Args:
            model: a classifier; frozen while attacked, its mode restored afterwards.
            waveforms: (batch, time) float32 on the 16-bit grid in [-1, 1 - 2**-15]; not modified.
            goal: for the same clips.
            budget: how far each clip may move.
            generators: one a clip, or a single one for all.
            progress: called with the number of clips that are finished, as they finish; in the end all of them.

        Raises:
            InputError: shape, type, range or finiteness are wrong, or samples lie off the 16-bit grid.
            ConfigError: the model does not give what the attack asks for.
        """
        check_waveforms(waveforms, goal)
        check_offered(self, model)
        if isinstance(generators, torch.Generator):
            generators = [generators] * len(waveforms)
        with frozen(model), torch.no_grad():
            verdict = Problem(model, waveforms, goal, budget.bind(waveforms), generators)  # its queries are the judge's, not the attack's
            already = goal.reached(verdict.expected(torch.zeros_like(waveforms))) if len(waveforms) else torch.zeros(0, dtype=torch.bool)
            perturbation = torch.zeros_like(waveforms)
            report = Counted(progress)
            problem = Problem(fast_copy(model), waveforms, goal, verdict.bound, generators, report=report)
            problem.report(int(already.sum()))
            if not already.all():
                part = problem.select(~already)
                found = self.run(part)
                perturbation[~already] = part.bound.nothing_if_broken(part.bound.quantise(found))
            adversarial = waveforms + perturbation
            reached = goal.reached(verdict.expected(perturbation)) if len(waveforms) else already
            report(len(waveforms) - report.told)
        return AttackResult(adversarial, reached, already, budget.distance(waveforms, adversarial), problem.passes, problem.queries)

    @abstractmethod
    def run(self, problem: Problem) -> Tensor:
        """A perturbation (batch, time) for each clip of the problem. It is projected, rounded and judged by the caller."""


def fast_copy(model: nn.Module) -> nn.Module:
    """A folded, frozen copy for the search, or the model itself where it cannot be copied. The verdict is never the copy's."""
    try:
        return folded(model)
    except (RuntimeError, TypeError, NotImplementedError, copy.Error):
        return model


def check_waveforms(waveforms: Tensor, goal: Goal) -> None:
    """Raise InputError unless the batch can be attacked."""
    if waveforms.ndim != 2:
        raise InputError(f"expected waveforms of shape (batch, time), got {tuple(waveforms.shape)}")
    if len(goal) != len(waveforms):
        raise InputError(f"expected a goal for each of {len(waveforms)} clips, got {len(goal)}")
    if not torch.is_floating_point(waveforms):
        raise InputError(f"expected waveforms as floats in [-1, 1 - 2**-15], got {waveforms.dtype}")
    if len(waveforms) and not torch.isfinite(waveforms).all():
        raise InputError("expected finite samples, got NaN or infinite ones")
    if len(waveforms) and (waveforms.amin() < -1 or waveforms.amax() > HIGHEST):
        raise InputError(f"expected samples in [-1, 1 - 2**-15], got {waveforms.abs().amax():g} (16-bit integers are divided by 32768)")
    if not torch.equal(to_grid(waveforms), waveforms):
        raise InputError("expected samples on the 16-bit grid k/32768, as files hold them: round with speechadv.audio.to_grid")
