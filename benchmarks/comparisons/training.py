"""An epoch of adversarial training beside the textbook's loop."""
import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from ..clips import network, waveforms
from ..timing import Comparison

EPS, STEPS, BATCH, PRECISION = 0.002, 7, 64, "bfloat16"


def adversarial_epoch(quick: bool) -> Comparison:
    """PGD-7 on the same clips, from the same weights, with the same optimiser; robust accuracy on other clips after all rounds beside it."""
    return _epoch("adversarial_epoch", quick, Textbook, "the textbook loop on the same network")


def adversarial_epoch_input_only(quick: bool) -> Comparison:
    """The same against a textbook loop that is helped: its inner steps ask for the input gradient alone."""
    return _epoch("adversarial_epoch_input_only", quick, InputOnly, "the textbook loop, input gradients alone in its inner steps")


def _epoch(name: str, quick: bool, kind: type["Textbook"], against: str) -> Comparison:
    import speechadv
    from speechadv.budgets import parse_budget
    from speechadv.goals import Misclassify

    count = 16 if quick else 512
    clips, classes, source = waveforms(count + count // 4)
    learned, held = slice(0, count), slice(count, None)
    model = network()
    trainer = _trainer(copy.deepcopy(model), clips[learned], classes[learned])
    epochs = iter(range(10_000))
    textbook = kind(copy.deepcopy(model), clips[learned], classes[learned])
    attack = speechadv.create_attack("pgd", steps=20)

    def robust(model) -> float:
        model.eval()
        result = attack(model, clips[held], Misclassify(classes[held]), parse_budget(f"linf:{EPS}"), generators=torch.Generator().manual_seed(0))
        return (~result.reached).float().mean().item()

    def verdicts() -> list[str]:
        return [f"{count} clips an epoch; after {textbook.epochs} epochs each, robust accuracy (PGD-20, {len(clips[held])} other {source}): "
                f"ours {robust(trainer.model):.1%}, textbook {robust(textbook.model):.1%}; our inner attack in {PRECISION}"]

    return Comparison(name, lambda: trainer.one_epoch(next(epochs)), textbook.epoch, "s", against, 1.5, after=verdicts, warm=False)


def _trainer(network, clips, classes):
    from speechadv.training.examples import Examples
    from speechadv.training.loop import Trainer
    from speechadv.training.settings import Adversary, Augmentation, TrainingConfig
    from speechadv.training.targets import Targets
    from speechadv.training.validation import Validator
    from speechadv.training.views import Views

    config = TrainingConfig("bench", epochs=20, batch_size=BATCH, learning_rate=1e-3, warmup_epochs=0.0, averaging=0.0, weight_decay=0.0,
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
    `loss.backward()`, which computes the parameters' gradients too, then a step of the optimiser."""

    def __init__(self, model, clips, classes):
        self.model, self.clips, self.classes, self.epochs = model.requires_grad_(True), clips, classes, 0
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
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
        for rows in order.split(BATCH):
            loss = cross_entropy(self.model(self.attacked(self.clips[rows], self.classes[rows])), self.classes[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.epochs += 1


class InputOnly(Textbook):
    """The same with inner steps that leave the parameters' gradients out."""

    def gradient(self, loss, delta):
        return torch.autograd.grad(loss, delta)[0]
