"""Keeping a waveform's spectrum below a cap in every frame and bin, though frames overlap and bins leak into each other."""
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps

import torch
from torch import Tensor

from .spectrum import Spectrum, power

# What one bin of one frame shows up as, in dB, in the frames (hop = n_fft / 4) and bins next to it is about -3.5, -15.6, ...: the spectrum of
# the squared Hann window. Where the cap falls more steeply than this, leakage from the louder side would break the quieter one. A cap that
# falls at most so fast loses 0.2 to 0.5 dB of energy and saves most of the iterations; the values are 1 to 3 dB tighter, because leaks add up.
FALL_IN_TIME_DB = (2.0, 12.0, 30.0)
FALL_IN_FREQUENCY_DB = (2.0, 12.0, 25.0, 40.0)
LSB = 2.0**-15
ROUNDING_SHARE = 3.0  # room left for rounding, as a multiple of its root mean square in one bin, LSB / sqrt(2 n_fft)
LEAST_SHARE = 0.3  # of a cap, however small it is
TINY = 1e-20
PART = 8  # rows at a time: their spectra fit the cache


def _in_parts(step: Callable) -> Callable:
    """A method of (batch, ...) tensors done for a few rows at a time, with the same result."""

    @wraps(step)
    def whole(self, *arguments):
        parts = []
        for start in range(0, max(len(arguments[0]), 1), PART):
            rows = slice(start, start + PART)
            parts.append(step(self.select(rows), *(a[rows] if isinstance(a, Tensor) else a for a in arguments)))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    return whole


@dataclass(frozen=True)
class CappedSpectrum:
    """The largest magnitudes that a waveform of `time` samples may have.

    Args:
        spectrum: the frames.
        caps: (batch, frames, bins) magnitudes on the scale of `Spectrum.analyse`: the limit itself.
        gentle: the same, never above `caps` and without cliffs: where iterations start.
        time: samples.
    """

    spectrum: Spectrum
    caps: Tensor
    gentle: Tensor
    time: int

    @classmethod
    def of(cls, spectrum: Spectrum, caps: Tensor, time: int) -> "CappedSpectrum":
        """With the cliffs of `caps` taken out."""
        gentle = _without_cliffs(caps, FALL_IN_TIME_DB, 1)
        return cls(spectrum, caps, _without_cliffs(gentle, FALL_IN_FREQUENCY_DB, 2), time)

    def select(self, index: Tensor | slice) -> "CappedSpectrum":
        """The caps of some of the rows."""
        return replace(self, caps=self.caps[index], gentle=self.gentle[index])

    @_in_parts
    def excess_db(self, waveforms: Tensor) -> Tensor:
        """(batch, time) -> (batch,): the most by which any bin exceeds its cap, in dB; -inf for silence."""
        return 10 * torch.log10(power(self.spectrum.analyse(waveforms)).div_(self.caps.square()).amax((1, 2)))

    @_in_parts
    def clip(self, waveforms: Tensor) -> Tensor:
        """One step: too loud bins brought down to `gentle`, and the waveform that comes nearest to this."""
        spectra = self.spectrum.analyse(waveforms)
        factors = power(spectra).clamp_(min=TINY).rsqrt_().mul_(self.gentle).clamp_(max=1)
        return self.spectrum.synthesise(spectra.mul_(factors), self.time)

    @_in_parts
    def shrink(self, waveforms: Tensor, rounded: Tensor, urgency: float = 0.0) -> Tensor:
        """One step towards waveforms that stay below `caps` when they are rounded to 16 bit.

        A bin whose rounded value exceeds its cap goes down by twice the excess in dB, so that what the neighbours put back does not exceed it;
        all bins keep a distance to their caps that rounding may fill.

        Args:
            waveforms: (batch, time) before rounding.
            rounded: the same, as it would be saved.
            urgency: from 1 on, all bins of a frame go down with its worst one, so many times: in the end the frame is silent. Without it a frame
                whose caps lie below the noise of rounding would never come to rest.
        """
        spectra = self.spectrum.analyse(waveforms)
        factors = (self.caps.square() / power(self.spectrum.analyse(rounded)).clamp_(min=TINY)).clamp_(max=1)
        if urgency:
            factors = factors.amin(2, keepdim=True) ** urgency
        noise = ROUNDING_SHARE * LSB / (2 * self.spectrum.n_fft) ** 0.5
        lowered = torch.maximum(self.caps - noise, LEAST_SHARE * self.caps)
        room = power(spectra).clamp_(min=TINY).rsqrt_().mul_(lowered).clamp_(max=1)
        return self.spectrum.synthesise(spectra.mul_(torch.minimum(factors, room)), self.time)

    @_in_parts
    def filled(self, waveforms: Tensor) -> Tensor:
        """(batch, time) -> (batch, time): the waveforms' phases with every bin at its (gentle) cap; zero stays zero."""
        peak = waveforms.abs().amax(1, keepdim=True)
        spectra = self.spectrum.analyse(waveforms / peak.clamp(min=1e-38))
        factors = power(spectra).clamp_(min=TINY).rsqrt_().mul_(self.gentle)
        return self.spectrum.synthesise(spectra.mul_(factors), self.time)


def _without_cliffs(caps: Tensor, fall_db: tuple[float, ...], dim: int) -> Tensor:
    """Caps lowered until they fall by at most fall_db[d - 1] over d positions along `dim`, in both directions."""
    result, length = caps.clone(), caps.shape[dim]
    for distance, fall in enumerate(fall_db[: length - 1], start=1):
        limit, count = 10 ** (fall / 20), length - distance
        for here, there in ((0, distance), (distance, 0)):
            part = result.narrow(dim, here, count)
            part.copy_(torch.minimum(part, caps.narrow(dim, there, count) * limit))
    return result
