"""The default network: a small two-dimensional residual CNN on log-mel bands (He et al. 2016; Tang & Lin 2018 for keyword spotting)."""
from typing import Sequence

import torch
from torch import Tensor, nn

from ..registry import register
from .frontend import LogMel
from .layers import conv_norm


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut. SiLU, since smooth activations train more robustly (Xie et al. 2020, arXiv:2006.14536)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = conv_norm(inputs, outputs, 3, stride=stride)
        self.second = conv_norm(outputs, outputs, 3)
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else conv_norm(inputs, outputs, 1, stride=stride)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.shortcut(x) + self.second(self.act(self.first(x))))


@register("model", "resnet")
class ResNet(nn.Module):
    """Residual CNN on log-mel bands.

    Args:
        labels: the words of the outputs, in order.
        sample_rate: Hz.
        widths: channels of the stem and of each residual block; each block but those with an unchanged width halves time and frequency.
        dropout: before the last layer, in training.
        n_fft, hop_length, n_mels, f_min, f_max, offset, energy_share, trained_filters: the front end, see `LogMel`.

    Shapes: waveforms (batch, time) -> logits (batch, len(labels)).
    """

    def __init__(self, labels: Sequence[str], sample_rate: int = 16000, widths: Sequence[int] = (24, 48, 48, 96, 96), dropout: float = 0.1,
                 n_fft: int = 512, hop_length: int = 256, n_mels: int = 40, f_min: float = 60.0, f_max: float = 4000.0, offset: float = 1e-4,
                 energy_share: float = 0.0, trained_filters: bool = False):
        super().__init__()
        self.labels, self.sample_rate = tuple(labels), sample_rate
        self.frontend = LogMel(sample_rate, n_fft, hop_length, n_mels, f_min, f_max, offset, energy_share, trained_filters)
        self.stem = nn.Sequential(conv_norm(1, widths[0], 5, stride=2), nn.SiLU())
        self.blocks = nn.Sequential(*(Block(a, b, 1 if a == b else 2) for a, b in zip(widths, widths[1:])))
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(widths[-1], len(self.labels)))

    def forward(self, waveforms: Tensor) -> Tensor:
        features = self.frontend(waveforms)[:, None].contiguous(memory_format=torch.channels_last)
        return self.head(self.blocks(self.stem(features)).mean((2, 3)))
