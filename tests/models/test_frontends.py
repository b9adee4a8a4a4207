"""Front ends as data, against a slow reference written from the definitions, with loops, in numpy alone."""
import dataclasses
import functools
import math

import librosa
import numpy as np
import pytest
import torch

from speechadv.errors import ConfigError
from speechadv.models.frontend import LogMel
from speechadv.models.frontends import Features, FrontEnd

RATE = 8000
MFCC = FrontEnd("mfcc", frame_length=240, hop_length=160, n_fft=256, n_mels=20, f_min=20.0, f_max=4000.0, n_mfcc=10)
MLPERF = dataclasses.replace(MFCC, level="maximum", spectrum="magnitude", triangles="mel", dct="htk")
CONFIGS = {
    "mlperf": MLPERF,
    "librosa": dataclasses.replace(MFCC, framing="centred", log="decibel", offset=1e-10, offset_is="floor", mel="slaney", triangle_area=True),
    "log-mel": FrontEnd("log-mel", frame_length=256, hop_length=128, n_fft=256, n_mels=16, f_max=4000.0, log="natural", mean=-3.0, std=2.5, layout="band-time"),
    "reflected, base 10": FrontEnd("log-mel", frame_length=200, hop_length=100, n_fft=256, n_mels=12, f_min=60.0, f_max=3800.0, framing="centred-reflect", log="base10"),
    "kaldi": dataclasses.replace(MFCC, gain=32768.0, preemphasis=0.97, window="hamming-symmetric", triangles="mel", offset_is="floor", lifter=22, first_mfcc=1),
    "whole hops, blackman": dataclasses.replace(MFCC, window="blackman", hop_length=300, framing="fft", dct="plain", spectrum="magnitude"),
    "rectangular, no log": FrontEnd("log-mel", level="rms", frame_length=100, hop_length=37, n_fft=128, n_mels=8, f_max=4000.0, window="rectangular", log="none", offset=0.0),
    "per band": FrontEnd("log-mel", level="peak", frame_length=100, hop_length=50, n_fft=128, n_mels=4, f_max=4000.0, mean=[1.0, 2.0, 3.0, 4.0], std=[1.0, 2.0, 1.0, 2.0]),
    "raw": FrontEnd("raw", level="mean-variance", gain=2.0, preemphasis=0.9, mean=0.1, std=3.0),
}


def mel(hertz, scale):
    if scale == "htk":
        return 1127 * math.log(1 + hertz / 700)
    return hertz / (200 / 3) if hertz < 1000 else 15 + math.log(hertz / 1000) / (math.log(6.4) / 27)


@functools.lru_cache(None)
def inverse(value, scale):
    low, high = 0.0, 1e6
    for _ in range(100):  # by bisection: independent of any closed form
        middle = (low + high) / 2
        low, high = (middle, high) if mel(middle, scale) < value else (low, middle)
    return low


def taper(name, size):
    kind, _, symmetric = name.partition("-")
    turn = lambda n: 2 * math.pi * n / (size - 1 if symmetric else size)  # noqa: E731
    return [{"hann": lambda a: 0.5 - 0.5 * math.cos(a), "hamming": lambda a: 0.54 - 0.46 * math.cos(a),
             "blackman": lambda a: 0.42 - 0.5 * math.cos(a) + 0.08 * math.cos(2 * a), "rectangular": lambda a: 1.0}[kind](turn(n)) for n in range(size)]


def triangle(config, band, hertz):
    edges = [mel(config.f_min, config.mel) + (mel(config.f_max, config.mel) - mel(config.f_min, config.mel)) * (band + i) / (config.n_mels + 1) for i in range(3)]
    corners = [inverse(edge, config.mel) for edge in edges]
    place, (low, middle, high) = (mel(hertz, config.mel), edges) if config.triangles == "mel" else (hertz, corners)
    height = max(0.0, min((place - low) / (middle - low), (high - place) / (high - middle)))
    return height * 2 / (corners[2] - corners[0]) if config.triangle_area else height


def sound_of(clip, config):
    x = np.asarray(clip, np.float64)
    divisor = {"none": 1.0, "maximum": x.max(), "peak": np.abs(x).max(), "rms": math.sqrt((x**2).mean()), "mean-variance": math.sqrt(x.var() + 1e-7)}[config.level]
    x = (x - (x.mean() if config.level == "mean-variance" else 0)) / (divisor if divisor >= 2**-15 or config.level == "mean-variance" else 1) * config.gain
    return np.array([x[t] - (config.preemphasis * x[t - 1] if t else 0) for t in range(len(x))])


def frames_of(x, config):
    if config.framing.startswith("centred"):
        half = config.n_fft // 2
        x = np.concatenate([np.zeros(half), x, np.zeros(half)]) if config.framing == "centred" else np.pad(x, half, mode="reflect")
    size = config.frame_length if config.framing == "window" else config.n_fft
    before = 0 if config.framing == "window" else (config.n_fft - config.frame_length) // 2
    weights = [0.0] * before + taper(config.window, config.frame_length)
    weights += [0.0] * (size - len(weights))
    return [np.array(weights) * x[start : start + size] for start in range(0, len(x) - size + 1, config.hop_length)]


def reference(clip, config):
    """(frames, bands) or (time,) of one clip."""
    x = sound_of(clip, config)
    if config.kind == "raw":
        return (x - config.mean) / config.std
    bins = config.n_fft // 2 + 1
    bank = np.array([[triangle(config, band, k * RATE / config.n_fft) for band in range(config.n_mels)] for k in range(bins)])
    rows = []
    for frame in frames_of(x, config):
        angle = -2j * np.pi * np.outer(np.arange(bins), np.arange(len(frame))) / config.n_fft
        spectrum = np.abs((np.exp(angle) * frame).sum(1)) ** (2 if config.spectrum == "power" else 1)
        bands = spectrum @ bank
        argument = bands + config.offset if config.offset_is == "added" else np.maximum(bands, config.offset)
        values = {"natural": np.log, "base10": np.log10, "decibel": lambda v: 10 * np.log10(v), "none": lambda v: bands}[config.log](argument)
        rows.append(coefficients(values, config) if config.kind == "mfcc" else values)
    features = (np.array(rows) - np.array(config.mean)) / np.array(config.std)
    return features.T if config.layout == "band-time" else features


def coefficients(values, config):
    n, out = len(values), []
    for k in range(config.first_mfcc, config.first_mfcc + config.n_mfcc):
        total = sum(values[i] * math.cos(math.pi * k * (2 * i + 1) / (2 * n)) for i in range(n))
        scale = {"plain": 2.0, "htk": math.sqrt(2 / n), "orthonormal": math.sqrt((1 if k == 0 else 2) / n)}[config.dct]
        out.append(total * scale * (1 + config.lifter / 2 * math.sin(math.pi * k / config.lifter) if config.lifter else 1))
    return np.array(out)


def clips(count=2, time=1600):
    return (0.3 * np.random.default_rng(0).normal(size=(count, time))).clip(-1, 1).astype(np.float32)


@pytest.mark.parametrize("name", CONFIGS)
def test_agrees_with_the_slow_reference(name):
    config = CONFIGS[name]
    config.check(RATE, "card")
    found = Features(config, RATE)(torch.from_numpy(clips())).numpy()
    expected = np.stack([reference(clip, config) for clip in clips()])
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max(), rtol=1e-3)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_is_its_clips(name):
    features, waveforms = Features(CONFIGS[name], RATE), torch.from_numpy(clips(3))
    torch.testing.assert_close(features(waveforms), torch.cat([features(row[None]) for row in waveforms]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_gradient_is_right(name):
    features = Features(CONFIGS[name], RATE).double()
    waveforms = torch.from_numpy(clips(2, 700)).double().requires_grad_()
    weights = torch.rand(features(waveforms).shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((features(waveforms) * weights).sum(), waveforms)
    direction = torch.randn(waveforms.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = 1e-6
    change = ((features(waveforms + step * direction) - features(waveforms - step * direction)) * weights).sum() / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), change.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_silence_has_finite_features_and_gradients(name):
    waveforms = torch.zeros(2, 1600, requires_grad=True)
    features = Features(CONFIGS[name], RATE)(waveforms)
    features.sum().backward()
    assert features.isfinite().all() and waveforms.grad.isfinite().all()


def test_agrees_with_librosa():
    config = CONFIGS["librosa"]
    found = Features(config, RATE)(torch.from_numpy(clips(1))).numpy()[0]
    power = librosa.feature.melspectrogram(y=clips(1)[0], sr=RATE, n_fft=256, hop_length=160, win_length=240, n_mels=20, fmin=20, fmax=4000, pad_mode="constant")
    expected = librosa.feature.mfcc(S=librosa.power_to_db(power, top_db=None), n_mfcc=10).T
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_our_own_front_end_can_be_written_as_data():
    """log(1 + mel / offset) / 4, as the networks of the package hear."""
    own = LogMel(RATE, 256, 128, 20, 60.0, 4000.0, 1e-4)
    config = FrontEnd("log-mel", frame_length=256, hop_length=128, n_fft=256, n_mels=20, f_min=60.0, f_max=4000.0, framing="centred", offset=1e-4, mean=math.log(1e-4), std=4.0,
                      layout="band-time")
    torch.testing.assert_close(Features(config, RATE)(torch.from_numpy(clips())), own(torch.from_numpy(clips())), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("change", "message"), [
    ({"kind": "mel"}, "kind: expected one of raw, log-mel, mfcc, got mel"), ({"window": "haan"}, "window: expected one of hann"), ({"gain": 0.0}, "gain: expected"),
    ({"hop_length": 0}, "hop_length: expected a whole number from 1"), ({"n_fft": 100}, "n_fft: expected an even number, at least frame_length = 240"),
    ({"n_fft": 257}, "n_fft: expected an even"), ({"f_max": 5000.0}, "f_min, f_max: expected 0 <= f_min < f_max <= 4000 Hz"), ({"offset": 0.0}, "offset: expected a number above 0"),
    ({"n_mfcc": 21}, "n_mfcc, first_mfcc: expected coefficients below n_mels = 20"), ({"lifter": -1}, "lifter: expected"), ({"std": 0.0}, "std: expected numbers above 0"),
    ({"mean": [1.0, 2.0]}, "mean: expected one number or 10"), ({"n_mels": 1 << 20}, "n_mels: expected"), ({"level": "loud"}, "level: expected"),
])
def test_values_that_make_no_sense(change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(MFCC, **change).check(RATE, "card")
