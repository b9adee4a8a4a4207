"""What is measured of a finished run of this recipe: gradients, linearity, noise, and what passes a codec. One object a clip and model, or a saved sound."""
from typing import Any, Iterator, Sequence

import torch
from torch import Tensor, nn

from speechadv.attacks.base import fast_copy, frozen
from speechadv.budgets.base import HIGHEST, LSB
from speechadv.defenses import parse_defense
from speechadv.evaluation.clips import ClipSet
from speechadv.models.resolve import resolve_model
from speechadv.randomness import clip_generators, normal, uniform
from speechadv.report.saved import SavedRun, has_sound

STEPS = (0.0001, 0.0005, 0.002)  # of full scale: how far along the gradient's sign the margin is looked at
DOUBLINGS = tuple(4 * LSB * 2**k for k in range(13))  # peaks of random signs, from 4 LSB to full scale
SIGMAS = (0.001, 0.003, 0.01, 0.03, 0.1)  # of Gaussian noise, fractions of full scale
DRAWS = 8  # of the Gaussian noise, a clip
BATCH = 20


def of_clips(word: str, clips: ClipSet) -> Iterator[dict[str, Any]]:
    """Margins, gradients, linearity and answers under noise of one model, a dictionary a clip."""
    model = resolve_model(word)
    with frozen(model):
        heard = fast_copy(model)
        for first in range(0, len(clips), BATCH):
            names = clips.names[first : first + BATCH]
            waveforms = torch.from_numpy(clips.pcm[first : first + BATCH]).float() / 32768
            labels = torch.tensor([model.labels.index(label) for label in clips.labels[first : first + BATCH]])
            columns = gradients(heard, waveforms, labels) | noises(heard, waveforms, labels, names)
            for i, name in enumerate(names):
                yield {"clip": name, "model": word, "label": clips.labels[first + i], **{key: plain(values[i]) for key, values in columns.items()}}


def plain(value: Any) -> Any:
    """A number or list of numbers of Python."""
    return value.tolist() if isinstance(value, Tensor) else value


def gradients(model: nn.Module, waveforms: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The margin to each other class and its gradient: the distance to the boundary if the network were linear, in peak and in energy.

    For a linear network the smallest perturbation in a norm is the margin over the dual norm of its gradient: L1 for the peak, L2 for the energy
    (Moosavi-Dezfooli et al. 2016, arXiv:1511.04599, eq. 9). Of several classes the nearest boundary counts.
    """
    heard = waveforms.clone().requires_grad_()
    logits = model(heard)
    own = logits.gather(1, labels[:, None])
    margins = own - logits
    found = {"peak": [], "energy": [], "l1": [], "l2": []}
    for other in range(logits.shape[1]):
        (slope,) = torch.autograd.grad(margins[:, other].sum(), heard, retain_graph=True)
        l1, l2 = slope.abs().sum(1), slope.norm(dim=1)
        same = labels == other
        for key, value in (("peak", margins[:, other] / l1), ("energy", margins[:, other] / l2), ("l1", l1), ("l2", l2)):
            found[key].append(torch.where(same, torch.inf, value))
    peak, energy, l1, l2 = (torch.stack(found[key], 1).detach() for key in ("peak", "energy", "l1", "l2"))
    nearest = peak.argmin(1, keepdim=True)  # the class whose boundary is nearest in peak
    taken = {key: value.gather(1, nearest)[:, 0] for key, value in (("l1", l1), ("l2", l2), ("margin", margins.detach()))}
    taken |= {"estimate_linf": peak.amin(1), "estimate_l2": energy.amin(1), "norm": waveforms.norm(dim=1)}
    return taken | steps(model, waveforms, labels, nearest[:, 0])


def steps(model: nn.Module, waveforms: Tensor, labels: Tensor, others: Tensor) -> dict[str, Tensor]:
    """One step along the gradient's sign, of each size of STEPS, (batch, STEPS): how far the margin to one class falls as a share of what a linear network's
    would, and whether the clip is then heard wrong."""
    def margin(logits: Tensor) -> Tensor:
        return (logits.gather(1, labels[:, None]) - logits.gather(1, others[:, None]))[:, 0]

    heard = waveforms.clone().requires_grad_()
    before = margin(model(heard))
    (slope,) = torch.autograd.grad(before.sum(), heard)
    with torch.no_grad():
        after = [model(waveforms - eps * slope.sign()) for eps in STEPS]
        falls = [(before - margin(logits)) / (eps * slope.abs().sum(1)) for eps, logits in zip(STEPS, after)]
        return {"drops": torch.stack(falls, 1), "wrong": torch.stack([logits.argmax(1) != labels for logits in after], 1)}


@torch.no_grad()
def noises(model: nn.Module, waveforms: Tensor, labels: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """The smallest peak of random signs at which the clip is heard wrong (None: never), and how often it is heard right under Gaussian noise."""
    signs = (uniform(clip_generators(0, "signs", names), waveforms.shape[1:]) * 2 - 1).sign()
    wrong = torch.stack([model((waveforms + eps * signs).clamp(-1, HIGHEST)).argmax(1) != labels for eps in DOUBLINGS], 1)
    first = [next((DOUBLINGS[k] for k, fallen in enumerate(row) if fallen), None) for row in wrong.tolist()]
    generators, right = clip_generators(0, "gaussian", names), torch.zeros(len(names), len(SIGMAS))
    for _ in range(DRAWS):
        drawn = normal(generators, waveforms.shape[1:])
        right += torch.stack([model((waveforms + sigma * drawn).clamp(-1, HIGHEST)).argmax(1) == labels for sigma in SIGMAS], 1) / DRAWS
    return {"noise_linf": first, "right_under_noise": right}


def of_sounds(run: SavedRun, attack: str) -> Iterator[dict[str, Any]]:
    """What is left of each saved perturbation behind the defense that it was sent through, a dictionary a row with sound.

    passed: energy of D(x + d) - D(x) over that of d. along: the part of it in the direction of d, as a share of d. own_db: the energy of what the
    defense does to the clean clip, D(x) - x, over that of d, in dB.
    """
    for row in run.rows:
        if row["attack"] != attack or row["defense"] == "none" or not has_sound(row):
            continue
        clean, adversarial = (torch.from_numpy(wave)[None] for wave in run.pair(row))
        change = (adversarial - clean).double()
        energy = change.square().sum()
        if not energy:
            continue  # left alone: it was wrong before
        quiet, loud = clean, adversarial
        for defense in parse_defense(row["defense"]):
            quiet, loud = defense(quiet), defense(loud)
        left, own = (loud - quiet).double(), (quiet - clean).double()
        yield {key: row[key] for key in ("clip", "model", "defense", "threat", "budget")} | {
            "passed": float(left.square().sum() / energy), "along": float((left * change).sum() / energy),
            "own_db": float(10 * torch.log10(own.square().sum() / energy))}
