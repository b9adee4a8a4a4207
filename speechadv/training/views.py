"""Augmented views of training clips: time shift, gain, background noise, another clip on top.

View v of a set is a fixed function of (seed, v), so that a teacher's answers to it can be kept and a run that was killed goes on with the same sound.
"""
import numpy as np
import torch
from torch import Tensor

from ..randomness import derived_seed
from .settings import Augmentation, Teaching


class Views:
    """Augmented versions of clips.

    Args:
        clips: (n, time) int16.
        noises: background recordings, each a one-dimensional float32 array of at least `time` samples; from the training part alone.
        silence: (n,) bool; these clips are noise already: they get a gain and nothing else.
        settings: what to draw.
        seed: of the draws.
        sample_rate: Hz.
        teaching: how many clips are mixed with another one so loud that teachers alone can say what is heard.
    """

    def __init__(self, clips: np.ndarray, noises: list[np.ndarray], silence: np.ndarray, settings: Augmentation, seed: int, sample_rate: int = 16000,
                 teaching: Teaching = Teaching()):
        self.clips, self.noises, self.silence, self.settings = clips, noises, silence, settings
        self.seed, self.sample_rate, self.teaching = seed, sample_rate, teaching
        self.shift = int(settings.shift_ms * sample_rate / 1000)
        self._view, self._draws = None, {}

    def _draw(self, view: int) -> dict[str, np.ndarray]:
        if view != self._view:
            rng, s, n = np.random.default_rng(derived_seed(self.seed, "view", view)), self.settings, len(self.clips)
            self._draws = {
                "shift": rng.integers(-self.shift, self.shift + 1, n), "gain": 10 ** (rng.uniform(*s.gain_db, n) / 20),
                "noise": np.where(rng.random(n) < s.noise_share, rng.integers(0, max(len(self.noises), 1), n), -1),
                "offset": rng.random(n), "snr": rng.uniform(*s.noise_snr_db, n),
                "partner": np.where(rng.random(n) < s.mix_share, rng.integers(0, n, n), -1), "mix": rng.uniform(*s.mix_snr_db, n), **self._mixtures(view)}
            self._view = view
        return self._draws

    def _mixtures(self, view: int) -> dict[str, np.ndarray]:
        """The other word of each clip, -1 for none, and its level; numbers of their own, so that the other draws do not depend on them."""
        rng, t, words = np.random.default_rng(derived_seed(self.seed, "mixtures", view)), self.teaching, np.flatnonzero(~self.silence)
        if not t.mixtures or not len(words):
            return {"other": np.full(len(self.clips), -1), "level": np.zeros(len(self.clips))}
        mixed = (rng.random(len(self.clips)) < t.mixtures) & ~self.silence
        return {"other": np.where(mixed, rng.choice(words, len(self.clips)), -1), "level": rng.uniform(*t.mixture_db, len(self.clips))}

    def mixed(self, indices: np.ndarray, view: int) -> np.ndarray:
        """(len(indices),) bool: clips that are a mixture in this view, without a label of their own."""
        return self._draw(view)["other"][indices] >= 0

    def __call__(self, indices: np.ndarray, view: int) -> Tensor:
        """Waveforms (len(indices), time) float32 on the 16-bit grid."""
        draws = self._draw(view)
        out = np.stack([self._one(i, {k: v[i] for k, v in draws.items()}) for i in indices])
        return torch.from_numpy(np.clip(np.round(out), -32768, 32767)).div_(32768)

    def _one(self, i: int, d: dict) -> np.ndarray:
        clip = self.clips[i].astype(np.float32)
        if self.silence[i]:
            return clip * np.float32(d["gain"])
        clip = shifted(clip, d["shift"])
        if d["other"] >= 0:
            clip = clip + at_snr(clip, self.clips[d["other"]].astype(np.float32), d["level"])
        if d["partner"] >= 0:
            clip = clip + at_snr(clip, self.clips[d["partner"]].astype(np.float32), d["mix"])
        if d["noise"] >= 0 and self.noises:
            noise = self.noises[d["noise"]]
            start = int(d["offset"] * (len(noise) - len(clip)))
            clip = clip + at_snr(clip, noise[start : start + len(clip)], d["snr"])
        return clip * np.float32(d["gain"])


def shifted(clip: np.ndarray, shift: int) -> np.ndarray:
    """The clip moved by `shift` samples (later where positive), zeros where nothing is left."""
    out = np.zeros_like(clip)
    if shift >= 0:
        out[shift:] = clip[: len(clip) - shift]
    else:
        out[:shift] = clip[-shift:]
    return out


def at_snr(clip: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """The noise scaled so that the clip stands `snr_db` above it; unchanged silence where either is silent."""
    own, other = float(np.dot(clip, clip)), float(np.dot(noise, noise))
    return noise * np.float32((own / other) ** 0.5 * 10 ** (-snr_db / 20)) if own > 0 and other > 0 else np.zeros_like(clip)
