"""The masking threshold of a clip: MPEG-1 psychoacoustic model 1 for speech, batched.

Sources: ISO/IEC 11172-3 (1993) annex D.1; T. Painter and A. Spanias, Perceptual coding of digital audio, Proc. IEEE 88 (2000), section II;
Y. Lin and W. H. Abdulla, Audio Watermark (Springer 2015), chapter 2; Y. Qin, N. Carlini, G. Cottrell, I. Goodfellow and C. Raffel, Imperceptible,
robust, and targeted adversarial examples for automatic speech recognition, ICML 2019, appendix. docs/masking.md says where they differ
and what was chosen.
"""
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, shown
from .spectrum import FULL_SCALE_DB, SILENCE, Spectrum, power

CALIBRATIONS = ("full-scale", "clip-peak")
MASKERS = ("both", "tonal")
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
BLOCK = 512  # maskers at a time: their spread fits the cache
CHUNK = 8  # clips at a time: the spread of their maskers fits the cache


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


@dataclass(frozen=True)
class MaskingModel:
    """Computes masking thresholds.

    Args:
        sample_rate: in Hz.
        calibration: "full-scale" (a full-scale sine plays at 96 dB SPL) or "clip-peak" (the loudest bin of each clip does, as in Qin et al.).
        maskers: "both", or "tonal" alone, as Qin et al. simplify.
        spectrum: the frames.

    Raises:
        ConfigError: an unknown calibration or kind of maskers.
    """

    sample_rate: int = 16000
    calibration: str = "full-scale"
    maskers: str = "both"
    spectrum: Spectrum = field(default_factory=Spectrum)

    def __post_init__(self):
        for key, choices in (("calibration", CALIBRATIONS), ("maskers", MASKERS)):
            if getattr(self, key) not in choices:
                raise ConfigError(f"masking: {key}: expected one of {', '.join(choices)}, got '{shown(getattr(self, key))}'")

    def threshold_db(self, waveforms: Tensor) -> Tensor:
        """The threshold on the scale of `Spectrum.level_db`, where full scale is 96 dB whatever the calibration.

        Args:
            waveforms: (batch, time), float32 or float64, fractions of full scale.

        Returns:
            (batch, frames, bins) dB: a perturbation whose level stays below it is masked. Finite everywhere, in digital silence the threshold
            in quiet. Differentiable with respect to the waveforms where the set of maskers does not change.
        """
        if waveforms.ndim != 2 or not waveforms.shape[1]:
            raise ValueError(f"expected waveforms of shape (batch, time), got {tuple(waveforms.shape)}")
        return torch.cat([self._threshold_db(chunk) for chunk in waveforms.split(CHUNK)])

    def caps(self, waveforms: Tensor, margin_db: float = 0.0) -> Tensor:
        """(batch, frames, bins): the largest magnitude in `Spectrum.analyse` that threshold + margin allows."""
        return 10 ** ((self.threshold_db(waveforms) + (margin_db - FULL_SCALE_DB)) / 20)

    def _threshold_db(self, waveforms: Tensor) -> Tensor:
        # Maskers compete in float64: which of two nearly equal ones wins must not depend on the batch that a clip is in.
        exact, table = (tables(self.sample_rate, self.spectrum.n_fft, kind, waveforms.device) for kind in (torch.float64, waveforms.dtype))
        powers = power(self.spectrum.analyse(waveforms.double())).clamp(min=SILENCE)
        playback = self._playback_db(powers)
        maskers = self._maskers((powers * 10 ** (playback / 10)).flatten(0, 1), exact)
        masker, effect = (x.to(waveforms.dtype) for x in maskers)
        total = table.quiet + _spread(masker, effect, table)
        shift = (FULL_SCALE_DB - playback).to(waveforms.dtype)
        return 10 * torch.log10(total).unflatten(0, (len(waveforms), -1)) + shift

    def _playback_db(self, powers: Tensor) -> Tensor:
        """(batch, 1, 1): dB SPL of a full-scale sine. A silent clip has no peak and is played like full scale."""
        if self.calibration == "full-scale":
            return powers.new_full((1, 1, 1), FULL_SCALE_DB)
        peak = powers.amax((1, 2), keepdim=True)
        return torch.where(peak > SILENCE, FULL_SCALE_DB - 10 * torch.log10(peak), FULL_SCALE_DB)

    def _maskers(self, loudness: Tensor, table: Tables) -> tuple[Tensor, Tensor]:
        """The maskers' own power (rows, bins), 0 where there is none, and what they hide in their own bin."""
        tones = _tones(loudness, table)
        tonal = torch.where(tones, loudness + _shifted(loudness, 1) + _shifted(loudness, -1), 0)
        noise = _noise(loudness, tones, table) if self.maskers == "both" else torch.zeros_like(tonal)
        masker = torch.maximum(tonal, noise)  # two maskers in one bin are closer than half a Bark
        masker = masker * (masker >= table.quiet)
        masker = masker * _strongest(masker, table)
        return masker, masker * torch.where(tonal >= noise, table.tonal_factor, table.noise_factor)


def _tones(loudness: Tensor, table: Tables) -> Tensor:
    """(rows, bins) bool: a local maximum, 7 dB above the neighbours from the second on."""
    peak = (loudness > _shifted(loudness, 1)) & (loudness > _shifted(loudness, -1)) & table.may_be_tone
    lowered = loudness * 10 ** (-PROMINENCE_DB / 10)
    for distance in range(2, int(table.reach.max()) + 1):
        prominent = (lowered > _shifted(loudness, distance)) & (lowered > _shifted(loudness, -distance))
        peak &= prominent | (table.reach < distance)
    return peak


def _noise(loudness: Tensor, tones: Tensor, table: Tables) -> Tensor:
    """(rows, bins): the power of each critical band outside of its tones, at the band's geometric mean."""
    taken = tones.clone()
    for distance in range(1, int(table.reach.max()) + 1):
        near = tones & (table.reach >= distance)
        taken |= _shifted(near, distance) | _shifted(near, -distance)
    bands = torch.where(taken, 0, loudness) @ table.into_bands
    return torch.zeros_like(loudness).index_add(1, table.centres, bands)


def _strongest(masker: Tensor, table: Tables) -> Tensor:
    """(rows, bins) bool: no stronger masker closer than half a Bark; of equal ones the lowest stays."""
    bins_first = masker.detach().T.contiguous()  # so that picking bins copies whole rows
    position = torch.arange(masker.shape[1], device=masker.device)
    below = _window_max(bins_first, table.first, position - 1)
    above = _window_max(bins_first, position + 1, table.last)
    return ((bins_first > below) & (bins_first >= above)).T


def _spread(masker: Tensor, effect: Tensor, table: Tables) -> Tensor:
    """(rows, bins): the sum of what all maskers of a row hide, as power (Lin and Abdulla 2015, two slopes; Qin et al. 2019, appendix)."""
    total = effect @ table.towards_low
    row, place = masker.nonzero(as_tuple=True)
    octaves = np.log2(10) / 10  # a dB as power of two
    level = masker[row, place].log2() / octaves
    slope = (LEVEL_SLOPE * (level - LEVEL_KNEE_DB).clamp(min=0) - LOWER_SLOPE_DB).clamp(max=FLATTEST_DB) * octaves
    height = effect[row, place].log2()
    for rows, places, heights, slopes in zip(*(part.split(BLOCK) for part in (row, place, height[:, None], slope[:, None]))):
        spread = slopes * table.towards_high.index_select(0, places) + heights
        total.index_add_(0, rows, spread.clamp(min=np.log2(NOTHING)).exp2())
    return total


def _shifted(x: Tensor, distance: int) -> Tensor:
    """x[:, k + distance] at k, zeros (False) beyond the ends."""
    bins = x.shape[1]
    cut = x[:, max(distance, 0) : bins + min(distance, 0)]
    return torch.nn.functional.pad(cut, (max(-distance, 0), max(distance, 0)))


def _window_max(x: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """The largest x[first[k] : last[k] + 1] at k, 0 where the range is empty; x (bins, rows) >= 0. By doubling, without a loop over windows."""
    length = last - first + 1
    result, width, maxima = torch.zeros_like(x), 1, x
    while width <= int(length.max()):
        fits = ((length >= width) & (length < 2 * width)).nonzero().squeeze(1)
        result[fits] = torch.maximum(maxima.index_select(0, first[fits]), maxima.index_select(0, last[fits] - width + 1))
        maxima = torch.maximum(maxima[:-width], maxima[width:])
        width *= 2
    return result
