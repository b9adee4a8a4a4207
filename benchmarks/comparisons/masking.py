"""The masking threshold beside ART's, and what the masking budget costs a step."""
import numpy as np
import torch

from ..clips import network, waveforms
from ..timing import Comparison, device


def masking_threshold(quick: bool) -> Comparison:
    """Thresholds of one-second clips in a batch, against ART's PsychoacousticMasker, a clip at a time as it works."""
    from art.attacks.evasion.imperceptible_asr.imperceptible_asr import PsychoacousticMasker

    from speechadv.masking import MaskingModel

    size, few = (4, 1) if quick else (64, 4)
    clips, _, source = waveforms(size)
    ours, theirs = MaskingModel(), PsychoacousticMasker()
    loud = [clip for clip in clips.cpu().numpy().astype(np.float64) if np.abs(clip).max() > 0.01][:few]

    def one_by_one():
        for clip in loud:
            theirs.calculate_threshold_and_psd_maximum(clip)

    return Comparison("masking_threshold", lambda: ours.threshold_db(clips), one_by_one, "clips a second", "ART's PsychoacousticMasker", 50 if device() == "cpu" else 5000,
                      work=size, their_work=len(loud), notes=[f"{size} {source} in one batch, {len(loud)} of them for ART; aim on a GPU: 5,000"])


def masking_step(quick: bool) -> Comparison:
    """A step of PGD under the masking budget, against one under L-infinity: how much of the L-infinity step's speed is left."""
    from speechadv.attacks.base import Problem
    from speechadv.attacks.gradient import last_iterate
    from speechadv.attacks.steps import Plain
    from speechadv.budgets import parse_budget
    from speechadv.goals import Misclassify
    from speechadv.models.layers import folded

    size, steps = (4, 1) if quick else (32, 10)
    clean, labels, source = waveforms(size)
    model, goal, generators = folded(network()), Misclassify(labels), [torch.Generator().manual_seed(0)] * size

    def search(budget):
        bound = parse_budget(budget).bind(clean)
        start = bound.random_start(generators)
        return lambda: last_iterate(Problem(model, clean, goal, bound, generators), start, steps=steps, rule=Plain(0.1), loss="cross_entropy")

    return Comparison("masking_step", search("masking"), search("linf:0.002"), "ms a step and clip", "the L-infinity step", 1 / 1.5, work=steps * size,
                      notes=[f"{size} {source}; the thresholds are computed before"])
