"""The network with its front end."""
from typing import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..clips import network, waveforms
from ..elsewhere import Elsewhere
from ..timing import Comparison, seconds

PASSES = 10  # a round


class AsWrittenFirst(nn.Module):
    """The same layers behind torchaudio's MelSpectrogram and a logarithm."""

    def __init__(self, network: nn.Module):
        super().__init__()
        import torchaudio

        front = network.frontend
        self.mel = torchaudio.transforms.MelSpectrogram(network.sample_rate, front.n_fft, hop_length=front.hop_length, n_mels=front.bank.shape[1],
                                                        f_min=front.f_min, f_max=front.f_max, pad_mode="constant")
        self.offset, self.stem, self.blocks, self.head = front.offset, network.stem, network.blocks, network.head

    def forward(self, waveforms):
        features = torch.log1p(self.mel(waveforms) / self.offset)[:, None] / 4
        return self.head(self.blocks(self.stem(features)).mean((2, 3)))


def front_end(quick: bool) -> Comparison:
    """Forward pass and input gradient: the copy that attacks run on, against the network as one writes it first: `loss.backward()` on a network in evaluation mode, which
    computes the parameters' gradients too, in a process of its own that gives memory back as processes do."""
    size = 4 if quick else 64
    ours, notes = _fast(size)
    return Comparison("front_end", ours, Elsewhere(first_version, size), "ms a clip", "torchaudio MelSpectrogram + log and loss.backward(), in a process as it comes", 2,
                      work=size * PASSES, notes=notes)


def front_end_input_only(quick: bool) -> Comparison:
    """The same against a first version that is helped: the input gradient alone, and memory kept as for ours."""
    size = 4 if quick else 64
    ours, notes = _fast(size)
    return Comparison("front_end_input_only", ours, first_version(size, trained=False), "ms a clip", "torchaudio MelSpectrogram + log, input gradient alone, memory kept", 2,
                      work=size * PASSES, notes=notes)


def first_version(size: int, trained: bool = True) -> Callable[[], None]:
    """What passes `size` clips through the first version, forward and back; `trained`: down to its parameters."""
    first, (clean, labels, _) = AsWrittenFirst(network()).eval().requires_grad_(trained), waveforms(size)
    first = first.to(clean.device)
    return lambda: _both_ways(first, clean, labels)


def _fast(size: int) -> tuple[Callable[[], None], list[str]]:
    """The same of the copy that attacks run on; and a note on the clips and how far both versions are apart."""
    from speechadv.models.layers import folded

    model, (clean, labels, source) = network(), waveforms(size)
    fast, first = folded(model), AsWrittenFirst(model).to(clean.device).eval()
    with torch.no_grad():
        gap = (fast(clean) - first(clean)).abs().max().item()
    return lambda: _both_ways(fast, clean, labels), [f"{size} {source}, {PASSES} passes a round; the logits differ by at most {gap:.1e}"]


def _both_ways(model: nn.Module, clean: Tensor, labels: Tensor) -> None:
    for _ in range(PASSES):
        heard = clean.clone().requires_grad_()
        cross_entropy(model(heard), labels, reduction="sum").backward()


def certification(quick: bool) -> Comparison:
    """Noisy forward passes of randomised smoothing, against the bare forward pass of the same copy at its best batch size."""
    from speechadv.evaluation.smoothing import Smoothed
    from speechadv.models.layers import folded

    model, count = folded(network()), 64 if quick else 2048
    clips, _, _ = waveforms(256)
    with torch.no_grad():
        sizes = {size: min(seconds(lambda: [model(part) for part in clips.split(size)]) for _ in range(1 if quick else 3)) for size in (16, 32, 64, 128, 256)}
    best = min(sizes, key=sizes.get)
    smoothed = Smoothed(model, 0.0025, best)

    def bare():
        with torch.no_grad():
            for start in range(0, count, best):
                model(clips[start % len(clips) :][:best])

    return Comparison("certification", lambda: smoothed.votes(clips[:8], count // 8, torch.Generator().manual_seed(0)), bare, "forward passes a second",
                      "bare forward passes of the same copy", 0.9, work=count, notes=[f"batches of {best}, the fastest of {', '.join(map(str, sizes))}; {count // 8} draws around each of 8 clips"])
