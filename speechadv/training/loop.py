"""The training loop: standard where the config has no adversary, adversarial where it has one."""
import hashlib
import io
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..attacks.base import frozen
from ..audio import write_bytes
from ..errors import ConfigError, SpeechAdvError, shown
from ..memory import out_of_memory
from ..randomness import derived_seed
from .batches import Batches
from .ear import Ear
from .examples import Examples
from .guard import STRONGEST, Guard
from .normalisation import synchronise
from .objectives import Standard, objective
from .processes import ALONE, Group
from .settings import Adversary, TrainingConfig
from .targets import Targets
from .validation import Validator
from .views import Views


@dataclass
class State:
    """Where a run stands; all of it is in the checkpoint. `strength` is what the guard has raised the objective's inner steps to, 0 for what the config says."""

    epoch: int = 0
    best_score: float = -1.0
    best_epoch: int = -1
    history: list[dict] = field(default_factory=list)
    strength: int = 0


class Trainer:
    """Trains one network.

    Args:
        config: what to do.
        model: the network, already on its device.
        views: augmented training clips.
        targets: of the training clips.
        train: the training examples, in the order of the views.
        validator: scores a model on validation.
        folder: of the run; the checkpoint lies there.
        progress: wraps the batches of an epoch with a bar.
        say: prints a line for the user.
        group: the processes that share each batch.
    """

    def __init__(self, config: TrainingConfig, model: nn.Module, views: Views, targets: Targets, train: Examples, validator: Validator,
                 folder: Path, progress: Callable, say: Callable[[str], None], group: Group = ALONE):
        self.config, self.train, self.group = config, train, group
        self.model = synchronise(model) if group.joined else model
        self.validator, self.folder, self.progress, self.say = validator, folder, progress, say
        self.device = next(model.parameters()).device
        self.average = AveragedModel(model, avg_fn=running_average(config.averaging), use_buffers=True) if config.averaging else None
        self.optimizer = torch.optim.AdamW(parameter_groups(model, config.weight_decay), lr=config.learning_rate)
        self.replica = group.replica(model)
        self.starts = torch.Generator() if group.joined else torch.default_generator  # of random starts: the same ones however many processes there are
        rough = bool(config.adversary) and config.adversary.precision == "bfloat16"
        self.batches = Batches(config, Ear(model, self.replica, validator.defenses, rough), views, targets, group, self.starts)
        self.objective, self.resting = objective(config.adversary), Standard(Adversary())
        guarded = config.adversary and self.objective.guarded and config.adversary.guard
        self.guard = Guard(validator, config.adversary.guard, config.adversary.guard_clips) if guarded else None
        self.data = f"{train.digest()} {validator.examples.digest()} {hashlib.blake2b(b''.join(noise.tobytes() for noise in views.noises), digest_size=8).hexdigest()}"
        self.state = State()
        self.best: dict[str, Tensor] = {}

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def run(self) -> nn.Module:
        """Train what is left of the epochs. Returns the model with the weights that did best on validation."""
        if self.resume():
            self.say(f"going on after epoch {self.state.epoch}")
        elif not self.config.epochs:
            self.finish_epoch(-1, None, 0.0)  # what was started from is all there is
        while self.state.epoch < self.config.epochs and not self.out_of_patience():
            started, epoch = time.monotonic(), self.state.epoch
            # Dropout and the inner attack draw from a state of their own, so that a resumed epoch is the same epoch and the caller's state is untouched.
            with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                self.seed(epoch)
                loss = self.within_memory(epoch)
            self.finish_epoch(epoch, loss, time.monotonic() - started)
        self.model.load_state_dict(self.best)
        return self.model.eval()

    def out_of_patience(self) -> bool:
        """Whether so many validations in a row were no better that the run is over (Rice et al. 2020, arXiv:2002.11569)."""
        since = [row for row in self.state.history if "score" in row and row["epoch"] > self.state.best_epoch]
        over = 0 < self.config.patience <= len(since)
        if over:
            self.say(f"no better on validation since epoch {self.state.best_epoch}: the run ends after epoch {self.state.epoch}")
        return over

    def steps(self, epoch: int) -> int:
        """Of the adversary."""
        return self.objective.steps(epoch, self.state.strength) if self.config.adversary else 0

    def seed(self, epoch: int) -> None:
        """Of an epoch. Among several processes dropout draws in each for itself, random starts in all alike."""
        torch.manual_seed(derived_seed(self.config.seed, "epoch", epoch, *(["process", self.group.rank] if self.group.joined else [])))
        if self.group.joined:
            self.starts.manual_seed(derived_seed(self.config.seed, "epoch", epoch))

    def within_memory(self, epoch: int) -> float:
        """An epoch; running out of memory becomes one line. The batch is not halved: it is part of what the config asks for."""
        try:
            return self.one_epoch(epoch)
        except (RuntimeError, MemoryError) as problem:
            if not out_of_memory(problem):
                raise
            raise SpeechAdvError(f"out of memory in epoch {epoch + 1} with batch_size {self.config.batch_size}; "
                                 "what is finished is kept, a smaller batch_size is another run") from None

    def one_epoch(self, epoch: int) -> float:
        """One pass over the training clips; returns the mean loss."""
        order = np.random.default_rng(derived_seed(self.config.seed, "order", epoch)).permutation(len(self.train.clips))
        view = epoch % self.config.views if self.config.views else epoch
        batches = [order[i : i + self.config.batch_size] for i in range(0, len(order), self.config.batch_size)]
        batches = [b for b in batches if len(b) >= max(2, self.group.size)]  # batch normalisation needs two, each process one
        total, steps = 0.0, self.steps(epoch)
        self.model.train()
        for number, indices in enumerate(self.progress(batches, f"epoch {epoch + 1} of {self.config.epochs}")):
            self.set_learning_rate(epoch + number / len(batches))
            objective = self.objective if self.batches.attacked(len(indices), steps) else self.resting
            batch = self.batches(indices, view, epoch, steps)
            losses = [self.step(loss, len(batch.sound) * self.group.size / len(indices)) for loss in objective.losses(batch)]
            total += sum(losses) / len(losses) * len(indices) / self.group.size
        total = sum(self.group.gathered(total))
        if not math.isfinite(total):
            raise SpeechAdvError(f"training diverged in epoch {epoch + 1}: the loss is {total}; a lower learning_rate may help")
        return total / sum(map(len, batches))

    def step(self, loss: Tensor, weight: float) -> float:
        """One step of the optimiser down a loss of this process's share; the mean of `weight` times it over the processes is the mean over the batch."""
        loss = loss * weight
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.model)
        return loss.item()

    def set_learning_rate(self, epoch: float) -> None:
        """Linear warm-up, then a cosine to zero."""
        c = self.config
        warm = min(1.0, (epoch + 0.01) / c.warmup_epochs) if c.warmup_epochs else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = c.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * epoch / c.epochs))

    def finish_epoch(self, epoch: int, loss: float | None, seconds: float) -> None:
        """Validate, keep the best weights, write checkpoint and history."""
        row = {"epoch": epoch + 1} | ({} if loss is None else {"loss": loss})
        if self.guard and self.steps(epoch):
            with frozen(self.model):
                row |= {"inner_steps": self.steps(epoch)} | self.guard(self.model, self.group)
            if self.state.strength < STRONGEST and self.guard.collapsed(row, self.state.history):
                return self.go_back(row)
        if (epoch + 1) % self.config.validate_every == 0 or epoch + 1 == self.config.epochs:
            candidate = self.average.module if self.average else self.model
            with frozen(candidate):
                row |= self.validator(candidate, self.group)
            self.group.check_alike(list(candidate.state_dict().values()), f"epoch {epoch + 1}")
            if row["score"] > self.state.best_score:
                self.state.best_score, self.state.best_epoch = row["score"], epoch + 1
                self.best = {k: v.detach().cpu().clone() for k, v in candidate.state_dict().items()}
        self.state.history.append(row)
        self.state.epoch = epoch + 1
        if self.group.leads:
            self.save()
        numbers = ", ".join(f"{k} {v:.4f}" for k, v in row.items() if k != "epoch")
        self.say(f"epoch {epoch + 1}: {numbers} ({seconds:.0f} s)")

    def go_back(self, row: dict) -> None:
        """Forget an epoch of catastrophic overfitting: the last checkpoint again, and from there on a stronger adversary."""
        steps = self.steps(row["epoch"] - 1)
        self.resume()
        self.state.strength = steps + 1
        if self.group.leads:
            self.save()
        self.say(f"epoch {row['epoch']}: catastrophic overfitting: {row['guard_pgd']:.4f} right under PGD, {row['guard_fgsm']:.4f} under one step; "
                 f"back to epoch {self.state.epoch}, {self.state.strength} inner steps instead of {steps} from here on")

    def save(self) -> None:
        """The checkpoint, all or nothing, and the history beside it."""
        content = {"model": self.model.state_dict(), "average": self.average.state_dict() if self.average else {}, "optimizer": self.optimizer.state_dict(),
                   "best": self.best, "epoch": self.state.epoch, "best_score": self.state.best_score, "best_epoch": self.state.best_epoch,
                   "history": json.dumps(self.state.history), "strength": self.state.strength, "data": self.data}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(self.checkpoint, buffer.getvalue())
        self.write_history()

    def write_history(self) -> None:
        """A line an epoch, for people and figures; the checkpoint has it too."""
        write_bytes(self.folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in self.state.history).encode("ascii"))

    def resume(self) -> bool:
        """Go on from the checkpoint; whether there is one. A broken one is refused by name."""
        if not self.group.sent(self.checkpoint.exists()):
            return False
        try:
            content = self.group.sent(torch.load(self.checkpoint, map_location=self.device, weights_only=True) if self.group.leads else None)
            other_data = content.get("data", self.data) != self.data
            self.model.load_state_dict(content["model"])
            if self.average:
                self.average.load_state_dict(content["average"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.best = content["best"]
            self.state = State(content["epoch"], content["best_score"], content["best_epoch"], json.loads(content["history"]), content.get("strength", 0))
        except Exception as problem:  # whatever a foreign or torn file makes torch raise
            raise SpeechAdvError(f"'{shown(self.checkpoint)}': expected a checkpoint of this run, got a broken or foreign file "
                                 f"({type(problem).__name__}); remove it to start afresh") from None
        if other_data:
            raise ConfigError(f"'{shown(self.folder)}': was begun with other clips than `data`, `train_only` and SPEECHADV_DATA name now; another --out, or the same clips")
        if self.group.leads:
            self.write_history()  # a kill may have come between the checkpoint and this
        return True


def running_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """An exponential average that forgets quickly at first: else the fresh network's statistics drown it for the first thousand steps."""

    def average(old: Tensor, new: Tensor, count: Tensor) -> Tensor:
        if not torch.is_floating_point(old):
            return new
        kept = min(decay, (1 + float(count)) / (10 + float(count)))
        return kept * old + (1 - kept) * new

    return average


def parameter_groups(model: nn.Module, weight_decay: float) -> Iterator[dict]:
    """Weight decay for matrices and kernels alone, not for biases and normalisation."""
    yield {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": weight_decay}
    yield {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0}
