"""Clips and the network to measure on: validation recordings where SPEECHADV_DATA names some, else the bundled ones, as often as needed."""
import torch
from torch import Tensor, nn

from .timing import device


def network() -> nn.Module:
    """The pretrained `resnet` on the device of the benchmarks."""
    import speechadv

    return speechadv.load_model("resnet").to(device())


def waveforms(count: int, place: str | None = None) -> tuple[Tensor, Tensor, str]:
    """On the device of the benchmarks, or at `place`: (waveforms (count, time), label indices (count,), where they come from) for a network of task v2-12."""
    from speechadv.data import task
    from speechadv.evaluation.clips import load_clips
    from speechadv.evaluation.settings import EvaluationConfig

    found = load_clips(EvaluationConfig(attacks=["pgd"], budgets=["linf:0.002"], split="validation", clips=count), 16000)
    labels = torch.from_numpy(task("v2-12").indices(found.labels))
    rows = torch.arange(count) % len(found)
    place = place or device()
    return torch.from_numpy(found.pcm.astype("float32") / 32768)[rows].to(place), labels[rows].to(place), "validation" if found.source == "data" else "bundled clips"
