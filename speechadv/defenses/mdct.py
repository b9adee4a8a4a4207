"""A differentiable stand-in for MP3: a batched MDCT, and a quantiser whose noise follows the masking threshold and whose step follows the bitrate.

Sources: J. Princen, A. Johnson and A. Bradley, Subband/transform coding using filter bank designs based on time domain aliasing cancellation, ICASSP 1987
(the MDCT); ISO/IEC 13818-3 (1998), 2.4.3.4 (the 3/4 power quantiser, the scalefactor bands at 16 kHz); J. Johnston, Transform coding of audio signals
using perceptual noise criteria, IEEE JSAC 6 (1988) (noise below a spread threshold, at a rate that is given).
"""
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..masking.spectrum import FULL_SCALE_DB
from ..masking.tables import bark, threshold_in_quiet

SIZE = 576  # coefficients of a granule, as in layer III
EDGES = (0, 6, 12, 18, 24, 30, 36, 44, 54, 66, 80, 96, 116, 140, 168, 200, 238, 284, 336, 396, 464, 522, 576)  # scalefactor bands, long blocks, 16 kHz
SIDE_BITS = 104  # of a granule: header and side information, mono
OFFSET_DB = 12.0  # by which noise must lie below its masker
LOWER_DB, UPPER_DB = 27.0, 12.0  # a Bark: how fast masking falls towards low and high frequencies
SHAPING = 0.3  # how far noise follows the threshold: 1 is at equal distance everywhere, 0 is white; LAME's fast mode hardly shapes it
LOWPASS, LOWPASS_ELSE = {8: 3000, 16: 5500, 24: 5750}, 7250  # Hz, by kbit/s: where LAME's low-pass cuts at 16 kHz, measured
DEAD_ZONE = 0.5  # of a squared step: where half of a coefficient is lost
LEAK = 0.2  # of a coefficient deep in the dead zone that passes all the same: a search can lift it out of there
ROUNDS = 24  # of the bisection for the step
SMALLEST, LARGEST = 2.0**-20, 2.0**12  # between which it is looked for


class Bands(NamedTuple):
    """Tables at 16 kHz: `into` (576, bands) is 1 where a coefficient lies in a band; `width` (bands,); `spread` (bands, bands) what power in the first
    masks in the second, as a ratio of powers; `quiet` (bands,) the threshold in quiet, as power of one coefficient."""

    into: Tensor
    width: Tensor
    spread: Tensor
    quiet: Tensor


@lru_cache(maxsize=4)
def bands(dtype: torch.dtype, device: torch.device) -> Bands:
    """The tables of the scalefactor bands."""
    edges = np.array(EDGES)
    hertz = (edges[:-1] + edges[1:]) / 2 * 8000 / SIZE
    distance = bark(hertz) - bark(hertz)[:, None]  # of the second from the first
    fall = np.where(distance < 0, -LOWER_DB * distance, UPPER_DB * distance)
    place = np.arange(SIZE)[:, None]
    sine = SIZE / 4  # mean square that a full-scale sine has in the largest of its coefficients
    tables = ((place >= edges[:-1]) & (place < edges[1:]), np.diff(edges), 10 ** (-(fall + OFFSET_DB) / 10),
              10 ** ((threshold_in_quiet(hertz) - FULL_SCALE_DB) / 10) * sine)
    return Bands(*(torch.as_tensor(table, dtype=dtype, device=device) for table in tables))


@lru_cache(maxsize=4)
def kernel(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """(DCT-IV of 576 points, orthonormal; the sine window's 1,152 samples)."""
    half = np.arange(SIZE) + 0.5
    cosine = np.sqrt(2 / SIZE) * np.cos(np.pi / SIZE * half[:, None] * half)
    window = np.sin(np.pi / (2 * SIZE) * (np.arange(2 * SIZE) + 0.5))
    return torch.as_tensor(cosine, dtype=dtype, device=device), torch.as_tensor(window, dtype=dtype, device=device)


def mdct(waveforms: Tensor) -> Tensor:
    """(batch, time) -> (batch, granules, 576), orthonormal: the coefficients have the waveform's energy."""
    cosine, window = kernel(waveforms.dtype, waveforms.device)
    time = waveforms.shape[-1]
    padded = torch.nn.functional.pad(waveforms, (SIZE, SIZE + -time % SIZE))
    a, b, c, d = (padded.unfold(-1, 2 * SIZE, SIZE) * window).split(SIZE // 2, dim=-1)
    return torch.cat([-c.flip(-1) - d, a - b.flip(-1)], -1) @ cosine


def imdct(coefficients: Tensor, time: int) -> Tensor:
    """(batch, granules, 576) -> (batch, time), the inverse of `mdct`: the aliases of neighbours cancel."""
    cosine, window = kernel(coefficients.dtype, coefficients.device)
    left, right = (coefficients @ cosine).split(SIZE // 2, dim=-1)
    blocks = torch.cat([right, -right.flip(-1), -left.flip(-1), -left], -1) * window
    whole = blocks[:, :-1, SIZE:] + blocks[:, 1:, :SIZE]
    return whole.flatten(1)[:, :time]


def steps(coefficients: Tensor, kbps: int) -> Tensor:
    """(batch, granules, 576): the quantiser's step for each coefficient, without a gradient.

    The noise of a granule has the shape of the masking threshold to the power SHAPING, and is raised or lowered until the bits suffice (Johnston 1988).
    A band costs what a Gaussian source costs at this distance from its noise: half a bit a coefficient for each factor of two in power.
    """
    table, power = bands(coefficients.dtype, coefficients.device), band_power(coefficients)
    shape = (power @ table.spread).maximum(table.quiet) ** (SHAPING / 2)
    bits = kbps * 1000 * SIZE / 16000 - SIDE_BITS
    heard = table.into[: highest(kbps)].sum(0)  # coefficients of each band below the encoder's low-pass
    low, high = (torch.full_like(shape[..., :1], end) for end in (SMALLEST, LARGEST))
    for _ in range(ROUNDS):
        middle = (low * high).sqrt()
        needed = (heard * (1 + power / (middle * shape).square()).log2() / 2).sum(-1, keepdim=True)
        low, high = torch.where(needed > bits, middle, low), torch.where(needed > bits, high, middle)
    return (high * shape * 12**0.5) @ table.into.T


def band_power(coefficients: Tensor) -> Tensor:
    """(batch, granules, bands): mean square of a band's coefficients."""
    table = bands(coefficients.dtype, coefficients.device)
    return coefficients.square() @ table.into / table.width


def highest(kbps: int) -> int:
    """The first coefficient above LAME's low-pass."""
    return round(LOWPASS.get(kbps, LOWPASS_ELSE) / 8000 * SIZE)


def coded(waveforms: Tensor, kbps: int) -> Tensor:
    """What is left of the waveforms behind the codec, on average, without its noise: (batch, time) -> (batch, time), differentiable.

    A coefficient far above its step stays, one far below is lost but for a LEAK, and between them it is turned down smoothly (the Wiener gain for noise
    of a step's size): the step function of a quantiser has the gradient zero, its mean over where the steps lie has not.
    """
    coefficients = mdct(waveforms)
    with torch.no_grad():
        noise = DEAD_ZONE * steps(coefficients, kbps).square()
    square = coefficients.square()
    kept = coefficients * (LEAK + (1 - LEAK) * square / (square + noise))
    return imdct(torch.nn.functional.pad(kept[..., : highest(kbps)], (0, SIZE - highest(kbps))), waveforms.shape[-1])
