"""What codecs in memory share: clips side by side, output on the grid, and a gradient that is fitted to what the codec did to each clip."""
import functools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ..audio import to_grid, to_pcm16
from ..errors import ConfigError, InputError
from .base import Defense, check_waveforms

SAMPLE_RATE = 16000
GAIN = "gain"  # name of the surrogate
N_FFT = 512  # samples, of the surrogate's short-time spectrum
TINY = 1e-8  # power far below one LSB's, so that digital silence is no division by zero


@functools.lru_cache(maxsize=8)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """One pool a size. `process` is the caller's id: the threads of a parent do not exist in a forked child."""
    return ThreadPoolExecutor(threads, thread_name_prefix="speechadv-codec")


class Codec(Defense):
    """A lossy codec and back, in memory. Authors write `roundtrip`.

    The surrogate keeps of each time-frequency bin the share that the codec kept of it in this very clip, and passes the gradient through that.

    Args:
        name: the specification.
        threads: clips encoded side by side; default: as many as the machine has processors. Changes the speed alone.
        sample_rate: 16000 Hz.

    Raises:
        ConfigError: another sample rate, or fewer than one thread.
        InputError: waveforms that are no floating (batch, time) or hold NaN or infinity.
    """

    surrogates = (GAIN,)

    def __init__(self, name: str, threads: int | None = None, sample_rate: int = SAMPLE_RATE):
        super().__init__()
        self.name = name
        if threads is not None and threads < 1:
            raise ConfigError(f"defense {self.kind}: expected at least 1 thread, got {threads}")
        if sample_rate != SAMPLE_RATE:
            raise ConfigError(f"defense {self.kind}: expected a sample rate of {SAMPLE_RATE} Hz, got {sample_rate}")
        self.threads = threads or os.cpu_count() or 1

    @property
    def kind(self) -> str:
        """The name without what follows the colon."""
        return self.name.partition(":")[0]

    def roundtrip(self, samples: np.ndarray) -> np.ndarray:
        """int16 samples (time,) -> decoded, realigned float32 samples (time,), not yet rounded."""
        raise NotImplementedError(f"{type(self).__name__}.roundtrip")

    def through(self, samples: np.ndarray) -> np.ndarray:
        """int16 (batch, time) -> float32 (batch, time): each clip by itself, several at a time."""
        run = map if len(samples) == 1 or self.threads == 1 else _pool(self.threads, os.getpid()).map
        return np.stack(list(run(self.roundtrip, samples))) if len(samples) else np.zeros(samples.shape, np.float32)

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        if not torch.isfinite(waveforms).all():
            raise InputError(f"defense {self.kind}: expected finite samples, got NaN or infinity")
        samples = to_pcm16(waveforms.detach().float().cpu().numpy())
        return to_grid(torch.from_numpy(self.through(samples))).to(waveforms)

    def surrogate(self, waveforms: Tensor) -> Tensor:
        return self.fitted_surrogate(waveforms, self(waveforms))

    def fitted_surrogate(self, waveforms: Tensor, exact: Tensor, kind: str = "") -> Tensor:
        return kept(waveforms, exact) if len(waveforms) else waveforms


def kept(waveforms: Tensor, exact: Tensor) -> Tensor:
    """Of each time-frequency bin of (batch, time) the share that is left of it in `exact`, which a codec made of these clips. Differentiable in the waveforms."""
    time, short = waveforms.shape[1], max(0, N_FFT - waveforms.shape[1])
    before, window = _spectrum(torch.nn.functional.pad(waveforms, (0, short))), torch.hann_window(N_FFT).to(waveforms)
    with torch.no_grad():
        after = _spectrum(torch.nn.functional.pad(exact, (0, short)))
        power = before.real.square() + before.imag.square()
        # The least-squares gain of each bin; an encoder only takes away, so beyond 0 to 1 it is quantisation noise.
        share = ((after * before.conj()).real / (power + TINY)).clamp(0, 1)
    return torch.istft(before * share, N_FFT, N_FFT // 4, window=window, length=time)


def _spectrum(waveforms: Tensor) -> Tensor:
    """(batch, bins, frames) complex."""
    return torch.stft(waveforms, N_FFT, N_FFT // 4, window=torch.hann_window(N_FFT).to(waveforms), return_complex=True)
