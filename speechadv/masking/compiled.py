"""The masking threshold of many clips on a CPU, frame by frame in compiled loops: what `threshold.py` says in tensors, without a gradient.

A frame of 257 bins has about 20 maskers, each felt in a third of the bins: loops skip the rest, and all numbers of a frame stay in the nearest cache.
numba compiles them when they are first called (seconds, once on a machine: the result is kept beside this file or in the user's cache folder). As there,
maskers compete in float64; spreads are added up in float32.
"""
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np
import scipy.fft
import torch
from numba.core import types
from numba.extending import intrinsic

from .spectrum import FULL_SCALE_DB, SILENCE, Spectrum, hann
from .tables import FLATTEST_DB, LEVEL_KNEE_DB, LEVEL_SLOPE, LOWER_SLOPE_DB, PROMINENCE_DB, bark, tables

FRAMES = 128  # at a time a thread: their spectra fit its cache
UNFELT = -26  # octaves below the quietest threshold in quiet: nothing that float32 could add
PER_BARK = 16  # entries a Bark of `LoopTables.ends`
OCTAVES = np.log2(10) / 10  # in a dB of power
PROMINENCE = 10 ** (PROMINENCE_DB / 10)
STEEPEST, FLATTEST, KNEE = -LOWER_SLOPE_DB * OCTAVES, FLATTEST_DB * OCTAVES, LEVEL_KNEE_DB * OCTAVES  # slopes in octaves a Bark
FAST = {"contract", "reassoc", "nsz"}  # sums may be vectorised; NaN and infinity stay what they are


class LoopTables(NamedTuple):
    """What depends on the sample rate and the frame alone. Powers are ratios to 0 dB SPL."""

    quiet: np.ndarray  # (bins,) threshold in quiet, as power
    regions: np.ndarray  # (any, 3) first bin, bin after the last one, and neighbours to each side that a tone there is compared with
    edges: np.ndarray  # (bands + 1,) first bin of each critical band; at last, the number of bins
    centres: np.ndarray  # (bands,) bin that a band's noise is put at
    last: np.ndarray  # (bins,) last bin closer than half a Bark
    factors: np.ndarray  # (2, bins) what noise, and what a tone hides in its own bin, as a ratio to its power
    octaves: np.ndarray  # (2, bins) log2 of it
    fall: np.ndarray  # (bins,) spread from the next bin, as a ratio of powers
    distance: np.ndarray  # (bins, bins) float32, Bark from the first index to the second
    barks: np.ndarray  # (bins,)
    ends: np.ndarray  # (any,) first bin at or above 0, 1 / PER_BARK, 2 / PER_BARK ... Bark


@lru_cache(maxsize=8)
def loop_tables(sample_rate: int, n_fft: int) -> LoopTables:
    """`tables` in the form that loops like."""
    table = tables(sample_rate, n_fft, torch.float64, torch.device("cpu"))
    barks = bark(np.arange(n_fft // 2 + 1) * sample_rate / n_fft)
    reach, fit = table.reach.numpy(), table.may_be_tone.numpy()
    regions = [np.flatnonzero(fit & (reach == r)) for r in np.unique(reach)]
    factors = np.stack([table.noise_factor, table.tonal_factor])
    return LoopTables(
        quiet=table.quiet.numpy(),
        regions=np.array([(bins[0], bins[-1] + 1, reach[bins[0]]) for bins in regions if len(bins)], np.int64).reshape(-1, 3),
        edges=np.append(table.into_bands.numpy().argmax(0), len(barks)),
        centres=table.centres.numpy(),
        last=table.last.numpy(),
        factors=factors,
        octaves=np.log2(factors),
        fall=10 ** (-LOWER_SLOPE_DB / 10 * np.diff(barks, append=np.inf)),
        distance=(barks - barks[:, None]).astype(np.float32),
        barks=barks,
        ends=np.searchsorted(barks, np.arange(np.ceil(barks[-1]) * PER_BARK + 2) / PER_BARK),
    )


def threshold_db(waveforms: np.ndarray, sample_rate: int, spectrum: Spectrum, *, noise: bool = True, clip_peak: bool = False, threads: int = 1) -> np.ndarray:
    """What `MaskingModel.threshold_db` computes, for each clip the same whatever the batch and the number of threads.

    Args:
        waveforms: float32 (batch, time), fractions of full scale.
        sample_rate: Hz.
        spectrum: the frames.
        noise: whether noise masks as well as tones.
        clip_peak: whether the loudest bin of each clip plays at 96 dB SPL, instead of a full-scale sine.
        threads: that work at a time.

    Returns:
        float32 (batch, frames, bins), dB.
    """
    table, window = loop_tables(sample_rate, spectrum.n_fft), hann(spectrum.n_fft, torch.float64, torch.device("cpu")).numpy() * (4 / spectrum.n_fft)
    count, before = spectrum.frames(waveforms.shape[1]), spectrum.n_fft - spectrum.hop
    padded = np.zeros((len(waveforms), (count - 1) * spectrum.hop + spectrum.n_fft), np.float32)
    padded[:, before : before + waveforms.shape[1]] = waveforms
    frames = np.lib.stride_tricks.sliding_window_view(padded, spectrum.n_fft, axis=1)[:, :: spectrum.hop]
    result = np.empty((len(waveforms), count, spectrum.bins), np.float32)
    shifts = np.zeros(len(waveforms))  # of what plays at 96 dB SPL, from full scale, in dB

    def peak(clip: int) -> None:
        highest = max(_peak(scipy.fft.rfft(frames[clip, first : first + FRAMES] * window)) for first in range(0, count, FRAMES))
        shifts[clip] = 10 * np.log10(highest) if highest > SILENCE else 0  # a silent clip has no peak

    def part(place: tuple[int, int]) -> None:
        clip, first = place
        out = result[clip, first : first + FRAMES]
        _loops(scipy.fft.rfft(frames[clip, first : first + FRAMES] * window), 10 ** ((FULL_SCALE_DB - shifts[clip]) / 10), noise, table, out)
        np.log10(out, out=out)
        out *= 10
        out += np.float32(shifts[clip])

    if clip_peak:
        _in_threads(peak, range(len(waveforms)), threads)
    _in_threads(part, [(clip, first) for clip in range(len(waveforms)) for first in range(0, count, FRAMES)], threads)
    return result


def _in_threads(work: Callable, items, threads: int) -> None:
    """All of them; neither the transform nor the loops hold the interpreter's lock."""
    if threads == 1:
        for item in items:
            work(item)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(work, items):
                pass


def _peak(spectra: np.ndarray) -> float:
    return float((spectra.real**2 + spectra.imag**2).max())


def compiled(**options) -> Callable:
    """numba.njit, its result kept where there is a folder to keep it in."""

    def make(function: Callable) -> Callable:
        try:
            return numba.njit(function, cache=True, **options)
        except RuntimeError:  # neither the package's nor the user's folder can be written
            return numba.njit(function, **options)

    return make


@intrinsic
def _power_of_two(_, exponent):
    """float32 2**n of a whole float32 n, -126 to 127: n + 127 put where a float has its exponent."""

    def build(_, builder, __, arguments):
        from llvmlite import ir

        whole = ir.IntType(32)
        biased = builder.add(builder.fptosi(arguments[0], whole), ir.Constant(whole, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(whole, 23)), ir.FloatType())

    return types.float32(types.float32), build


HALF = np.float32(0.5)
C0, C1, C2, C3, C4, C5, C6, C7 = (np.float32(c) for c in np.log(2) ** np.arange(8) / np.cumprod([1, 1, 2, 3, 4, 5, 6, 7]))  # of the series of 2**x


@numba.njit(inline="always")
def _exp2(x):
    """2**x of a float32, -126 to 127, as a series about the nearest whole number: a loop of it is done for many numbers at once, one of calls is not."""
    whole = np.floor(x + HALF)
    f = x - whole
    return _power_of_two(whole) * (C0 + f * (C1 + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * (C6 + f * C7)))))))


@numba.njit(inline="always")
def _tones(power, table, rival, places, tones, taken):
    """Local maxima that stand above their wider neighbourhood: fills places, tones (powers of three bins) and taken, returns how many."""
    count = 0
    for region in range(len(table.regions)):
        start, stop, reach = table.regions[region]
        for k in range(start, stop):
            rival[k] = max(power[k - 2], power[k + 2])
        for d in range(3, reach + 1):
            for k in range(start, stop):
                rival[k] = max(rival[k], max(power[k - d], power[k + d]))
        for k in range(start, stop):
            rival[k] = max(rival[k] * PROMINENCE, max(power[k - 1], power[k + 1]))
        for k in range(start, stop):
            if power[k] > rival[k]:
                places[count], tones[count] = k, power[k - 1] + power[k] + power[k + 1]
                taken[k - reach : k + reach + 1] = True
                count += 1
    return count


@numba.njit(inline="always")
def _noise(power, table, taken, noises):
    """The power of each critical band outside of its tones."""
    for band in range(len(noises)):
        total = 0.0
        for k in range(table.edges[band], table.edges[band + 1]):
            total += 0.0 if taken[k] else power[k]
        noises[band] = total


@numba.njit(inline="always")
def _audible(tone_places, tones, tone_count, noises, table, places, maskers, tonal):
    """All maskers above the threshold in quiet, in the order of their bins; of two in one bin the louder. Returns how many."""
    count, i, band, bins = 0, 0, 0, len(table.quiet)
    while i < tone_count or band < len(noises):
        tone_place = tone_places[i] if i < tone_count else bins
        noise_place = table.centres[band] if band < len(noises) else bins
        k = min(tone_place, noise_place)
        tone = tones[i] if tone_place == k else 0.0
        noise = noises[band] if noise_place == k else 0.0
        i += tone_place == k
        band += noise_place == k
        if max(tone, noise) >= table.quiet[k]:
            places[count], maskers[count], tonal[count] = k, max(tone, noise), tone >= noise
            count += 1
    return count


@numba.njit(inline="always")
def _strongest(places, maskers, count, table, tonal):
    """Keeps those that have no stronger one closer than half a Bark; of equal ones the lowest. Returns how many."""
    for i in range(count):
        j = i + 1
        while j < count and places[j] <= table.last[places[i]]:
            loser = i if abs(maskers[i]) < abs(maskers[j]) else j
            maskers[loser] = -abs(maskers[loser])  # it has lost, and still beats weaker ones
            j += 1
    kept = 0
    for i in range(count):
        if maskers[i] > 0:
            places[kept], maskers[kept], tonal[kept] = places[i], maskers[i], tonal[i]
            kept += 1
    return kept


@numba.njit(inline="always")
def _spread(places, maskers, tonal, count, table, effects, total):
    """total (bins,): the threshold in quiet and all that the maskers hide, as power."""
    effects[:] = 0
    for i in range(count):
        effects[places[i]] = maskers[i] * table.factors[int(tonal[i]), places[i]]
    below = 0.0  # downwards all slopes are the same, so what arrives at a bin goes on from there
    for k in range(len(total) - 1, -1, -1):
        below = below * table.fall[k] + effects[k]
        total[k] = table.quiet[k] + below
    least = np.log2(table.quiet.min()) + UNFELT
    for i in range(count):  # upwards each has its own
        k, level = places[i], np.log2(maskers[i])
        height = level + table.octaves[int(tonal[i]), k]
        slope = min(STEEPEST + LEVEL_SLOPE * max(level - KNEE, 0.0), FLATTEST)
        unfelt = table.barks[k] + max(least - height, slope * table.barks[-1]) / slope
        end = table.ends[min(int(max(unfelt, table.barks[k]) * PER_BARK) + 1, len(table.ends) - 1)]
        _add_slope(total[k + 1 : end], table.distance[k, k + 1 : end], np.float32(slope), np.float32(height))


@numba.njit(inline="always")
def _add_slope(total, distance, slope, height):
    for k in range(len(total)):
        total[k] += _exp2(slope * distance[k] + height)


@compiled(nogil=True, fastmath=FAST, error_model="numpy")
def _loops(spectra, gain, noise, table, out):
    """Spectra (frames, bins) complex128, what turns their squares into powers over 0 dB SPL, whether noise masks -> out (frames, bins) float32, powers."""
    bins = out.shape[1]
    power, rival, tones, maskers, effects = np.empty(bins), np.empty(bins), np.empty(bins), np.empty(2 * bins), np.empty(bins)
    tone_places, places = np.empty(bins, np.int64), np.empty(2 * bins, np.int64)
    taken, tonal = np.empty(bins, np.bool_), np.empty(2 * bins, np.bool_)
    noises = np.empty(len(table.centres) if noise else 0)
    for frame in range(len(spectra)):
        for k in range(bins):
            power[k] = max(spectra[frame, k].real ** 2 + spectra[frame, k].imag ** 2, SILENCE) * gain
            taken[k] = False
        count = _tones(power, table, rival, tone_places, tones, taken)
        _noise(power, table, taken, noises)
        count = _audible(tone_places, tones, count, noises, table, places, maskers, tonal)
        count = _strongest(places, maskers, count, table, tonal)
        _spread(places, maskers, tonal, count, table, effects, out[frame])
