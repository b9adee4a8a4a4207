"""The network that `--quick` hardens: a small one of somebody's, untrained."""
import torch
from torch import Tensor, nn

WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "_silence_", "_unknown_")


class Tiny(nn.Module):
    """Waveforms (batch, time) at 16 kHz -> logits (batch, 12)."""

    labels, sample_rate = WORDS, 16000

    def __init__(self):
        super().__init__()
        self.hear = nn.Conv1d(1, 16, 400, 200)
        self.say = nn.Sequential(nn.Conv1d(16, 24, 9, 4), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(24, 12))

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.say((self.hear(waveforms[:, None]).square() + 1e-3).log())


def factory() -> Tiny:
    """The same weights each time, whatever else draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Tiny().eval()
