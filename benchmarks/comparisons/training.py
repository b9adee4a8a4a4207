"""An epoch of adversarial training beside the textbook's loop."""
import copy
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..clips import waveforms
from ..timing import Comparison

EPS, STEPS, BATCH, PRECISION, RATE, EPOCHS = 0.002, 7, 64, "bfloat16", 1e-3, 20
START = "resnet-trades"  # of resnet's size, and right on clips under attack: from a network that is not, a few epochs say nothing


def adversarial_epoch(quick: bool) -> Comparison:
    """PGD-7 on the same clips, from the same weights, with the same optimiser; robust accuracy on other clips after all rounds beside it."""
    return _epoch("adversarial_epoch", quick, Textbook, "the textbook loop on the same network")


def adversarial_epoch_input_only(quick: bool) -> Comparison:
    """The same against a textbook loop that is helped: its inner steps ask for the input gradient alone."""
    return _epoch("adversarial_epoch_input_only", quick, InputOnly, "the textbook loop, input gradients alone in its inner steps")


def _epoch(name: str, quick: bool, kind: type["Textbook"], against: str) -> Comparison:
    import speechadv
    from speechadv.budgets import parse_budget
    from speechadv.evaluation.statistics import wilson
    from speechadv.goals import Misclassify

    count, others = (16, 4) if quick else (512, 400)
    clips, classes, source = waveforms(count + others)
    learned, held = slice(0, count), slice(count, None)
    model = speechadv.load_model(START).to(clips.device)
    trainer = _trainer(copy.deepcopy(model), clips[learned], classes[learned])
    epochs = iter(range(10_000))
    textbook = kind(copy.deepcopy(model), clips[learned], classes[learned])
    attack = speechadv.create_attack("pgd", steps=20)

    def robust(model) -> str:
        model.eval()
        result = attack(model, clips[held], Misclassify(classes[held]), parse_budget(f"linf:{EPS}"), generators=torch.Generator().manual_seed(0))
        right = int((~result.reached).sum())
        low, high = wilson(right, others)
        return f"{right / others:.1%} [{100 * low:.1f}, {100 * high:.1f}]"

    def verdicts() -> list[str]:
        return [f"{count} clips an epoch, from {START}; after {textbook.epochs} epochs each, robust accuracy (PGD-20, {others} other {source}): "
                f"ours {robust(trainer.model)}, textbook {robust(textbook.model)}; our inner attack in {PRECISION}"]

    return Comparison(name, lambda: trainer.one_epoch(next(epochs)), textbook.epoch, "s", against, 1.5, after=verdicts, warm=False)


def _trainer(network, clips, classes):
    from speechadv.training.examples import Examples
    from speechadv.training.loop import Trainer
    from speechadv.training.settings import Adversary, Augmentation, TrainingConfig
    from speechadv.training.targets import Targets
    from speechadv.training.validation import Validator
    from speechadv.training.views import Views

    config = TrainingConfig("bench", epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE, warmup_epochs=0.0, averaging=0.0, weight_decay=0.0,
                            adversary=Adversary(budget=f"linf:{EPS}", steps=[[0, STEPS]], precision=PRECISION))
    pcm = np.round(clips.cpu().numpy() * 32768).astype(np.int16)
    plain = Augmentation(shift_ms=0.0, gain_db=[0.0, 0.0], noise_share=0.0)
    views = Views(pcm, [], np.zeros(len(pcm), bool), plain, 0)
    examples = Examples(pcm, classes.cpu().numpy(), network.labels)
    network.train()
    return Trainer(config, network, views, Targets(config, examples, views), examples, Validator(examples, None, 0), Path(tempfile.gettempdir()),
                   lambda batches, text: batches, lambda line: None)


class Textbook:
    """Madry et al. (2018) as textbooks write it (Kolter & Madry 2018, Adversarial Robustness: Theory and Practice, chapter 4): the inner loop on the network itself by
    `loss.backward()`, which computes the parameters' gradients too, then a step of the optimiser. The recipe is ours: rates, their schedule and the limit of the gradient."""

    def __init__(self, model, clips, classes):
        self.model, self.clips, self.classes, self.epochs = model.requires_grad_(True), clips, classes, 0
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
        self.generator = torch.Generator().manual_seed(0)

    def attacked(self, clean, labels):
        self.model.eval()
        delta = ((2 * torch.rand(clean.shape, generator=self.generator) - 1) * EPS).to(clean)
        for _ in range(STEPS):
            delta.requires_grad_()
            loss = cross_entropy(self.model(clean + delta), labels)
            delta = (delta.detach() + 1.25 / STEPS * EPS * self.gradient(loss, delta).sign()).clamp(-EPS, EPS)
            delta = (clean + delta).clamp(-1, 1) - clean
        self.model.train()
        return clean + delta

    def gradient(self, loss, delta):
        loss.backward()
        return delta.grad

    def epoch(self):
        order = torch.randperm(len(self.clips), generator=self.generator)
        batches = order.split(BATCH)
        for number, rows in enumerate(batches):
            for group in self.optimizer.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * (self.epochs + number / len(batches)) / EPOCHS))
            loss = cross_entropy(self.model(self.attacked(self.clips[rows], self.classes[rows])), self.classes[rows])
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self.optimizer.step()
        self.epochs += 1


class InputOnly(Textbook):
    """The same with inner steps that leave the parameters' gradients out."""

    def gradient(self, loss, delta):
        return torch.autograd.grad(loss, delta)[0]
