"""A network without weights worth mentioning, for tests that ask about detectors alone."""
import pytest
import torch
from torch import nn


class Linear(nn.Module):
    """Logits that are linear in the waveform, or curved a little."""

    sample_rate = 16000

    def __init__(self, labels=("no", "yes", "go"), time=1600, curved=False):
        super().__init__()
        self.labels, self.curved = labels, curved
        self.register_buffer("weights", 0.2 * torch.randn(time, len(labels), generator=torch.Generator().manual_seed(5)))

    def forward(self, waveforms):
        logits = waveforms @ self.weights
        return logits + 0.1 * (waveforms @ self.weights.flip(0)).square() if self.curved else logits


@pytest.fixture
def linear():
    """`linear()`: a new network; labels and number of samples may be named."""
    return lambda *arguments, **options: Linear(*arguments, **options).eval()


@pytest.fixture
def waveforms():
    """Four short clips on the 16-bit grid."""
    generator = torch.Generator().manual_seed(3)
    tone = torch.sin(torch.arange(1600) * 0.3) * 0.2
    return ((tone + 0.05 * torch.randn(4, 1600, generator=generator)) * 32768).round() / 32768
