"""Sound through the air: rooms, levels, moments and noise that an adversarial clip meets on its way from a loudspeaker to a microphone.

The rooms are simulated (pyroomacoustics, extra `rooms`) or measured (a folder of impulse responses). Defenses, attacks and corruptions share them.
"""
import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np
import torch
from torch import Tensor

from . import audio
from .errors import ConfigError, SpeechAdvError, shown
from .randomness import derived_seed, normal, uniform

SMALLEST, LARGEST = (3.0, 2.5, 2.3), (8.0, 6.0, 3.2)  # m
FROM_WALLS, NEAREST, FARTHEST = 0.4, 0.5, 3.0  # m; the last two between loudspeaker and microphone
ABSORPTION = (0.15, 0.5)  # share of the energy that walls take, 1 - R^2
REFLECTIONS = 17  # of the image source method, at most
LONGEST = 0.4  # seconds of an impulse response
MOST_ROOMS = 2000


@functools.lru_cache(maxsize=MOST_ROOMS)
def simulated(number: int, sample_rate: int = 16000) -> np.ndarray:
    """The impulse response of room `number`: a box, its walls, a loudspeaker and a microphone in it, all drawn from the number alone.

    By the image source method (Allen & Berkley 1979; Scheibler et al. 2018, arXiv:1710.04196). The walls' absorption is 0.15 to 0.5, the distance
    0.5 to 3 m.

    Returns:
        float64 (taps,), as `aligned` gives it.

    Raises:
        SpeechAdvError: pyroomacoustics is not installed.
    """
    try:
        import pyroomacoustics
    except ImportError:
        raise SpeechAdvError("simulated rooms need pyroomacoustics: pip install 'speechadv[rooms]', or name a folder of impulse responses") from None
    draw = np.random.default_rng(derived_seed(number, "room"))
    size = draw.uniform(SMALLEST, LARGEST)
    speaker, microphone = _places(draw, size)
    room = pyroomacoustics.ShoeBox(size, fs=sample_rate, materials=pyroomacoustics.Material(draw.uniform(*ABSORPTION)), max_order=REFLECTIONS)
    room.add_source(speaker)
    room.add_microphone(microphone)
    room.compute_rir()
    return aligned(np.asarray(room.rir[0][0], np.float64), sample_rate)


def _places(draw: np.random.Generator, size: np.ndarray) -> np.ndarray:
    """Two points (2, 3) away from the walls and at a distance that people stand from a microphone."""
    while True:
        points = draw.uniform(FROM_WALLS, size - FROM_WALLS, (2, 3))
        if NEAREST <= np.linalg.norm(points[0] - points[1]) <= FARTHEST:
            return points


def aligned(response: np.ndarray, sample_rate: int) -> np.ndarray:
    """An impulse response that begins with its largest sample, the direct sound: the travel time is no part of it. LONGEST at most, energy 1."""
    start = int(np.abs(response).argmax())
    response = response[start : start + round(LONGEST * sample_rate)]
    return response / np.sqrt(np.square(response).sum())


def measured(folder: str | Path, sample_rate: int = 16000) -> list[np.ndarray]:
    """The impulse responses of a folder's sound files, in the order of their names, as `aligned` gives them.

    Raises:
        ConfigError: no folder, no sound file in it, or one that is silent. InputError: a file that cannot be read.
    """
    folder = Path(folder)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in audio.SUFFIXES) if folder.is_dir() else []
    if not files:
        raise ConfigError(f"'{shown(folder)}': expected a folder of impulse responses ({', '.join(audio.SUFFIXES)})")
    responses = [audio.read(path, sample_rate).astype(np.float64) for path in files]
    for path, response in zip(files, responses):
        if not response.any():
            raise ConfigError(f"'{shown(path)}': expected an impulse response, all samples are zero")
    return [aligned(response, sample_rate) for response in responses]


def numbers(text: str) -> range | None:
    """The rooms that "20-39" or "7" names; None for another text. Raises ConfigError: from high to low, or more than MOST_ROOMS."""
    found = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", text)
    if not found:
        return None
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last < first + MOST_ROOMS:
        raise ConfigError(f"rooms '{shown(text)}': expected FIRST-LAST, {MOST_ROOMS} rooms at most")
    return range(first, last + 1)


def responses(rooms: str, sample_rate: int = 16000) -> Tensor:
    """(rooms, taps) float64: the responses that "0-29" (simulated) or the name of a folder (measured) stands for, shorter ones followed by zeros.

    Raises SpeechAdvError, see `simulated`, `measured` and `numbers`.
    """
    chosen = numbers(rooms)
    all_of_them = [simulated(number, sample_rate) for number in chosen] if chosen is not None else measured(rooms, sample_rate)
    longest = max(map(len, all_of_them))
    return torch.from_numpy(np.stack([audio.fitted(response, longest) for response in all_of_them]))


def overlapping(some: str, others: str) -> bool:
    """Whether two sets of rooms share one: numbers that both hold, or the same folder."""
    here, there = numbers(some), numbers(others)
    if here is None or there is None:
        return here is there is None and Path(some).resolve() == Path(others).resolve()
    return max(here[0], there[0]) <= min(here[-1], there[-1])


@dataclass
class Air:
    """A random way through the air. Called with clips and a generator a clip; differentiable in the clips.

    Args:
        responses: (rooms, taps) float64, see `responses`.
        gain_db: by which the level changes at most, up or down.
        shift: samples by which a clip comes earlier or later at most, silence moving in.
        noise_db: the least signal-to-noise ratio of the background noise, in dB of the clip as it arrives; it is drawn from there up to 20 dB above.
            None for no noise.

    Raises ConfigError: a value out of range.
    """

    responses: Tensor
    gain_db: float = 6.0
    shift: int = 800
    noise_db: float | None = 20.0

    def __post_init__(self):
        if not (0 <= self.gain_db <= 60 and self.shift >= 0):
            raise ConfigError(f"air: expected a gain of 0 to 60 dB and a shift of 0 or more, got {self.gain_db} dB and {self.shift} samples")

    def __call__(self, waveforms: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """(batch, time) -> the same shape, row i by draws from generator i; not rounded, not cut at full scale.

        In float64 within: in float32 a transform rounds otherwise in a batch than alone.
        """
        drawn = uniform(generators, (4,)).double()
        room = (drawn[:, 0] * len(self.responses)).long()
        heard = convolved(waveforms.double(), self.responses[room].to(waveforms.device))
        heard = moved(heard, ((drawn[:, 1] * 2 - 1) * self.shift).round().long().to(waveforms.device))
        heard = heard * self._gain(drawn[:, 2]).to(waveforms)[:, None]
        heard = heard if self.noise_db is None else heard + self._noise(heard.detach(), drawn[:, 3], generators)
        return heard.to(waveforms.dtype)

    def _gain(self, drawn: Tensor) -> Tensor:
        return 10 ** ((drawn * 2 - 1) * self.gain_db / 20)

    def _noise(self, heard: Tensor, drawn: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Noise that falls by 3 dB an octave, as much as rooms have of it."""
        white = torch.fft.rfft(normal(generators, heard.shape[1:], heard.device).double())
        pink = torch.fft.irfft(white / torch.arange(white.shape[1], device=heard.device).clamp(min=1).sqrt(), heard.shape[1])
        level = 10 ** (-(self.noise_db + 20 * drawn) / 20)
        return pink * (heard.norm(dim=1) / pink.norm(dim=1).clamp(min=1e-12) * level.to(heard))[:, None]


def convolved(waveforms: Tensor, responses: Tensor) -> Tensor:
    """(batch, time) with (batch, taps), cut to the clip's length."""
    size = 2 ** (waveforms.shape[1] + responses.shape[1] - 1).bit_length()
    return torch.fft.irfft(torch.fft.rfft(waveforms, size) * torch.fft.rfft(responses, size), size)[:, : waveforms.shape[1]]


def moved(waveforms: Tensor, shift: Tensor) -> Tensor:
    """Clip i of (batch, time) later by shift[i] samples, silence moving in."""
    place = torch.arange(waveforms.shape[1], device=waveforms.device) - shift[:, None]
    inside = (place >= 0) & (place < waveforms.shape[1])
    return waveforms.gather(1, place.clamp(0, waveforms.shape[1] - 1)) * inside
