"""Beside a certificate: what an attack reaches against the smoothed network in an L2 ball of a given radius, which no certified accuracy may exceed."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import torch
from torch import Tensor, nn

from ..attacks.base import Attack, frozen
from ..budgets.base import Bound, Budget
from ..budgets.snr import BoundSnr
from ..goals import Misclassify
from ..randomness import clip_generators, derived_seed, normal
from . import shapes
from .rows import sealed, unsealed
from .smoothing import Smoothed, snr_of_radius
from .statistics import wilson

EMPIRICAL = "empirical.jsonl"  # beside certificates.jsonl
KEYS = {"clip": shapes.text, "label": shapes.text, "model": shapes.text, "sigma": shapes.finite, "radius": shapes.finite, "attack": shapes.text,
        "draws": shapes.whole, "votes": shapes.whole, "before": shapes.text, "after": shapes.text, "l2": shapes.finite, "snr_db": shapes.or_none(shapes.finite)}
Line = dict[str, Any]


class Ball(Budget):
    """An L2 ball of one radius around every clip, in full scale = 1: what a certificate speaks of. Not a budget of the command line, where `snr:DB` says it per clip."""

    unit = "L2, full scale = 1"

    def __init__(self, radius: float):
        self.radius, self.name = radius, f"l2:{radius:g}"

    def bind(self, clean: Tensor) -> "BoundBall":
        return BoundBall(self, clean)


class BoundBall(BoundSnr):
    """The ball for these clips; rounding and projection are those of the SNR ball."""

    def __init__(self, budget: Ball, clean: Tensor):
        Bound.__init__(self, budget, clean)
        self.radius = torch.full((len(clean),), budget.radius, device=clean.device)

    def distance(self, perturbation: Tensor) -> Tensor:
        return perturbation.double().norm(dim=1).float()

    def select(self, index: Tensor) -> "BoundBall":
        return BoundBall(self.budget, self.clean[index])


class Noisy(nn.Module):
    """A network under white Gaussian noise, drawn anew at each pass: an attack follows the mean over `draws` (Salman et al. 2019, arXiv:1906.04584, section 2.3).

    Args:
        model: waveforms (batch, time) -> logits.
        sigma: standard deviation of the noise, as a fraction of full scale.
        draws: passes that losses and verdicts are averaged over.
    """

    stochastic = True

    def __init__(self, model: nn.Module, sigma: float, draws: int):
        super().__init__()
        self.model, self.sigma, self.draws = model, sigma, draws
        self.labels, self.sample_rate = model.labels, model.sample_rate
        self.generators: Sequence[torch.Generator] | None = None  # set by `randomness.drawing`

    def forward(self, waveforms: Tensor) -> Tensor:
        generators = self.generators or [torch.Generator().manual_seed(derived_seed(0, "noisy", i)) for i in range(len(waveforms))]
        return self.model(waveforms + self.sigma * normal(generators, waveforms.shape[1:], waveforms.device))


@dataclass(frozen=True)
class Trial:
    """What is tried.

    Attributes:
        attack: untargeted, on the network under noise.
        word: what the lines call it.
        sigma: of the noise.
        radius: of the ball.
        draws: of noise that the attack averages over.
        votes: of the smoothed network, before and after.
        seed: of everything random.
    """

    attack: Attack
    word: str
    sigma: float
    radius: float
    draws: int = 8
    votes: int = 100
    seed: int = 0


def tried(model: nn.Module, name: str, trial: Trial, clips: Tensor, labels: Sequence[str], names: Sequence[str]) -> list[Line]:
    """A line a clip: what the vote hears before the attack and after it.

    Args:
        model: the classifier that is smoothed, called `name` in the lines.
        trial: what is tried.
        clips: (clips, time) float32 on the 16-bit grid.
        labels, names: of the clips.
    """
    truth = torch.tensor([list(model.labels).index(label) for label in labels], device=clips.device)
    generators = clip_generators(trial.seed, f"empirical|{name}|{trial.word}|{trial.sigma}|{trial.radius}", names)
    with frozen(model):
        result = trial.attack(Noisy(model, trial.sigma, trial.draws), clips, Misclassify(truth), Ball(trial.radius), generators=generators)
        before, after = (heard(model, trial, waveforms) for waveforms in (clips, result.adversarial))
    changes = (result.adversarial.double() - clips.double()).norm(dim=1).tolist()
    return [{"clip": clip, "label": label, "model": name, "sigma": trial.sigma, "radius": trial.radius, "attack": trial.word, "draws": trial.draws, "votes": trial.votes,
             "before": model.labels[was], "after": model.labels[now], "l2": change, "snr_db": snr_of_radius(clean, change)}
            for clip, label, was, now, change, clean in zip(names, labels, before, after, changes, clips)]


def heard(model: nn.Module, trial: Trial, clips: Tensor) -> list[int]:
    """The label with most votes for each clip; the same noise for all of them, drawn from seed and sigma."""
    generator = torch.Generator().manual_seed(derived_seed(trial.seed, "votes", trial.sigma))
    return Smoothed(model, trial.sigma).votes(clips, trial.votes, generator).argmax(1).tolist()


def encode(line: Line) -> str:
    """A line of empirical.jsonl with its checksum."""
    return sealed({key: line[key] for key in KEYS})


def read(path: Path) -> list[Line]:
    """The whole lines of a file, the first of each clip, radius and attack; a missing file has none."""
    found: dict[tuple, Line] = {}
    for text in path.read_bytes().decode("ascii", "replace").splitlines(keepends=True) if path.exists() else ():
        line = unsealed(text)
        if line is not None and tuple(line) == tuple(KEYS) and shapes.fits(line, KEYS):
            found.setdefault((line["clip"], line["radius"], line["attack"]), line)
    return list(found.values())


def points(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Accuracy of the vote under attack for each radius, ascending: right before and after, over all clips, with Wilson's intervals."""
    found = []
    for radius in sorted({line["radius"] for line in lines}):
        those = [line for line in lines if line["radius"] == radius]
        right = sum(line["before"] == line["label"] == line["after"] for line in those)
        low, high = wilson(right, len(those))
        found.append({"radius": radius, "accuracy": right / len(those), "accuracy_low": low, "accuracy_high": high, "clips": len(those)})
    return found


def certified_share(lines: Sequence[Line], certificates: Sequence[Line]) -> float | None:
    """Of the clips of these lines, all of one radius, the share that is certified there: what the accuracy under attack may not fall below. None where the radius lies
    beyond what any certificate reaches."""
    radius, clips = lines[0]["radius"] - 1e-6, {line["clip"] for line in lines}  # radii of balls are rounded
    if radius > max(line["ceiling"] for line in certificates):
        return None
    return sum(line["clip"] in clips and line["predicted"] == line["label"] and line["radius"] >= radius for line in certificates) / len(clips)


def beside_certificates(lines: Sequence[Line], certificates: Sequence[Line]) -> dict[str, int]:
    """Attacked clips of which the smoothed network is certified to hear the right word, by where the attacked one lies: how many lie `within` the certified radius and
    `beyond` it, and in how many of either the vote changed. A vote of a few draws may err where a certificate holds, and only close to its radius."""
    radii = {line["clip"]: line["radius"] for line in certificates if line["predicted"] == line["label"]}
    counts = dict.fromkeys(("within", "within_changed", "beyond", "beyond_changed"), 0)
    for line in (line for line in lines if line["clip"] in radii):
        place = "within" if line["l2"] <= radii[line["clip"]] else "beyond"
        counts[place] += 1
        counts[f"{place}_changed"] += line["after"] != line["label"]
    return counts
