"""DS-CNN: depthwise separable convolutions (Zhang et al. 2017, "Hello Edge: Keyword Spotting on Microcontrollers", arXiv:1711.07128)."""
from typing import Sequence

import torch
from torch import Tensor, nn

from ..registry import register
from .frontend import LogMel
from .layers import conv_norm


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution across them, both normalised and rectified."""
    return nn.Sequential(conv_norm(inputs, inputs, 3, stride=stride, groups=inputs), nn.ReLU(), conv_norm(inputs, outputs, 1), nn.ReLU())


@register("model", "ds_cnn")
class DSCNN(nn.Module):
    """DS-CNN of Zhang et al. (2017) on 40 log-mel bands (the paper: 10 MFCC).

    The defaults are DS-CNN-S of the paper's table of networks; width=172, stem_stride=(2, 1), strides=(2, 1, 1, 1) is M; width=276,
    stem_stride=(2, 1), strides=(2, 1, 1, 1, 1) is L.

    Args:
        labels: the words of the outputs, in order.
        sample_rate: Hz.
        width: channels of every layer.
        stem_stride: of the first convolution (10 frames by 4 bands), as (frames, bands).
        strides: of each separable convolution, along frames and bands.
        dropout: before the last layer, in training.
        n_fft, hop_length, n_mels, f_min, f_max, offset: the front end, see `LogMel`; at 16 kHz the paper's windows of 40 ms, 20 ms apart.

    Shapes: waveforms (batch, time) -> logits (batch, len(labels)).
    """

    def __init__(self, labels: Sequence[str], sample_rate: int = 16000, width: int = 64, stem_stride: Sequence[int] = (2, 2),
                 strides: Sequence[int] = (1, 1, 1, 1), dropout: float = 0.2, n_fft: int = 640, hop_length: int = 320, n_mels: int = 40,
                 f_min: float = 60.0, f_max: float = 4000.0, offset: float = 1e-4):
        super().__init__()
        self.labels, self.sample_rate = tuple(labels), sample_rate
        self.frontend = LogMel(sample_rate, n_fft, hop_length, n_mels, f_min, f_max, offset)
        frames, bands = stem_stride
        # Features come as (bands, frames).
        self.stem = nn.Sequential(conv_norm(1, width, (4, 10), stride=(bands, frames), padding=(1, 4)), nn.ReLU())
        self.blocks = nn.Sequential(*(separable(width, width, stride) for stride in strides))
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, len(self.labels)))

    def forward(self, waveforms: Tensor) -> Tensor:
        features = self.frontend(waveforms)[:, None].contiguous(memory_format=torch.channels_last)
        return self.head(self.blocks(self.stem(features)).mean((2, 3)))
