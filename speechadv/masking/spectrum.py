"""The short-time spectrum in which masking is computed, measured and enforced: one definition for all three."""
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

FULL_SCALE_DB = 96.0  # dB SPL of a full-scale sine: the range of 16 bit, so that one LSB lies near the threshold of hearing
SILENCE = 1e-20  # power ratio to full scale (-200 dB) that stands for digital silence


@lru_cache(maxsize=16)
def hann(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The periodic Hann window."""
    return torch.hann_window(length, periodic=True, dtype=torch.float64, device=device).to(dtype)


@dataclass(frozen=True)
class Spectrum:
    """Frames of `n_fft` samples under a periodic Hann window, every `hop` samples.

    The clip is surrounded by `n_fft - hop` zeros, so that its first and last samples are seen by as many frames as all others: none can hide
    in a window's skirt. With hop <= n_fft / 4 dividing n_fft the squared windows add up to a constant, and `synthesise` is the exact
    least-squares inverse of `analyse` (Griffin and Lim 1984, eq. 6).
    """

    n_fft: int = 512
    hop: int = 128

    def __post_init__(self):
        if self.n_fft % self.hop or self.n_fft < 4 * self.hop:
            raise ValueError(f"expected a hop that divides n_fft at least 4 times, got n_fft {self.n_fft} and hop {self.hop}")

    @property
    def bins(self) -> int:
        """Frequencies from 0 to half the sample rate."""
        return self.n_fft // 2 + 1

    def frames(self, time: int) -> int:
        """Frames of a clip of `time` samples."""
        return -(-time // self.hop) + self.n_fft // self.hop - 1

    def analyse(self, waveforms: Tensor) -> Tensor:
        """(batch, time) -> complex (batch, frames, bins), the windowed DFT, a sine of amplitude A at a bin's centre reading A in magnitude."""
        time = waveforms.shape[-1]
        before = self.n_fft - self.hop
        total = (self.frames(time) - 1) * self.hop + self.n_fft
        padded = torch.nn.functional.pad(waveforms, (before, total - before - time))
        window = hann(self.n_fft, waveforms.dtype, waveforms.device)
        frames = padded.unfold(-1, self.n_fft, self.hop) * (window * (4 / self.n_fft))
        if not len(frames):  # the transform of nothing is an error
            return frames[..., : self.bins].to(torch.promote_types(frames.dtype, torch.complex64))
        return torch.fft.rfft(frames)

    def synthesise(self, spectra: Tensor, time: int) -> Tensor:
        """Complex (batch, frames, bins) -> (batch, time): the waveform whose spectrum is nearest to the given one in squared error."""
        overlaps = self.n_fft // self.hop
        gain = self.n_fft / 4 / (0.375 * overlaps)  # sum of squared Hann windows: 3/8 a window
        window = (hann(self.n_fft, spectra.real.dtype, spectra.device) * gain).view(overlaps, self.hop)
        batch, frames = spectra.shape[:2]
        blocks = torch.fft.irfft(spectra, n=self.n_fft).view(batch, frames, overlaps, self.hop)
        total = blocks.new_zeros(batch, frames + overlaps - 1, self.hop)
        for part in range(overlaps):
            total[:, part : part + frames].addcmul_(blocks[:, :, part], window[part])
        return total.reshape(batch, -1)[:, self.n_fft - self.hop :][:, :time]

    def level_db(self, waveforms: Tensor) -> Tensor:
        """(batch, time) -> (batch, frames, bins), dB SPL when a full-scale sine plays at 96 dB SPL; never below -104 dB."""
        return to_db(self.analyse(waveforms))


def power(spectra: Tensor) -> Tensor:
    """Squared magnitude, without the square root that has no gradient at zero."""
    return spectra.real.square() + spectra.imag.square()


def to_db(spectra: Tensor) -> Tensor:
    """dB SPL of spectra from `Spectrum.analyse`, full scale at 96 dB."""
    return 10 * torch.log10(power(spectra).clamp(min=SILENCE)) + FULL_SCALE_DB
