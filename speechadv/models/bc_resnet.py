"""BC-ResNet: residual blocks that work on the average over frequency and broadcast it back (Kim et al. 2021, "Broadcasted Residual Learning for
Efficient Keyword Spotting", arXiv:2106.04140)."""
from typing import Sequence

from torch import Tensor, nn

from ..registry import register
from .frontend import LogMel
from .layers import conv_norm

# Table 1 of the paper: blocks, channels as a multiple of the base width, stride over frequency, dilation over time.
STAGES = ((2, 1.0, 1, 1), (2, 1.5, 2, 2), (4, 2.0, 2, 4), (4, 2.5, 1, 8))


class SubSpectralNorm(nn.Module):
    """Batch normalisation with statistics and scale of its own for each of `bands` equal ranges of frequency (Chang et al. 2021,
    arXiv:2103.13620). Its scale depends on frequency, so no convolution can take it in.

    Shapes: (batch, channels, frequency, time) -> the same; `bands` divides the frequency.
    """

    def __init__(self, channels: int, bands: int = 5):
        super().__init__()
        self.bands, self.norm = bands, nn.BatchNorm2d(channels * bands)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, frequency, time = x.shape
        return self.norm(x.reshape(batch, channels * self.bands, frequency // self.bands, time)).reshape(batch, channels, frequency, time)


class Block(nn.Module):
    """y = x + f2(x) + broadcast(f1(mean over frequency of f2(x))), equation 3; where the channels change (a transition block) a 1x1 convolution goes
    before f2 and the shortcut x is left out, equation 4."""

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int, dropout: float):
        super().__init__()
        self.shortcut = inputs == outputs
        self.widen = nn.Identity() if self.shortcut else nn.Sequential(conv_norm(inputs, outputs, 1), nn.ReLU())
        self.frequency = nn.Sequential(nn.Conv2d(outputs, outputs, (3, 1), (stride, 1), (1, 0), groups=outputs, bias=False), SubSpectralNorm(outputs))
        self.time = nn.Sequential(conv_norm(outputs, outputs, (1, 3), dilation=(1, dilation), groups=outputs), nn.SiLU(),
                                  nn.Conv2d(outputs, outputs, 1, bias=False), nn.Dropout2d(dropout))
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        plane = self.frequency(self.widen(x))
        y = plane + self.time(plane.mean(2, keepdim=True))
        return self.act(x + y if self.shortcut else y)


@register("model", "bc_resnet1")
class BCResNet(nn.Module):
    """BC-ResNet of Kim et al. (2021) on 40 log-mel bands; the default width is BC-ResNet-1.

    Args:
        labels: the words of the outputs, in order.
        sample_rate: Hz.
        width: channels of the first stage; 8 times the number in the paper's names.
        dropout: of whole channels in the temporal branch, in training.
        n_fft, hop_length, f_min, f_max, offset, energy_share, trained_filters: the front end, see `LogMel`; at 16 kHz the paper's windows of 30 ms, 10 ms apart.

    Shapes: waveforms (batch, time) -> logits (batch, len(labels)).
    """

    def __init__(self, labels: Sequence[str], sample_rate: int = 16000, width: int = 8, dropout: float = 0.1, n_fft: int = 480,
                 hop_length: int = 160, f_min: float = 60.0, f_max: float = 8000.0, offset: float = 1e-4,
                 energy_share: float = 0.0, trained_filters: bool = False):
        super().__init__()
        self.labels, self.sample_rate = tuple(labels), sample_rate
        # 40 bands, as in the paper: the last convolution takes the five rows that three halvings leave of them.
        self.frontend = LogMel(sample_rate, n_fft, hop_length, 40, f_min, f_max, offset, energy_share, trained_filters)
        self.stem = nn.Sequential(conv_norm(1, 2 * width, 5, stride=(2, 1)), nn.ReLU())
        blocks, inputs = [], 2 * width
        for count, factor, stride, dilation in STAGES:
            outputs = int(width * factor)
            blocks.append(Block(inputs, outputs, stride, dilation, dropout))
            blocks += [Block(outputs, outputs, 1, dilation, dropout) for _ in range(count - 1)]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.tail = nn.Sequential(nn.Conv2d(inputs, inputs, 5, padding=(0, 2), groups=inputs, bias=False), conv_norm(inputs, 4 * width, 1), nn.ReLU())
        self.head = nn.Linear(4 * width, len(self.labels))

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.head(self.tail(self.blocks(self.stem(self.frontend(waveforms)[:, None]))).mean((2, 3)))


@register("model", "bc_resnet8")
class BCResNet8(BCResNet):
    """BC-ResNet-8 of Kim et al. (2021): eight times the channels of BC-ResNet-1. Arguments and shapes as there."""

    def __init__(self, labels: Sequence[str], sample_rate: int = 16000, width: int = 64, dropout: float = 0.1, n_fft: int = 480,
                 hop_length: int = 160, f_min: float = 60.0, f_max: float = 8000.0, offset: float = 1e-4,
                 energy_share: float = 0.0, trained_filters: bool = False):
        super().__init__(labels, sample_rate, width, dropout, n_fft, hop_length, f_min, f_max, offset, energy_share, trained_filters)
