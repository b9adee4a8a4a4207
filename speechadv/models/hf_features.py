"""Front ends of Hugging Face's audio classifiers in torch: batched, differentiable, and equal to the extractors in numpy that the models come with."""
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchaudio.compliance.kaldi import get_mel_banks

from .frontend import exporting, waves

KALDI_FLOOR = torch.finfo(torch.float32).eps  # the power from which Kaldi's logarithm counts


def framed(sound: Tensor, size: int, hop: int) -> Tensor:
    """(batch, time) -> (batch, frames, size); while a model is exported by a convolution, since ONNX has no sliding window."""
    if not exporting():
        return sound.unfold(1, size, hop)
    return nn.functional.conv1d(sound[:, None], torch.eye(size).to(sound)[:, None], stride=hop).transpose(1, 2)


def power(frames: Tensor, n_fft: int) -> Tensor:
    """Power spectrum (batch, frames, n_fft // 2 + 1) of frames filled up with zeros to n_fft; while a model is exported by a matrix product."""
    if exporting():
        parts = (frames @ waves(n_fft)[:, : frames.shape[2]].T.to(frames)).square().chunk(2, -1)
        return parts[0] + parts[1]
    spectrum = torch.fft.rfft(frames, n=n_fft)
    return spectrum.real.square() + spectrum.imag.square()


class RawWave(nn.Module):
    """Each clip with zero mean and unit variance, or as it is: what wav2vec 2.0, HuBERT and WavLM hear.

    Args:
        extractor: a `Wav2Vec2FeatureExtractor`.

    Shapes: (batch, time) -> the same.
    """

    def __init__(self, extractor):
        super().__init__()
        self.normalize = extractor.do_normalize

    def forward(self, waveforms: Tensor) -> Tensor:
        if not self.normalize:
            return waveforms
        centred = waveforms - waveforms.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-7).sqrt()


class KaldiBank(nn.Module):
    """Log-mel energies as Kaldi takes them, normalised by a fixed mean and deviation: what the Audio Spectrogram Transformer hears.

    Frames of 25 ms every 10 ms without padding, their mean removed, pre-emphasis 0.97, symmetric Hann window, triangles from 20 Hz to half the rate.

    Args:
        extractor: an `ASTFeatureExtractor`.

    Shapes: (batch, time) -> (batch, max_length, num_mel_bins); frames beyond the clip are zero before the normalisation.
    """

    def __init__(self, extractor):
        super().__init__()
        rate = extractor.sampling_rate
        self.size, self.hop = round(0.025 * rate), round(0.010 * rate)
        self.n_fft = 2 ** math.ceil(math.log2(self.size))
        self.frames = extractor.max_length
        self.mean, self.scale = (extractor.mean, 2 * extractor.std) if extractor.do_normalize else (0.0, 1.0)
        bank, _ = get_mel_banks(extractor.num_mel_bins, self.n_fft, float(rate), 20.0, 0.0, 100.0, -500.0, 1.0)
        self.register_buffer("bank", pad(bank, (0, 1)).T.contiguous(), persistent=False)
        self.register_buffer("window", torch.hann_window(self.size, periodic=False), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        frames = framed(pad(waveforms, (0, max(0, self.size - waveforms.shape[1]))), self.size, self.hop)
        frames = frames - frames.mean(2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], 2)
        energies = power((frames - 0.97 * before) * self.window, self.n_fft) @ self.bank
        logs = energies.clamp(min=KALDI_FLOOR).log()[:, : self.frames]
        return (pad(logs, (0, 0, 0, self.frames - logs.shape[1])) - self.mean) / self.scale


class WhisperBank(nn.Module):
    """Log-mel energies of a clip padded to the length that Whisper always hears, cut off 80 dB below their loudest and scaled.

    Args:
        extractor: a `WhisperFeatureExtractor`.

    Shapes: (batch, time) -> (batch, feature_size, frames of chunk_length seconds).
    """

    def __init__(self, extractor):
        super().__init__()
        self.n_fft, self.hop, self.samples = extractor.n_fft, extractor.hop_length, extractor.n_samples
        self.register_buffer("bank", torch.tensor(extractor.mel_filters, dtype=torch.float32), persistent=False)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        heard = pad(waveforms[:, : self.samples], (0, max(0, self.samples - waveforms.shape[1])))
        centred = pad(heard[:, None], (self.n_fft // 2, self.n_fft // 2), mode="reflect")[:, 0]
        energies = power(framed(centred, self.n_fft, self.hop)[:, :-1] * self.window, self.n_fft) @ self.bank
        logs = energies.clamp(min=1e-10).log10()
        loudest = logs.amax((1, 2), keepdim=True)
        return ((torch.maximum(logs, loudest - 8) + 4) / 4).transpose(1, 2)
