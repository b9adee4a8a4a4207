"""TC-ResNet8: one-dimensional convolutions along time, the bands as channels (Choi et al. 2019, "Temporal Convolution for Real-time Keyword
Spotting on Mobile Devices", arXiv:1904.03814)."""
from typing import Sequence

from torch import Tensor, nn

from ..registry import register
from .frontend import LogMel
from .layers import conv_norm


class Block(nn.Module):
    """Two convolutions of nine frames beside a shortcut; the first one halves the frames (figure 3 of the paper)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = conv_norm(inputs, outputs, 9, stride=2, dimensions=1)
        self.second = conv_norm(outputs, outputs, 9, dimensions=1)
        self.shortcut = nn.Sequential(conv_norm(inputs, outputs, 1, stride=2, dimensions=1), nn.ReLU())
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.shortcut(x) + self.second(self.act(self.first(x))))


@register("model", "tc_resnet8")
class TCResNet8(nn.Module):
    """TC-ResNet8 of Choi et al. (2019) on 40 log-mel bands (the paper: 40 MFCC).

    Args:
        labels: the words of the outputs, in order.
        sample_rate: Hz.
        widths: channels of the first convolution and of each residual block; (24, 36, 48, 72) is the paper's k = 1.5.
        dropout: before the last layer, in training.
        n_fft, hop_length, n_mels, f_min, f_max, offset, energy_share, trained_filters: the front end, see `LogMel`; at 16 kHz the paper's windows of 30 ms, 10 ms apart.

    Shapes: waveforms (batch, time) -> logits (batch, len(labels)).
    """

    def __init__(self, labels: Sequence[str], sample_rate: int = 16000, widths: Sequence[int] = (16, 24, 32, 48), dropout: float = 0.5,
                 n_fft: int = 480, hop_length: int = 160, n_mels: int = 40, f_min: float = 60.0, f_max: float = 4000.0, offset: float = 1e-4,
                 energy_share: float = 0.0, trained_filters: bool = False):
        super().__init__()
        self.labels, self.sample_rate = tuple(labels), sample_rate
        self.frontend = LogMel(sample_rate, n_fft, hop_length, n_mels, f_min, f_max, offset, energy_share, trained_filters)
        self.stem = nn.Sequential(conv_norm(n_mels, widths[0], 3, dimensions=1), nn.ReLU())
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(widths, widths[1:])))
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(widths[-1], len(self.labels)))

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(self.frontend(waveforms))).mean(2))
