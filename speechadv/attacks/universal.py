"""One waveform for every clip, wherever the word falls (Moosavi-Dezfooli et al. 2017; Shafahi et al. 2020; for sound Neekhara et al. 2019)."""
from typing import NamedTuple, Sequence

import torch
from torch import Tensor, nn

from .. import audio
from ..budgets.base import HIGHEST, Bound, Budget, to_grid
from ..budgets.intersection import Intersection
from ..budgets.linf import Linf
from ..errors import ConfigError, InputError
from ..goals import Goal, Target, check_loss
from ..randomness import uniform
from ..registry import register
from .base import Attack, Problem, check_waveforms, fast_copy, frozen
from .minimum import whole_step

DECAY = 0.9  # of the running sum of gradients
ENOUGH = 4.0  # logits of margin beyond which a clip asks for no more: else those that are won would drown the others


class Fit(NamedTuple):
    """One fitted waveform."""

    waveform: Tensor  # (time,) on the 16-bit grid
    passes: int  # forward and backward passes spent on it, over all clips


@register("attack", "universal")
class Universal(Attack):
    """One waveform that changes what is heard in every clip (Moosavi-Dezfooli et al. 2017, arXiv:1610.08401; fitted by stochastic gradient steps as in
    Shafahi et al. 2020, arXiv:1811.11304, algorithm 1; for speech Neekhara et al. 2019, arXiv:1905.03828).

    `fit` finds it on clips of other speakers; each clip that is attacked gets it turned in time by a draw of its own (what leaves at the end comes
    in at the start, as in a loop that plays on), cut to the clip's budget, and nothing else. `speechadv evaluate` and `speechadv attack` fit it on
    training or validation clips and keep it as WAV. An instance that was not fitted and names no file finds a waveform of its own for each clip: what one clip allows under
    every shift, which is not universal.

    Args:
        steps: gradient steps of the fit.
        batch: clips of each step.
        clips: how many clips of the split it is fitted on at most.
        split: "train" or "validation": where `evaluate` and `attack` take them from.
        shift: seconds by which the waveform is turned at most, to either side; half a second reaches every place of a second.
        step_size: as a fraction of the budget; 0 stands for 5 / steps, at most 1.
        loss: "cross_entropy" or "margin".
        perturbation: a WAV file to apply instead of fitting.
        sample_rate: of the clips, in Hz.

    Raises:
        ConfigError: a value out of range. InputError: the file cannot be read.
    """

    learns = True  # from other clips, before it attacks, unless a perturbation is given

    def __init__(self, steps: int = 200, batch: int = 32, clips: int = 320, split: str = "train", shift: float = 0.5, step_size: float = 0.0,
                 loss: str = "cross_entropy", perturbation: str = "", sample_rate: int = 16000):
        for name, value, least in (("steps", steps, 1), ("batch", batch, 1), ("clips", clips, 1), ("shift", shift, 0), ("step_size", step_size, 0)):
            if not value >= least:
                raise ConfigError(f"attack 'universal': {name}: expected {least} or more, got {value}")
        if split not in ("train", "validation"):
            raise ConfigError(f"attack 'universal': split: expected train or validation, got '{split}'")
        self.steps, self.batch, self.clips, self.split, self.loss = steps, batch, clips, split, check_loss(loss)
        self.step_size, self.shift = step_size or min(1.0, 5.0 / steps), round(shift * sample_rate)
        self.given = torch.from_numpy(audio.read(perturbation, sample_rate)) if perturbation else None
        self.learns = self.given is None
        self.fits: dict[int | None, Tensor] = {}  # the target's index, None for an untargeted goal -> waveform (time,)

    def run(self, problem: Problem) -> Tensor:
        waveforms = self._waveforms(problem)
        if waveforms is None:
            waveforms = self._search(problem, torch.zeros_like(problem.clean), self.steps)
        turned = rolled(waveforms, self._drawn(problem))
        return problem.bound.project(turned)

    def fit(self, model: nn.Module, waveforms: Tensor, goal: Goal, budget: Budget, *, generator: torch.Generator) -> Fit:
        """Find the waveform for a goal and keep it for later calls with such a goal.

        Args:
            model: a classifier; frozen meanwhile, its mode restored afterwards.
            waveforms: (clips, time) on the 16-bit grid: of other speakers than those that are attacked.
            goal: away from the clips' labels, or towards one target for all of them.
            budget: each clip's. Under `snr` the waveform is as loud as the loudest clip allows, and turned down for quieter ones.
            generator: of batches and shifts.

        Raises:
            InputError: no clips, wrong ones as for a call, or several targets.
        """
        check_waveforms(waveforms, goal)
        if not len(waveforms) or self.targets(goal).numel() > 1:
            raise InputError(f"attack 'universal': expected clips and one target for all, got {len(waveforms)} clips and {self.targets(goal).numel()} targets")
        with frozen(model), torch.no_grad():
            problem = Problem(fast_copy(model), waveforms, goal, budget.bind(waveforms), [generator] * len(waveforms))
            found = self._search(problem, torch.zeros_like(waveforms[:1]), self.steps)[0]
        self.fits[self.key(goal)] = to_grid(found.clamp(-1, HIGHEST))
        return Fit(self.fits[self.key(goal)], int(problem.passes.sum()))

    @staticmethod
    def targets(goal: Goal) -> Tensor:
        """The targets of a goal, each once; empty for an untargeted one."""
        return goal.labels.unique() if isinstance(goal, Target) else goal.labels[:0]

    @classmethod
    def key(cls, goal: Goal) -> int | None:
        """What a fit is kept under."""
        return int(cls.targets(goal)[0]) if isinstance(goal, Target) else None

    def _waveforms(self, problem: Problem) -> Tensor | None:
        """(batch, time): the waveform of each clip; None where there is none. Raises InputError: another length, or a target that nothing was fitted for."""
        if self.given is None and not self.fits:
            return None
        keys = problem.goal.labels.tolist() if isinstance(problem.goal, Target) else [None] * len(problem)
        chosen = [self.given if self.given is not None else self.fits.get(key) for key in keys]
        for waveform, key in zip(chosen, keys):
            if waveform is None:
                wanted = "an untargeted goal" if key is None else f"target {key}"
                raise InputError(f"attack 'universal': fitted for {', '.join(map(str, self.fits))}, not for {wanted}")
            if len(waveform) != problem.clean.shape[1]:
                raise InputError(f"attack 'universal': expected clips of {len(waveform)} samples, as it was fitted on, got {problem.clean.shape[1]}")
        return torch.stack(chosen).to(problem.clean)

    def _search(self, problem: Problem, waveforms: Tensor, steps: int) -> Tensor:
        """Ascent from `waveforms`: of shape (1, time) one for all clips, of the clips' shape one each."""
        heavy, ball, order = torch.zeros_like(waveforms), Ball(problem.bound), []
        for _ in range(steps):
            part = problem
            if len(problem) > self.batch and len(waveforms) == 1:
                order = order if len(order) >= self.batch else shuffled(len(problem), problem.generators[0])
                part, order = problem.select(torch.tensor(order[: self.batch], device=waveforms.device)), order[self.batch :]
            heavy, waveforms = self._step(part, waveforms, heavy, ball)
        return waveforms

    def _step(self, problem: Problem, waveforms: Tensor, heavy: Tensor, ball: "Ball") -> tuple[Tensor, Tensor]:
        """The running sum of gradients and the waveforms after one step on these clips."""
        shift = self._drawn(problem)
        heard = problem.bound.rough(problem.bound.project(rolled(waveforms.expand(len(problem), -1), shift)))
        logits, _, gradient = problem.gradient(heard, self.loss)
        asking = problem.goal.loss(logits, "margin") < ENOUGH
        pooled = rolled(gradient / gradient.abs().mean(1, keepdim=True).clamp(min=1e-30) * asking[:, None], -shift)
        one = len(waveforms) == 1
        heavy = DECAY * heavy + (pooled.mean(0, keepdim=True) if one else pooled)
        step = rolled(whole_step(problem.bound, rolled(heavy.expand(len(problem), -1), shift)), -shift)
        return heavy, ball.hold(waveforms + self.step_size * (step.mean(0, keepdim=True) if one else step), step)

    def _drawn(self, problem: Problem) -> Tensor:
        """(batch,) samples to turn by."""
        return ((uniform(problem.generators, (1,), problem.clean.device)[:, 0] * 2 - 1) * self.shift).round().long()


class Ball:
    """How loud the waveform itself may be: the peak that an L-infinity budget allows, and the energy of the largest step across any clip's budget."""

    def __init__(self, bound: Bound):
        parts: Sequence[Budget] = bound.budget.budgets if isinstance(bound.budget, Intersection) else [bound.budget]
        self.peak = min([audio.lsb_to_amplitude(part.lsb) for part in parts if isinstance(part, Linf)], default=1.0)
        self.energy: Tensor | float = 0.0

    def hold(self, waveforms: Tensor, steps: Tensor) -> Tensor:
        """The waveforms inside; `steps` are steps across the budgets of clips."""
        longest = steps.norm(dim=1, keepdim=True)
        longest = longest.amax(0, keepdim=True) if len(waveforms) == 1 else longest
        self.energy = torch.maximum(longest, torch.as_tensor(self.energy))
        clamped = waveforms.clamp(-self.peak, self.peak)
        return clamped * (self.energy / clamped.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)


def rolled(waveforms: Tensor, shift: Tensor) -> Tensor:
    """Row i of (batch, time) later by shift[i] samples; what leaves at the end comes in at the start."""
    place = torch.arange(waveforms.shape[1], device=waveforms.device) - shift[:, None]
    return waveforms.gather(1, place % waveforms.shape[1])


def shuffled(count: int, generator: torch.Generator) -> list[int]:
    """0 to count - 1 in a random order."""
    return torch.randperm(count, generator=generator).tolist()
