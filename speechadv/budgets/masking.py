"""The perturbation's spectrum stays under the clip's masking threshold."""
import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool1d, pad

from ..errors import ConfigError, shown
from ..masking import CALIBRATIONS, MASKERS, CappedSpectrum, MaskingModel
from ..randomness import normal
from ..registry import register
from .base import HIGHEST, LSB, Bound, Budget, to_grid

TOLERANCE_DB = 0.1  # the judge's
AIM_DB = 0.05  # what `quantise` accepts: the judge must never disagree over a float's last bits
LOOP_ROUNDS = 1  # of `project`: an attack repeats it at every step
QUANTISE_ROUNDS = 50  # at most; 15 to 25 are usual
CLIPPING_ROUNDS = 3  # of them without regard to rounding
PATIENCE = 8  # rounds after which whole frames are turned down
FADE = 128  # samples in which a perturbation is turned down before full scale
START = 0.1  # amplitude of a random start, relative to a filled threshold: a louder one is heard in every clip that leaves early


@register("budget", "masking")
class Masking(Budget):
    """Every bin of the perturbation's short-time spectrum stays below the clip's masking threshold + margin.

    The model is `speechadv.masking.MaskingModel`: MPEG-1 psychoacoustic model 1. The judge allows 0.1 dB more.

    Args:
        margin_db: in dB; 0 is the threshold itself, negative is quieter; -100 to 100.
        calibration: "full-scale" or "clip-peak": what plays at 96 dB SPL.
        maskers: "both" or "tonal".
        sample_rate: of the clips, in Hz.

    Raises:
        ConfigError: the margin is out of range, or an unknown calibration or kind of maskers.
    """

    unit = "dB above the masking threshold"

    def __init__(self, margin_db: float = 0.0, calibration: str = "full-scale", maskers: str = "both", sample_rate: int = 16000):
        if not (math.isfinite(margin_db) and -100 <= margin_db <= 100):
            raise ConfigError(f"budget 'masking:{shown(margin_db)}': expected a margin of -100 to 100 dB")
        self.margin_db = margin_db + 0.0  # no "-0"
        self.model = MaskingModel(sample_rate, calibration, maskers)
        options = [calibration] * (calibration != CALIBRATIONS[0]) + [maskers] * (maskers != MASKERS[0])
        self.name = ":".join(["masking"] + [f"{self.margin_db:g}"] * bool(margin_db) + options)

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Masking":
        """From "" (margin 0), "-6", "3db", and the options "clip-peak" and "tonal": "-6:clip-peak"."""
        margin, options = [], {}
        for part in filter(None, text.strip().lower().split(":")):
            if part in CALIBRATIONS:
                options["calibration"] = part
            elif part in MASKERS:
                options["maskers"] = part
            else:
                margin.append(_decibels(part, text))
        if len(margin) > 1:
            raise ConfigError(f"budget 'masking:{shown(text)}': expected one margin, got {len(margin)}")
        return cls(*margin, **options, sample_rate=sample_rate)

    def bind(self, clean: Tensor) -> "BoundMasking":
        caps = self.model.caps(clean, self.margin_db)
        return BoundMasking(self, clean, CappedSpectrum.of(self.model.spectrum, caps, clean.shape[1]))


def _decibels(part: str, text: str) -> float:
    try:
        return float(part.removesuffix("db"))
    except ValueError:
        raise ConfigError(f"budget 'masking:{shown(text)}': expected a margin in dB, such as masking:-6, or clip-peak or tonal") from None


def _turned_down(perturbation: Tensor, clean: Tensor) -> Tensor:
    """See `storable`."""
    room = torch.where(perturbation > 0, HIGHEST - clean, 1 + clean)
    gain = (room / perturbation.abs().clamp(min=LSB)).clamp(max=1)
    if (gain == 1).all():
        return perturbation
    # The least gain of each block and its neighbours, joined by lines: never above the gain that a sample needs.
    blocks = pad(gain, (0, -gain.shape[1] % FADE), value=1.0).unflatten(1, (-1, FADE)).amin(2)
    least = -max_pool1d(-blocks[:, None], 3, stride=1, padding=1)
    return perturbation * interpolate(least, scale_factor=FADE, mode="linear")[:, 0, : gain.shape[1]]


class BoundMasking(Bound):
    """See `Masking`."""

    def __init__(self, budget: Masking, clean: Tensor, capped: CappedSpectrum):
        super().__init__(budget, clean)
        self.capped = capped

    def distance(self, perturbation: Tensor) -> Tensor:
        """(batch,) dB: the most by which any bin exceeds the threshold without the margin; -inf for no perturbation."""
        return self.capped.excess_db(perturbation) + self.budget.margin_db

    def satisfied(self, perturbation: Tensor) -> Tensor:
        return self.capped.excess_db(perturbation) <= TOLERANCE_DB

    def project(self, perturbation: Tensor) -> Tensor:
        """Nearly the nearest allowed perturbation: some bins may stay a few dB too loud. Cheap, for every step; `quantise` is exact."""
        for _ in range(LOOP_ROUNDS):
            perturbation = self.storable(self.capped.clip(perturbation))
        return self.inside(perturbation)

    @cached_property
    def peaks(self) -> Tensor:
        """(batch,) the clips' largest magnitudes."""
        return self.clean.abs().amax(1)

    def storable(self, perturbation: Tensor) -> Tensor:
        """Turned down where clean + perturbation would leave 16 bit, gently: cut off there, it would be heard at all frequencies."""
        near = self.peaks + perturbation.abs().amax(1) > HIGHEST - LSB  # most often none
        if not near.any():
            return perturbation
        part = perturbation[near]
        turned = _turned_down(part, self.clean[near])
        return perturbation if turned is part else perturbation.index_put((near,), turned)

    def quantise(self, perturbation: Tensor) -> Tensor:
        """On the 16-bit grid and allowed, whatever the input: rounded, measured as it will be saved, and shrunk where it is too loud, until
        nothing is. What does not come to rest becomes zero."""
        result = torch.zeros_like(perturbation)
        active = torch.arange(len(perturbation), device=perturbation.device)
        bound, current = self, torch.nan_to_num(perturbation, 0.0, 1.0, -1.0)
        for step in range(QUANTISE_ROUNDS):
            rounded = bound.inside(to_grid(current))
            open_rows = ~(bound.capped.excess_db(rounded) <= AIM_DB)
            result[active[~open_rows]] = rounded[~open_rows]
            if not open_rows.any():
                break
            active, bound = active[open_rows], bound.select(open_rows)
            current = bound._quieter(current[open_rows], rounded[open_rows], step)
        return result

    def rough(self, perturbation: Tensor) -> Tensor:
        return self.inside(to_grid(perturbation))

    def _quieter(self, current: Tensor, rounded: Tensor, step: int) -> Tensor:
        """The next try of `quantise`."""
        if step < CLIPPING_ROUNDS:
            return self.storable(self.capped.clip(current))
        return self.storable(self.capped.shrink(current, rounded, max(step - PATIENCE, 0) ** 0.5))

    def random_start(self, generators: Sequence[torch.Generator]) -> Tensor:
        noise = normal(generators, self.clean.shape[1:], self.clean.device)
        return self.project(START * self.capped.filled(noise))

    def steepest(self, gradient: Tensor) -> Tensor:
        """The gradient's phases with every bin at its threshold: the steepest ascent in the norm max |spectrum| / threshold."""
        return self.capped.filled(gradient) / self.size()

    def size(self) -> Tensor:
        """(batch, 1): root mean square, as a fraction of full scale, of noise that fills the threshold."""
        return self._size

    @cached_property
    def _size(self) -> Tensor:
        spectrum = self.capped.spectrum
        energy = self.capped.gentle.square()[:, :, 1:-1].mean((1, 2))
        return (energy * spectrum.n_fft / 6).sqrt()[:, None]  # white noise of power s reads 6 s / n_fft in each bin

    def select(self, index: Tensor) -> "BoundMasking":
        return BoundMasking(self.budget, self.clean[index], self.capped.select(index))
