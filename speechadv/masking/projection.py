"""Keeping a waveform's spectrum below a cap in every frame and bin, though frames overlap and bins leak into each other."""
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .spectrum import Spectrum, power

# What one bin of one frame shows up as, in dB, in the frames (hop = n_fft / 4) and bins next to it is about -3.5, -15.6, ...: the spectrum of
# the squared Hann window. Where the cap falls more steeply than this, leakage from the louder side would break the quieter one. A cap that
# falls at most so fast loses 0.2 to 0.5 dB of energy and saves most of the iterations; the values are 1 to 3 dB tighter, because leaks add up.
FALL_IN_TIME_DB = (2.0, 12.0, 30.0)
FALL_IN_FREQUENCY_DB = (2.0, 12.0, 25.0, 40.0)
TINY = 1e-20


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

    def select(self, index: Tensor) -> "CappedSpectrum":
        """The caps of some of the rows."""
        return replace(self, caps=self.caps[index], gentle=self.gentle[index])

    def excess_db(self, waveforms: Tensor) -> Tensor:
        """(batch, time) -> (batch,): the most by which any bin exceeds its cap, in dB; -inf for silence."""
        return 10 * torch.log10(self._ratios(waveforms).amax((1, 2)))

    def excess_by_frame_db(self, waveforms: Tensor) -> Tensor:
        """(batch, time) -> (batch, frames): the most by which any bin of a frame exceeds its cap, in dB."""
        return 10 * torch.log10(self._ratios(waveforms).amax(2))

    def _ratios(self, waveforms: Tensor) -> Tensor:
        return power(self.spectrum.analyse(waveforms)) / self.caps.square()

    def clip(self, waveforms: Tensor) -> Tensor:
        """One step: too loud bins brought down to `gentle`, and the waveform that comes nearest to this."""
        spectra = self.spectrum.analyse(waveforms)
        factors = (self.gentle.square() / power(spectra).clamp(min=TINY)).clamp(max=1).sqrt()
        return self.spectrum.synthesise(spectra * factors, self.time)

    def shrink(self, waveforms: Tensor, measured: Tensor | None = None, whole_frames: Tensor | None = None) -> Tensor:
        """One step: bins above their cap brought down by twice their excess in dB, so that what the neighbours put back does not exceed it.

        Args:
            waveforms: (batch, time).
            measured: (batch, time) whose excess counts, such as the rounded waveforms; the waveforms themselves by default.
            whole_frames: (batch,) bool: where every bin of a frame goes down by the worst one's excess. Helps where it is rounding that exceeds.
        """
        spectra = self.spectrum.analyse(waveforms)
        heard = spectra if measured is None else self.spectrum.analyse(measured)
        factors = (self.caps.square() / power(heard).clamp(min=TINY)).clamp(max=1)
        if whole_frames is not None:
            factors = torch.where(whole_frames[:, None, None], factors.amin(2, keepdim=True), factors)
        return self.spectrum.synthesise(spectra * factors, self.time)

    def filled(self, waveforms: Tensor) -> Tensor:
        """(batch, time) -> (batch, time): the waveforms' phases with every bin at its (gentle) cap; zero stays zero."""
        peak = waveforms.abs().amax(1, keepdim=True)
        spectra = self.spectrum.analyse(waveforms / peak.clamp(min=1e-38))
        return self.spectrum.synthesise(spectra * (self.gentle * power(spectra).clamp(min=TINY).rsqrt()), self.time)


def _without_cliffs(caps: Tensor, fall_db: tuple[float, ...], dim: int) -> Tensor:
    """Caps lowered until they fall by at most fall_db[d - 1] over d positions along `dim`, in both directions."""
    result, length = caps.clone(), caps.shape[dim]
    for distance, fall in enumerate(fall_db[: length - 1], start=1):
        limit, count = 10 ** (fall / 20), length - distance
        for here, there in ((0, distance), (distance, 0)):
            part = result.narrow(dim, here, count)
            part.copy_(torch.minimum(part, caps.narrow(dim, there, count) * limit))
    return result
