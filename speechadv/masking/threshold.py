"""The masking threshold of a clip: MPEG-1 psychoacoustic model 1 for speech, batched.

Sources: ISO/IEC 11172-3 (1993) annex D.1; T. Painter and A. Spanias, Perceptual coding of digital audio, Proc. IEEE 88 (2000), section II;
Y. Lin and W. H. Abdulla, Audio Watermark (Springer 2015), chapter 2; Y. Qin, N. Carlini, G. Cottrell, I. Goodfellow and C. Raffel, Imperceptible,
robust, and targeted adversarial examples for automatic speech recognition, ICML 2019, appendix. docs/masking.md says where they differ
and what was chosen.
"""
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, shown
from .spectrum import FULL_SCALE_DB, SILENCE, Spectrum, power
from .tables import FLATTEST_DB, LEVEL_KNEE_DB, LEVEL_SLOPE, LOWER_SLOPE_DB, NOTHING, PROMINENCE_DB, Tables, tables

CALIBRATIONS = ("full-scale", "clip-peak")
MASKERS = ("both", "tonal")
BLOCK = 512  # maskers at a time: their spread fits the cache
CHUNK = 8  # clips at a time: the spread of their maskers fits the cache


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
        if compiled := self._compiled(waveforms):
            options = {"noise": self.maskers == "both", "clip_peak": self.calibration == "clip-peak", "threads": torch.get_num_threads()}
            return torch.from_numpy(compiled.threshold_db(waveforms.detach().numpy(), self.sample_rate, self.spectrum, **options))
        return torch.cat([self._threshold_db(chunk) for chunk in waveforms.split(CHUNK)])

    def caps(self, waveforms: Tensor, margin_db: float = 0.0) -> Tensor:
        """(batch, frames, bins): the largest magnitude in `Spectrum.analyse` that threshold + margin allows."""
        return 10 ** ((self.threshold_db(waveforms) + (margin_db - FULL_SCALE_DB)) / 20)

    @staticmethod
    def _compiled(waveforms: Tensor) -> ModuleType | None:
        """The loops on a CPU, within 1e-4 dB of what is below, where no gradient is wanted and they can be had; for one clip as for many, so that a clip's
        threshold is the same in any batch."""
        if waveforms.device.type != "cpu" or waveforms.dtype != torch.float32:
            return None
        if waveforms.requires_grad and torch.is_grad_enabled():
            return None
        with np.errstate(all="ignore"):  # by numpy: after a sum by torch, its threads would wait for more work at full speed, beside those of the loops
            return _loops() if np.isfinite(waveforms.detach().numpy().sum()) else None

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


@lru_cache(maxsize=1)
def _loops() -> ModuleType | None:
    """The module `compiled`, or None where numba does not run."""
    try:
        from . import compiled
    except ImportError:
        return None
    return compiled


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
