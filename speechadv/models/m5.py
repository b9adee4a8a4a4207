"""M5: convolutions on the raw waveform, no spectrogram (Dai et al. 2017, "Very Deep Convolutional Neural Networks for Raw Waveforms",
arXiv:1610.00087)."""
from typing import Sequence

from torch import Tensor, nn

from ..registry import register
from .layers import conv_norm


def stage(inputs: int, outputs: int) -> nn.Sequential:
    """A convolution of three samples and a pooling to every fourth one."""
    return nn.Sequential(conv_norm(inputs, outputs, 3, dimensions=1), nn.ReLU(), nn.MaxPool1d(4))


@register("model", "m5")
class M5(nn.Module):
    """M5 of Dai et al. (2017), table 1.

    Args:
        labels: the words of the outputs, in order.
        sample_rate: Hz.
        widths: channels of each of the convolutions.
        kernel: length of the first filters in samples; the paper's 80 at 8 kHz are 10 ms.
        stride: of the first convolution in samples; the paper's 4 at 8 kHz are 0.5 ms.
        dropout: before the last layer, in training (0 in the paper).

    Shapes: waveforms (batch, time), at least 4**len(widths) * stride samples -> logits (batch, len(labels)).
    """

    def __init__(self, labels: Sequence[str], sample_rate: int = 16000, widths: Sequence[int] = (128, 128, 256, 512), kernel: int = 160,
                 stride: int = 8, dropout: float = 0.0):
        super().__init__()
        self.labels, self.sample_rate = tuple(labels), sample_rate
        self.stem = nn.Sequential(conv_norm(1, widths[0], kernel, stride=stride, padding=kernel // 2, dimensions=1), nn.ReLU(), nn.MaxPool1d(4))
        self.stages = nn.Sequential(*(stage(a, b) for a, b in zip(widths, widths[1:])))
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(widths[-1], len(self.labels)))

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(waveforms[:, None])).mean(2))
