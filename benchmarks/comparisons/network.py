"""The network with its front end."""
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..clips import network, waveforms
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
    """Forward pass and input gradient: the copy that attacks run on, against the network as one writes it first, in evaluation mode."""
    from speechadv.models.layers import folded

    model, size = network(), 4 if quick else 64
    clean, labels, source = waveforms(size)
    fast, first = folded(model), AsWrittenFirst(model).to(clean.device).eval()
    with torch.no_grad():
        gap = (fast(clean) - first(clean)).abs().max().item()

    def run(model, trained: bool = False):
        first.requires_grad_(trained)
        for _ in range(PASSES):
            heard = clean.clone().requires_grad_()
            loss = cross_entropy(model(heard), labels, reduction="sum")
            loss.backward() if trained else torch.autograd.grad(loss, heard)

    def with_parameters() -> list[str]:
        times = sorted(seconds(lambda: run(first, True)) / seconds(lambda: run(fast)) for _ in range(5))
        return [f"with the parameters' gradients, too, theirs takes {times[2]:.2f} times as long as ours"]

    return Comparison("front_end", lambda: run(fast), lambda: run(first), "ms a clip", "torchaudio MelSpectrogram + log, input gradient alone", 2,
                      work=size * PASSES, notes=[f"{size} {source}, {PASSES} passes a round; the logits differ by at most {gap:.1e}"], after=with_parameters)


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
