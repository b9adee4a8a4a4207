"""The log-mel front end that sits inside the networks: waveform in, features out, differentiable and fast backwards."""
import torch
import torchaudio.functional
from torch import Tensor, nn

from ..errors import ConfigError


def framed_power(sound: Tensor, window: Tensor, hop: int, bins: int | None = None, margin: int = 0) -> Tensor:
    """Power spectrum of windowed frames: (batch, time) with `margin` zeros at either end -> (batch, frames, bins), the lowest ones or all len(window) // 2 + 1.
    While a model is exported, in a form that files can hold."""
    bins = bins or len(window) // 2 + 1
    if exporting():
        return power_by_convolution(nn.functional.pad(sound, (margin, margin)), window, hop, bins)
    return FramedPower.apply(sound, window, hop, bins, margin)


def exporting() -> bool:
    """Whether a model is being written to a file at this moment."""
    return torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting()


def waves(size: int) -> Tensor:
    """(2 * (size // 2 + 1), size) float64: cosines and then sines of a transform, a row a bin."""
    angles = 2 * torch.pi / size * torch.arange(size, dtype=torch.float64)[None] * torch.arange(size // 2 + 1, dtype=torch.float64)[:, None]
    return torch.cat([angles.cos(), angles.sin()])


def power_by_convolution(padded: Tensor, window: Tensor, hop: int, bins: int) -> Tensor:
    """The same as a convolution with windowed cosines and sines: no complex numbers and no transform, which ONNX runtimes lack or have slowly."""
    kernels = (waves(len(window)).unflatten(0, (2, -1))[:, :bins].flatten(0, 1).to(window) * window)[:, None]
    power = nn.functional.conv1d(padded[:, None], kernels, stride=hop).square()
    real, imaginary = power.chunk(2, 1)
    return (real + imaginary).transpose(1, 2)


class FramedPower(torch.autograd.Function):
    """Power spectrum of windowed frames, with the gradient written by hand.

    Autograd keeps complex intermediates and scatters the frames' gradients one by one; here the backward pass is one inverse transform and one
    overlap-add. There is no square root, so a silent frame has the gradient zero, never NaN.
    """

    @staticmethod
    def forward(ctx, sound: Tensor, window: Tensor, hop: int, bins: int, margin: int) -> Tensor:
        spectrum = torch.fft.rfft(windowed_frames(sound, window, hop, margin))[..., :bins].contiguous()
        ctx.save_for_backward(spectrum, window)
        ctx.hop, ctx.margin, ctx.length = hop, margin, sound.shape[1]
        return spectrum.real.square().add_(spectrum.imag.square())

    @staticmethod
    def backward(ctx, gradient: Tensor):
        spectrum, window = ctx.saved_tensors
        size = len(window)
        # The adjoint of rfft in terms of irfft: irfft counts the inner bins twice and divides by the size.
        scaled = gradient * size
        scaled[..., :: size // 2] *= 2  # the bin at 0 Hz, and the last one where it is there
        frames = torch.fft.irfft(spectrum * scaled, n=size).mul_(window)
        return overlap_add(frames, ctx.hop, ctx.length + 2 * ctx.margin)[:, ctx.margin : ctx.margin + ctx.length], None, None, None, None


def windowed_frames(sound: Tensor, window: Tensor, hop: int, margin: int) -> Tensor:
    """(batch, time) with `margin` zeros at either end -> (batch, frames, len(window)). The zeros are added for the frames at the ends alone: a copy of all of the
    sound would be one more pass through memory."""
    size, time = len(window), sound.shape[1]
    early = -(-margin // hop)  # frames that begin before the sound
    within = (time + margin - early * hop - size) // hop + 1  # those that begin and end in it
    if not margin or within < 1:
        return nn.functional.pad(sound, (margin, margin)).unfold(1, size, hop) * window
    frames = sound.new_empty(len(sound), (time + 2 * margin - size) // hop + 1, size)
    head = nn.functional.pad(sound[:, : (early - 1) * hop + size - margin], (margin, 0))
    torch.mul(head.unfold(1, size, hop), window, out=frames[:, :early])
    torch.mul(sound[:, early * hop - margin :].unfold(1, size, hop), window, out=frames[:, early : early + within])
    if early + within < frames.shape[1]:
        tail = nn.functional.pad(sound[:, (early + within) * hop - margin :], (0, margin))
        torch.mul(tail.unfold(1, size, hop), window, out=frames[:, early + within :])
    return frames


def overlap_add(frames: Tensor, hop: int, length: int) -> Tensor:
    """Sum of frames (batch, frames, size) laid `hop` apart into signals (batch, length)."""
    if frames.shape[2] % hop:
        frames = nn.functional.pad(frames, (0, -frames.shape[2] % hop))  # whole hops, the last one filled up with zeros
    batch, count, size = frames.shape
    parts = frames.view(batch, count, size // hop, hop)
    out = frames.new_empty(batch, max(count + size // hop - 1, -(-length // hop)), hop)
    out[:, :count] = parts[:, :, 0]
    out[:, count:] = 0
    for shift in range(1, size // hop):
        out[:, shift : shift + count] += parts[:, :, shift]
    return out.view(batch, -1)[:, :length]


class LogMel(nn.Module):
    """Compressed mel spectrogram `log(1 + mel / offset) / 4` of waveforms.

    `mel` is the power in `n_mels` triangular bands (HTK scale, peak 1) of a centred, zero-padded STFT with a periodic Hann window. `offset` is the
    power below which a band counts as silence: sound far below it gives 0, which is also what the convolutions pad with. A full-scale sine has
    power (n_fft / 4)^2.

    Args:
        sample_rate: Hz.
        n_fft: window and transform length in samples.
        hop_length: samples between frames; must divide n_fft.
        n_mels: number of bands.
        f_min: lower edge of the lowest band, Hz.
        f_max: upper edge of the highest band, Hz.
        offset: power at which the logarithm begins.
        energy_share: share of a clip's mean band power that is added to `offset`: where it is much larger than that, clips that differ in loudness alone give the same
            features (energy normalisation); 0 for none.
        trained_filters: the bands' filters are parameters, which begin as the triangles and stay zero where these are; negative values count as 0.

    Shapes: waveforms (batch, time) float32 in [-1, 1) -> (batch, n_mels, 1 + time // hop_length).

    Raises:
        ConfigError: hop_length does not divide n_fft, or the band edges are not 0 <= f_min < f_max <= sample_rate / 2.
    """

    def __init__(self, sample_rate: int = 16000, n_fft: int = 512, hop_length: int = 256, n_mels: int = 40, f_min: float = 60.0,
                 f_max: float = 4000.0, offset: float = 1e-4, energy_share: float = 0.0, trained_filters: bool = False):
        super().__init__()
        if n_fft % hop_length:
            raise ConfigError(f"hop_length: expected a divisor of n_fft = {n_fft}, got {hop_length}")
        if not 0 <= f_min < f_max <= sample_rate / 2:
            raise ConfigError(f"f_min, f_max: expected 0 <= f_min < f_max <= {sample_rate / 2:g} Hz, got {f_min:g} and {f_max:g}")
        if energy_share < 0:
            raise ConfigError(f"energy_share: expected 0 or more, got {energy_share:g}")
        self.n_fft, self.hop_length, self.f_min, self.f_max, self.offset, self.energy_share = n_fft, hop_length, f_min, f_max, offset, energy_share
        bank = torchaudio.functional.melscale_fbanks(n_fft // 2 + 1, f_min, f_max, n_mels, sample_rate, norm=None, mel_scale="htk")
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.bins = int(bank.any(1).nonzero().max()) + 1  # those above are in no band
        self.trained_filters = trained_filters
        if trained_filters:
            self.bank = nn.Parameter(bank)
        else:
            self.register_buffer("bank", bank, persistent=False)

    def mel(self, waveforms: Tensor) -> Tensor:
        """Mel power (batch, frames, n_mels)."""
        power = framed_power(waveforms, self.window, self.hop_length, self.bins, margin=self.n_fft // 2)
        bank = self.bank[: self.bins]
        if self.trained_filters:
            bank = bank.clamp(min=0)
        if not torch.is_autocast_enabled(power.device.type):
            return power @ bank
        with torch.autocast(power.device.type, enabled=False):  # three digits are too few for powers
            return power @ bank

    def forward(self, waveforms: Tensor) -> Tensor:
        mel = self.mel(waveforms)
        floor = self.offset + self.energy_share * mel.mean((1, 2), keepdim=True) if self.energy_share else self.offset
        return (mel / floor).log1p().transpose(1, 2) / 4
