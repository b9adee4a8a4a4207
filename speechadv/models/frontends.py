"""Front ends of others' networks as data: what a model card says becomes a differentiable module from waveforms to features."""
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..config import require
from .frontend import framed_power

KINDS = ("raw", "log-mel", "mfcc")
LEVELS = ("none", "maximum", "peak", "rms", "mean-variance")
WINDOWS = ("hann", "hann-symmetric", "hamming", "hamming-symmetric", "blackman", "blackman-symmetric", "rectangular")
FRAMINGS = ("window", "fft", "centred", "centred-reflect")
LOGS = {"natural": 1.0, "base10": 1 / math.log(10), "decibel": 10 / math.log(10), "none": None}
DCTS = ("orthonormal", "htk", "plain")
LSB = 2.0**-15
MOST = 1 << 16  # samples of a frame, bins, bands: more is a mistake


@dataclass(frozen=True)
class FrontEnd:
    """What stands between the waveform, samples in [-1, 1), and the first layer of a network. In the order of application:

    Attributes:
        kind: "raw" (the waveform itself; only level, gain, preemphasis, mean and std apply), "log-mel" or "mfcc".
        level: what the samples of a clip are divided by: "none"; "maximum", its largest sample; "peak", its largest absolute sample; "rms";
            "mean-variance", its mean is subtracted, then divided by sqrt(variance + 1e-7). A divisor below one LSB of 16 bit counts as 1.
        gain: factor on the samples, such as 32768 for networks that hear 16-bit integers.
        preemphasis: a in y[t] = x[t] - a x[t - 1], y[0] = x[0].
        frame_length, hop_length, n_fft: samples of the window, between frames, of the transform (the window is filled up with zeros).
        window: "hann", "hamming" and "blackman" are periodic, "…-symmetric" ends with its first value; or "rectangular".
        framing: "window": frames of frame_length samples from the first sample on, none that would pass the end (TensorFlow, Kaldi). "fft": the
            same with frames of n_fft samples and the window in their middle (librosa, torch). "centred": as "fft" after n_fft / 2 zeros on
            either side; "centred-reflect": mirrored sound there instead of zeros.
        spectrum: "magnitude" or "power".
        n_mels, f_min, f_max: triangular bands; lower edge of the lowest and upper edge of the highest, Hz.
        mel: "htk", 1127 ln(1 + f / 700), or "slaney", linear below 1 kHz and logarithmic above.
        triangles: straight on the "hertz" scale (librosa, torchaudio) or on the "mel" scale (TensorFlow, Kaldi).
        triangle_area: each triangle has the area 1 on the hertz scale, instead of the height 1.
        log: "natural", "base10", "decibel" (10 log10) or "none".
        offset: what keeps the logarithm finite; `offset_is` "added" to its argument, or its "floor".
        n_mfcc, first_mfcc: how many coefficients, and the number of the first one.
        dct: scaling of the DCT-II: "orthonormal", "htk" (sqrt(2 / n_mels) for all) or "plain" (2).
        lifter: L in the factor 1 + L / 2 sin(pi n / L) of coefficient n; 0 for none.
        mean, std: subtracted from the features and dividing them: a number, or one for each band.
        layout: "time-band" or "band-time", the order of the axes.
    """

    kind: str
    level: str = "none"
    gain: float = 1.0
    preemphasis: float = 0.0
    frame_length: int = 0
    hop_length: int = 0
    n_fft: int = 0
    window: str = "hann"
    framing: str = "window"
    spectrum: str = "power"
    n_mels: int = 0
    f_min: float = 0.0
    f_max: float = 0.0
    mel: str = "htk"
    triangles: str = "hertz"
    triangle_area: bool = False
    log: str = "natural"
    offset: float = 1e-6
    offset_is: str = "added"
    n_mfcc: int = 0
    first_mfcc: int = 0
    dct: str = "orthonormal"
    lifter: int = 0
    mean: float | list[float] = 0.0
    std: float | list[float] = 1.0
    layout: str = "time-band"

    @property
    def bands(self) -> int:
        """Numbers a frame."""
        return self.n_mfcc if self.kind == "mfcc" else self.n_mels

    def check(self, sample_rate: int, where: str) -> None:
        """Raise ConfigError, which names the key, unless the values make sense together."""
        for key, known in (("kind", KINDS), ("level", LEVELS), ("window", WINDOWS), ("framing", FRAMINGS), ("spectrum", ("magnitude", "power")),
                           ("mel", ("htk", "slaney")), ("triangles", ("hertz", "mel")), ("log", tuple(LOGS)), ("offset_is", ("added", "floor")),
                           ("dct", DCTS), ("layout", ("time-band", "band-time"))):
            require(getattr(self, key) in known, key, f"one of {', '.join(known)}", getattr(self, key), where)
        require(self.gain != 0, "gain", "another number than 0", self.gain, where)
        require(np.all(np.asarray(self.std) > 0), "std", "numbers above 0", self.std, where)
        if self.kind != "raw":
            self._check_spectrum(sample_rate, where)
        for key in ("mean", "std"):
            count = len(getattr(self, key)) if isinstance(getattr(self, key), list) else 1
            require(count in (1, self.bands), key, f"one number or {self.bands}, one for each band", f"{count} numbers", where)

    def _check_spectrum(self, sample_rate: int, where: str) -> None:
        """The part of `check` that raw sound has not."""
        for key in ("frame_length", "hop_length", "n_fft", "n_mels"):
            require(1 <= getattr(self, key) <= MOST, key, f"a whole number from 1 to {MOST}", getattr(self, key), where)
        require(self.n_fft >= max(2, self.frame_length) and self.n_fft % 2 == 0, "n_fft",
                f"an even number, at least frame_length = {self.frame_length}", self.n_fft, where)
        require(0 <= self.f_min < self.f_max <= sample_rate / 2, "f_min, f_max", f"0 <= f_min < f_max <= {sample_rate / 2:g} Hz",
                f"{self.f_min:g} and {self.f_max:g}", where)
        require(self.offset >= 0, "offset", "a number of at least 0", self.offset, where)
        require(self.offset > 0 or self.log == "none", "offset", "a number above 0: silence has no logarithm", self.offset, where)
        if self.kind == "mfcc":
            require(1 <= self.n_mfcc, "n_mfcc", "a number above 0", self.n_mfcc, where)
            require(0 <= self.first_mfcc and self.first_mfcc + self.n_mfcc <= self.n_mels, "n_mfcc, first_mfcc", f"coefficients below n_mels = {self.n_mels}",
                    f"{self.n_mfcc} from number {self.first_mfcc}", where)
        require(self.lifter >= 0, "lifter", "a whole number of at least 0", self.lifter, where)


class Features(nn.Module):
    """A front end as a module.

    Args:
        config: checked.
        sample_rate: Hz.

    Shapes: waveforms (batch, time) float32 in [-1, 1) -> (batch, time) for "raw", else (batch, frames, bands), or (batch, bands, frames).
    """

    def __init__(self, config: FrontEnd, sample_rate: int):
        super().__init__()
        self.config = config
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(config, name), dtype=torch.float32))
        if config.kind == "raw":
            return
        self.register_buffer("window", torch.from_numpy(window(config)).float())
        self.register_buffer("bank", torch.from_numpy(mel_bank(config, sample_rate)).float())
        if config.kind == "mfcc":
            self.register_buffer("cosines", torch.from_numpy(cosines(config)).float())

    def forward(self, waveforms: Tensor) -> Tensor:
        config = self.config
        sound = levelled(waveforms, config.level) * config.gain
        if config.preemphasis:
            sound = torch.cat([sound[:, :1], sound[:, 1:] - config.preemphasis * sound[:, :-1]], 1)
        features = sound if config.kind == "raw" else self.spectral(sound)
        features = (features - self.mean) / self.std
        return features.transpose(1, 2) if config.kind != "raw" and config.layout == "band-time" else features

    def spectral(self, sound: Tensor) -> Tensor:
        """(batch, time) -> (batch, frames, bands), before mean and std."""
        config = self.config
        power = framed_power(framed(sound, config), self.window, config.hop_length)
        # The smallest normal number: without it the root's gradient at a silent bin is infinite. The clamp makes it zero.
        mel = (power if config.spectrum == "power" else power.clamp_min(1e-37).sqrt()) @ self.bank
        if config.log != "none":
            mel = (mel + config.offset if config.offset_is == "added" else mel.clamp_min(config.offset)).log() * LOGS[config.log]
        return mel @ self.cosines if config.kind == "mfcc" else mel


def levelled(waveforms: Tensor, level: str) -> Tensor:
    """Each clip divided by its level; (batch, time)."""
    if level == "none":
        return waveforms
    if level == "mean-variance":
        centred = waveforms - waveforms.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-7).sqrt()
    if level == "rms":
        divisor = waveforms.square().mean(1, keepdim=True).clamp_min(1e-37).sqrt()
    else:
        divisor = (waveforms if level == "maximum" else waveforms.abs()).amax(1, keepdim=True)
    return waveforms / torch.where(divisor < LSB, torch.ones_like(divisor), divisor)


def framed(sound: Tensor, config: FrontEnd) -> Tensor:
    """The signal padded so that every frame of n_fft samples that fits is a frame of the front end."""
    half = config.n_fft // 2
    if config.framing == "window":
        return nn.functional.pad(sound, (0, config.n_fft - config.frame_length))
    if config.framing == "fft":
        return sound
    return nn.functional.pad(sound, (half, half), mode="constant" if config.framing == "centred" else "reflect")


def window(config: FrontEnd) -> np.ndarray:
    """float64 (n_fft,): the window where the framing puts it, zeros around it."""
    name, _, symmetric = config.window.partition("-")
    size = config.frame_length
    angle = 2 * np.pi * np.arange(size) / max(1, size - 1 if symmetric else size)
    terms = {"hann": (0.5, 0.5, 0), "hamming": (0.54, 0.46, 0), "blackman": (0.42, 0.5, 0.08), "rectangular": (1, 0, 0)}[name]
    values = terms[0] - terms[1] * np.cos(angle) + terms[2] * np.cos(2 * angle)
    before = 0 if config.framing == "window" else (config.n_fft - size) // 2
    return np.pad(values, (before, config.n_fft - size - before))


def hertz_to_mel(hertz: np.ndarray, scale: str) -> np.ndarray:
    """HTK: 1127 ln(1 + f / 700). Slaney (Auditory Toolbox, 1998): 3 mel in 200 Hz up to 1 kHz, then 27 for each factor of 6.4."""
    hertz = np.asarray(hertz, np.float64)
    if scale == "htk":
        return 1127 * np.log1p(hertz / 700)
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def mel_to_hertz(mel: np.ndarray, scale: str) -> np.ndarray:
    """The inverse of `hertz_to_mel`."""
    if scale == "htk":
        return 700 * np.expm1(np.asarray(mel) / 1127)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) * (np.maximum(mel, 15) - 15) / 27))


def mel_bank(config: FrontEnd, sample_rate: int) -> np.ndarray:
    """float64 (n_fft / 2 + 1, n_mels): triangles whose edges are equally spaced on the mel scale."""
    edges = np.linspace(*hertz_to_mel(np.array([config.f_min, config.f_max]), config.mel), config.n_mels + 2)
    bins = np.arange(config.n_fft // 2 + 1) * sample_rate / config.n_fft
    hertz = mel_to_hertz(edges, config.mel)
    place, corners = (bins, hertz) if config.triangles == "hertz" else (hertz_to_mel(bins, config.mel), edges)
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (place[:, None] - low) / (middle - low), (high - place[:, None]) / (high - middle)
    bank = np.maximum(0, np.minimum(rising, falling))
    return bank * 2 / (hertz[2:] - hertz[:-2]) if config.triangle_area else bank


def cosines(config: FrontEnd) -> np.ndarray:
    """float64 (n_mels, n_mfcc): the DCT-II with its scaling and the lifter."""
    number = np.arange(config.first_mfcc, config.first_mfcc + config.n_mfcc)
    matrix = np.cos(np.pi * (np.arange(config.n_mels)[:, None] + 0.5) * number / config.n_mels)
    if config.dct == "plain":
        scale = np.full(len(number), 2.0)
    else:
        scale = np.where((number == 0) & (config.dct == "orthonormal"), 0.5, 1.0) ** 0.5 * math.sqrt(2 / config.n_mels)
    lifter = 1 + config.lifter / 2 * np.sin(np.pi * number / config.lifter) if config.lifter else 1.0
    return matrix * scale * lifter
