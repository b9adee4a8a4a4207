"""Targeted L-infinity PGD as other libraries do it, each on the input range that it demands and with its fastest settings.

They work on images in [0, 1]; a waveform x goes in as (x + 1) / 2 and every length halves.
"""
from typing import Callable

import torch
from torch import Tensor, nn

from .timing import device


class FromUnit(nn.Module):
    """The network behind inputs in [0, 1]."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(2 * images - 1)


Peer = Callable[[Tensor, Tensor], Tensor]  # (waveforms, targets) -> adversarial waveforms


def torchattacks_pgd(network: nn.Module, eps: float, step: float, steps: int) -> Peer:
    """torchattacks.PGD, its input gradient by autograd.grad."""
    import torchattacks

    wrapped = FromUnit(network).eval().requires_grad_(False)
    attack = torchattacks.PGD(wrapped, eps=eps / 2, alpha=step / 2, steps=steps, random_start=False)
    attack.set_mode_targeted_by_label(quiet=True)

    def run(waveforms: Tensor, targets: Tensor) -> Tensor:
        wrapped.eval()
        return 2 * attack((waveforms + 1) / 2, targets) - 1

    return run


def foolbox_pgd(network: nn.Module, eps: float, step: float, steps: int) -> Peer:
    """foolbox.attacks.LinfPGD."""
    import foolbox

    wrapped = foolbox.PyTorchModel(FromUnit(network).eval().requires_grad_(False), bounds=(0, 1), device=device())
    attack = foolbox.attacks.LinfPGD(abs_stepsize=step / 2, steps=steps, random_start=False)

    def run(waveforms: Tensor, targets: Tensor) -> Tensor:
        criterion = foolbox.criteria.TargetedMisclassification(targets)
        return 2 * attack.run(wrapped, (waveforms + 1) / 2, criterion, epsilon=eps / 2) - 1

    return run


def art_pgd(network: nn.Module, eps: float, step: float, steps: int) -> Peer:
    """art.attacks.evasion.ProjectedGradientDescentPyTorch, which works on tensors inside."""
    from art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    def run(waveforms: Tensor, targets: Tensor) -> Tensor:
        classifier = PyTorchClassifier(FromUnit(network).eval().requires_grad_(False), nn.CrossEntropyLoss(), (waveforms.shape[1],), len(network.labels),
                                       clip_values=(0.0, 1.0), device_type="cpu" if device() == "cpu" else "gpu")
        attack = ProjectedGradientDescentPyTorch(classifier, eps=eps / 2, eps_step=step / 2, max_iter=steps, targeted=True, num_random_init=0,
                                                 batch_size=len(waveforms), verbose=False)
        wanted = nn.functional.one_hot(targets, len(network.labels)).float().cpu().numpy()
        return 2 * torch.from_numpy(attack.generate(((waveforms + 1) / 2).cpu().numpy(), wanted)).to(waveforms) - 1

    return run


PGD = {"torchattacks": torchattacks_pgd, "foolbox": foolbox_pgd, "adversarial-robustness-toolbox": art_pgd}


def in_batches(peer: Peer, size: int) -> Peer:
    """The same, `size` clips at a time."""
    return lambda waveforms, targets: torch.cat([peer(w, t) for w, t in zip(waveforms.split(size), targets.split(size))])
