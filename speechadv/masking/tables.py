"""What the masking threshold depends on besides the clip: constants of the model, and tables of a sample rate and frame. Sources: see `threshold.py`."""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

FIRST_TONE = 3  # the lowest bin that may hold a tonal masker
PROMINENCE_DB = 7.0  # a tone stands so far above its wider neighbourhood
NEIGHBOURHOODS_HZ = ((5500.0, 2), (11000.0, 3), (float("inf"), 6))  # up to this frequency: so many bins to each side
DECIMATION_BARK = 0.5
TONAL_OFFSET_DB = (-6.025, -0.275)  # constant, and a Bark
NOISE_OFFSET_DB = (-2.025, -0.175)
LOWER_SLOPE_DB = 27.0  # a Bark, towards low frequencies
LEVEL_SLOPE, LEVEL_KNEE_DB = 0.37, 40.0  # louder maskers spread wider towards high frequencies
NOTHING = 1e-18  # power that no sum with the threshold in quiet can feel; smaller numbers would only be slow (denormal)
FLATTEST_DB = -1e-3  # a Bark: slopes never rise, however loud the masker
FAR = 1e6  # Bark: so far that nothing is left of any masker


def bark(hertz: np.ndarray) -> np.ndarray:
    """Critical-band rate in Bark (Zwicker and Terhardt 1980; Lin and Abdulla 2015, eq. 2.2)."""
    return 13 * np.arctan(0.00076 * hertz) + 3.5 * np.arctan((hertz / 7500) ** 2)


def threshold_in_quiet(hertz: np.ndarray) -> np.ndarray:
    """Absolute threshold of hearing in dB SPL (Terhardt 1979; Lin and Abdulla 2015, eq. 2.1; Qin et al. 2019, appendix)."""
    khz = hertz / 1000
    return 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4


@dataclass(frozen=True)
class Tables:
    """What depends on the sample rate and the frame alone. Bins are counted from 0; powers are ratios to 0 dB SPL."""

    quiet: Tensor  # (bins,) threshold in quiet, as power
    reach: Tensor  # (bins,) neighbours to each side that a tone is compared with
    may_be_tone: Tensor  # (bins,) bool: all of those neighbours exist
    into_bands: Tensor  # (bins, bands) 1 where the bin lies in the critical band
    centres: Tensor  # (bands,) bin nearest to the geometric mean of the band's bins
    first: Tensor  # (bins,) first bin closer than half a Bark
    last: Tensor  # (bins,) and the last one
    tonal_factor: Tensor  # (bins,) what a masker there hides in its own bin, as a ratio to its power
    noise_factor: Tensor
    towards_low: Tensor  # (bins, bins) spread from the first index to bins at or below it, as a ratio of powers
    towards_high: Tensor  # (bins, bins) Bark from the first index to bins above it, FAR elsewhere


@lru_cache(maxsize=8)
def tables(sample_rate: int, n_fft: int, dtype: torch.dtype, device: torch.device) -> Tables:
    """The tables of a sample rate in Hz. The threshold in quiet at 0 Hz, where its formula has no value, is that of the first bin."""
    bins = np.arange(n_fft // 2 + 1)
    hertz = bins * sample_rate / n_fft
    barks = bark(hertz)
    reach = np.select([hertz < limit for limit, _ in NEIGHBOURHOODS_HZ], [width for _, width in NEIGHBOURHOODS_HZ])
    band = np.floor(barks[1:]).astype(int)  # without 0 Hz, which nobody hears and which has no geometric mean
    filled = np.unique(band)
    centres = [int(np.rint(np.exp(np.log(bins[1:][band == b]).mean()))) for b in filled]
    distance = barks - barks[:, None]
    near = np.abs(distance) < DECIMATION_BARK
    lower = 10 ** (LOWER_SLOPE_DB / 10 * np.minimum(distance, 0))
    real = {
        "quiet": 10 ** (threshold_in_quiet(np.maximum(hertz, hertz[1])) / 10),
        "into_bands": np.vstack([np.zeros(len(filled)), band[:, None] == filled]),
        "tonal_factor": 10 ** ((TONAL_OFFSET_DB[0] + TONAL_OFFSET_DB[1] * barks) / 10),
        "noise_factor": 10 ** ((NOISE_OFFSET_DB[0] + NOISE_OFFSET_DB[1] * barks) / 10),
        "towards_low": np.where((distance <= 0) & (lower > NOTHING), lower, 0),
        "towards_high": np.where(distance > 0, distance, FAR),
    }
    whole = {
        "reach": reach,
        "may_be_tone": (bins >= FIRST_TONE) & (bins + reach <= bins[-1]),
        "centres": np.array(centres),
        "first": near.argmax(1),
        "last": bins[-1] - near[:, ::-1].argmax(1),
    }
    return Tables(
        **{key: torch.as_tensor(value, dtype=dtype, device=device) for key, value in real.items()},
        **{key: torch.as_tensor(value, device=device) for key, value in whole.items()},
    )
