"""The training loop: standard where the config has no adversary, adversarial where it has one."""
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
from torch.nn.functional import cross_entropy, one_hot
from torch.optim.swa_utils import AveragedModel

from ..attacks.base import Problem, frozen
from ..attacks.gradient import last_iterate
from ..attacks.steps import Plain
from ..audio import write_bytes
from ..budgets import parse_budget
from ..budgets.base import Budget
from ..errors import SpeechAdvError, shown
from ..goals import Misclassify
from ..memory import out_of_memory
from ..models.layers import folded
from ..randomness import derived_seed
from .examples import Examples
from .normalisation import synchronise
from .processes import ALONE, Group
from .settings import TrainingConfig
from .validation import Validator
from .views import Views

Targets = Callable[[np.ndarray, int, Tensor], Tensor]  # (indices, view, waveforms) -> (batch, labels)


@dataclass
class State:
    """Where a run stands; all of it is in the checkpoint."""

    epoch: int = 0
    best_score: float = -1.0
    best_epoch: int = -1
    history: list[dict] = field(default_factory=list)


class Trainer:
    """Trains one network.

    Args:
        config: what to do.
        model: the network, already on its device.
        views: augmented training clips.
        targets: soft or hard targets of a batch.
        train: the training examples, in the order of the views.
        validator: scores a model on validation.
        folder: of the run; the checkpoint lies there.
        progress: wraps the batches of an epoch with a bar.
        say: prints a line for the user.
        group: the processes that share each batch.
    """

    def __init__(self, config: TrainingConfig, model: nn.Module, views: Views, targets: Targets, train: Examples, validator: Validator,
                 folder: Path, progress: Callable, say: Callable[[str], None], group: Group = ALONE):
        self.config, self.views, self.targets, self.train, self.group = config, views, targets, train, group
        self.model = synchronise(model) if group.joined else model
        self.validator, self.folder, self.progress, self.say = validator, folder, progress, say
        self.device = next(model.parameters()).device
        self.average = AveragedModel(model, avg_fn=running_average(config.averaging), use_buffers=True) if config.averaging else None
        self.optimizer = torch.optim.AdamW(parameter_groups(model, config.weight_decay), lr=config.learning_rate)
        self.replica = group.replica(model)
        self.starts = torch.Generator() if group.joined else torch.default_generator  # of random starts: the same ones however many processes there are
        self.state = State()
        self.best: dict[str, Tensor] = {}

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def run(self) -> nn.Module:
        """Train what is left of the epochs. Returns the model with the weights that did best on validation."""
        self.resume()
        for epoch in range(self.state.epoch, self.config.epochs):
            started = time.monotonic()
            # Dropout and the inner attack draw from a state of their own, so that a resumed epoch is the same epoch and the caller's state is untouched.
            with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                self.seed(epoch)
                loss = self.within_memory(epoch)
            self.finish_epoch(epoch, loss, time.monotonic() - started)
        self.model.load_state_dict(self.best)
        return self.model.eval()

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
        total = 0.0
        self.model.train()
        for number, indices in enumerate(self.progress(batches, f"epoch {epoch + 1} of {self.config.epochs}")):
            self.set_learning_rate(epoch + number / len(batches))
            share = self.group.mine(indices)
            waveforms = self.views(share, view).to(self.device)
            targets = self.targets(share, view, waveforms).to(self.device)
            loss = cross_entropy(self.replica(self.attacked(waveforms, targets, epoch, len(indices))), targets)
            loss = loss * (len(share) * self.group.size / len(indices))  # the mean of this over the processes is the mean over the batch
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self.optimizer.step()
            if self.average:
                self.average.update_parameters(self.model)
            total += loss.item() * len(indices) / self.group.size
        total = sum(self.group.gathered(total))
        if not math.isfinite(total):
            raise SpeechAdvError(f"training diverged in epoch {epoch + 1}: the loss is {total}; a lower learning_rate may help")
        return total / sum(map(len, batches))

    def attacked(self, waveforms: Tensor, targets: Tensor, epoch: int, size: int) -> Tensor:
        """This process's share of a batch of `size` under the adversary of this epoch; the network in evaluation mode with folded normalisation, as it will be
        deployed. The copy is of the replica itself: the passes of the attack are no business of the other processes."""
        adversary = self.config.adversary
        steps = adversary.steps_at(epoch) if adversary else 0
        kept = round(size * adversary.clean_share) if steps else size
        if kept == size:
            return waveforms
        own = self.group.mine_of_first(kept)
        clean, wanted = waveforms[own:], targets[own:]
        generators = [torch.default_generator] * len(clean)  # forked and seeded by the epoch
        budget = parse_budget(adversary.budget_at(epoch), self.model.sample_rate)
        start = self.shared_start(budget, clean, kept, size) if self.group.size > 1 else None  # drawn also where all of the share stays clean
        if not len(clean):
            return waveforms
        problem = Problem(folded(self.model), clean, Misclassify(wanted.argmax(1)), budget.bind(clean), generators)
        # The soft targets are the adversary's as well (RSLAD, Zi et al. 2021): it drives the network away from what the teacher hears.
        loss = (lambda logits: cross_entropy(logits, wanted, reduction="none")) if adversary.loss == "cross_entropy" else adversary.loss
        step_size = adversary.step_size or min(1.0, 1.25 / steps)
        start = problem.bound.random_start([self.starts] * len(clean)) if start is None else start
        perturbation = last_iterate(problem, start, steps=steps, rule=Plain(step_size), loss=loss)
        return torch.cat([waveforms[:own], clean + perturbation])

    def shared_start(self, budget: Budget, clean: Tensor, kept: int, size: int) -> Tensor:
        """Random starts of this process's attacked clips, as one process would have drawn them: those of the others' clips, silence here, are dropped."""
        mine = [place - kept for place in self.group.mine(range(size)) if place >= kept]
        every = clean.new_zeros(size - kept, clean.shape[1])
        every[mine] = clean
        return budget.bind(every).random_start([self.starts] * len(every))[mine]

    def set_learning_rate(self, epoch: float) -> None:
        """Linear warm-up, then a cosine to zero."""
        c = self.config
        warm = min(1.0, (epoch + 0.01) / c.warmup_epochs) if c.warmup_epochs else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = c.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * epoch / c.epochs))

    def finish_epoch(self, epoch: int, loss: float, seconds: float) -> None:
        """Validate, keep the best weights, write checkpoint and history."""
        row = {"epoch": epoch + 1, "loss": loss}
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

    def save(self) -> None:
        """The checkpoint, all or nothing, and the history beside it."""
        content = {"model": self.model.state_dict(), "average": self.average.state_dict() if self.average else {}, "optimizer": self.optimizer.state_dict(),
                   "best": self.best, "epoch": self.state.epoch, "best_score": self.state.best_score, "best_epoch": self.state.best_epoch,
                   "history": json.dumps(self.state.history)}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(self.checkpoint, buffer.getvalue())
        self.write_history()

    def write_history(self) -> None:
        """A line an epoch, for people and figures; the checkpoint has it too."""
        write_bytes(self.folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in self.state.history).encode("ascii"))

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one. A broken one is refused by name."""
        if not self.group.sent(self.checkpoint.exists()):
            return
        try:
            content = self.group.sent(torch.load(self.checkpoint, map_location=self.device, weights_only=True) if self.group.leads else None)
            self.model.load_state_dict(content["model"])
            if self.average:
                self.average.load_state_dict(content["average"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.best = content["best"]
            self.state = State(content["epoch"], content["best_score"], content["best_epoch"], json.loads(content["history"]))
        except Exception as problem:  # whatever a foreign or torn file makes torch raise
            raise SpeechAdvError(f"'{shown(self.checkpoint)}': expected a checkpoint of this run, got a broken or foreign file "
                                 f"({type(problem).__name__}); remove it to start afresh") from None
        if self.group.leads:
            self.write_history()  # a kill may have come between the checkpoint and this
        self.say(f"going on after epoch {self.state.epoch}")


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


def hard_targets(classes: Tensor, count: int, smoothing: float = 0.0) -> Tensor:
    """One-hot targets (batch, count), smoothed."""
    return one_hot(classes, count).float() * (1 - smoothing) + smoothing / count
