"""From an engine's output to one second as a microphone might have it, and the noises that stand for silence."""

from math import gcd

import numpy as np
from scipy.signal import resample_poly

SAMPLE_RATE = 16000
LENGTH = SAMPLE_RATE  # one second
LONGEST_WORD = int(0.86 * SAMPLE_RATE)  # leaves some air before and after


def trimmed(samples: np.ndarray, rate: int) -> np.ndarray:
    """The word alone at 16 kHz: quiet ends (40 dB under the loudest 10 ms) cut, 30 ms left, faded in and out."""
    common = gcd(rate, SAMPLE_RATE)
    samples = resample_poly(samples - samples.mean(), SAMPLE_RATE // common, rate // common)
    frame = SAMPLE_RATE // 100
    power = np.square(samples[: len(samples) // frame * frame].reshape(-1, frame)).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 1e-4)
    word = samples[max(0, (loud[0] - 3) * frame) : (loud[-1] + 4) * frame].copy()
    ramp = np.sin(np.linspace(0, np.pi / 2, 2 * frame)) ** 2
    word[: len(ramp)] *= ramp
    word[-len(ramp) :] *= ramp[::-1]
    return word


def placed(word: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """int16 (16000,): the word near the middle, peak between 0.1 and 0.7 of full scale, over a faint room noise (-78 to -68 dBFS)."""
    clip = dbfs(random.uniform(-78, -68)) * coloured(random, exponent=random.uniform(-1.5, -0.5))
    room = LENGTH - len(word)
    start = int(round(room * random.uniform(0.3, 0.7)))
    peak = np.exp(random.uniform(np.log(0.12), np.log(0.68)))
    clip[start : start + len(word)] += peak * word / np.abs(word).max()
    return pcm16(clip)


def disturbed(clip: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """int16 (16000,): the clip moved by up to 0.1 s, at half its level or more, with white noise 25 dB or more below it."""
    noise = random.uniform(0, 1) * dbfs(-25) * np.sqrt(np.square(clip / 32768).mean()) * random.standard_normal(LENGTH)
    moved = np.roll(clip / 32768, random.integers(-LENGTH // 10, LENGTH // 10))
    return pcm16(random.uniform(0.5, 1) * (moved + noise))


def coloured(random: np.random.Generator, exponent: float, low: float = 40.0, high: float = 8000.0) -> np.ndarray:
    """Gaussian noise (16000,) of rms 1 whose power falls as frequency ** exponent between `low` and `high` Hz and is zero outside."""
    frequency = np.fft.rfftfreq(LENGTH, 1 / SAMPLE_RATE)
    inside = (frequency >= low) & (frequency <= high)
    shape = np.where(inside, np.maximum(frequency, low) ** (exponent / 2), 0.0)
    noise = np.fft.irfft(np.fft.rfft(random.standard_normal(LENGTH)) * shape, LENGTH)
    return noise / np.sqrt(np.square(noise).mean())


def hum(random: np.random.Generator) -> np.ndarray:
    """Mains hum, 50 Hz and falling harmonics with random phases, over pink noise; rms 1."""
    time = np.arange(LENGTH) / SAMPLE_RATE
    tones = sum(np.sin(2 * np.pi * 50 * k * time + random.uniform(0, 2 * np.pi)) / k for k in (1, 2, 3, 4, 6, 8))
    return _unit(tones + 0.5 * coloured(random, -1.0))


def gusts(random: np.random.Generator) -> np.ndarray:
    """Brown noise that swells and fades as wind does on a microphone; rms 1."""
    slow = coloured(random, 0.0, low=1.0, high=4.0)
    return _unit(coloured(random, -2.0) * np.exp(0.7 * slow))


def clatter(random: np.random.Generator) -> np.ndarray:
    """Pink noise with a few short, ringing knocks; rms 1."""
    noise = coloured(random, -1.0)
    for _ in range(5):
        start, length = random.integers(0, LENGTH - 1600), 1600
        time = np.arange(length) / SAMPLE_RATE
        knock = np.exp(-time / 0.012) * np.sin(2 * np.pi * random.uniform(600, 3000) * time)
        noise[start : start + length] += random.uniform(3, 7) * knock
    return _unit(noise)


# name, how it is made, level in dBFS (rms; a full-scale square wave is 0)
SILENCES = (
    ("white-faint", lambda r: coloured(r, 0.0), -66.0),
    ("pink-quiet", lambda r: coloured(r, -1.0), -58.0),
    ("brown", lambda r: coloured(r, -2.0), -40.0),
    ("blue", lambda r: coloured(r, 1.0), -54.0),
    ("pink", lambda r: coloured(r, -1.0), -42.0),
    ("speech-band", lambda r: coloured(r, -1.5, low=150.0, high=4000.0), -46.0),
    ("hum", hum, -48.0),
    ("gusts", gusts, -36.0),
    ("clatter", clatter, -44.0),
)


def silence(name: str, random: np.random.Generator) -> np.ndarray:
    """int16 (16000,): the made noise of that name in SILENCES, at its level."""
    make, level = {n: (m, db) for n, m, db in SILENCES}[name]
    return pcm16(dbfs(level) * make(random))


def dbfs(level: float) -> float:
    return 10 ** (level / 20)


def pcm16(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def _unit(samples: np.ndarray) -> np.ndarray:
    return samples / np.sqrt(np.square(samples).mean())
