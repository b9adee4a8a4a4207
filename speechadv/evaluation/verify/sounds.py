"""Sound files of a run measured again: plain numpy on whole numbers, by none of the code that wrote the rows."""
import wave
from pathlib import Path
from typing import Sequence

import numpy as np
import torch
from torch import nn

from ...budgets.base import Budget
from ...budgets.intersection import Intersection
from ...budgets.linf import Linf
from ...budgets.masking import TOLERANCE_DB, Masking
from ...budgets.snr import Snr
from ...errors import InputError, shown
from ...masking import MaskingModel
from ...randomness import drawing

FULL_SCALE = 32768
WINDOW, HOP = 512, 128  # samples of the masking model's frames
FULL_SCALE_DB = 96.0
BATCH = 32
SNR_SLACK_DB = 1e-5  # of a judge of files about the last bits of a radius
CLOSE_SHARE = 0.0011  # of a probability: the rows' three digits, and a little for the batch
TIE = 1e-4  # of the largest logit: two words closer than this may change places with the batch


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """int64 (time,) samples of a 16-bit mono WAV file, and its rate in Hz. Raises InputError where it is another file, or ends early."""
    try:
        with wave.open(str(path), "rb") as file:
            kind, frames = (file.getnchannels(), file.getsampwidth()), file.getnframes()
            if kind[0] * kind[1] * frames > path.stat().st_size:
                raise EOFError
            content, rate = file.readframes(frames), file.getframerate()
    except FileNotFoundError:
        raise InputError("no such file") from None
    except OSError as problem:
        raise InputError(problem.strerror or str(problem)) from None
    except (wave.Error, EOFError, RuntimeError) as problem:
        raise InputError(f"expected a WAV file: {shown(problem) or 'it ends early'}") from None
    if kind != (1, 2):
        raise InputError(f"expected 16 bit and one channel, got {8 * kind[1]} bit and {kind[0]}")
    if len(content) != 2 * frames:
        raise InputError(f"expected {frames} samples, found {len(content) // 2}")
    return np.frombuffer(content, "<i2").astype(np.int64), rate


def linf(clean: np.ndarray, adversarial: np.ndarray) -> float:
    """The largest change of a sample, as a fraction of full scale."""
    return int(np.abs(adversarial - clean).max()) / FULL_SCALE


def snr_db(clean: np.ndarray, adversarial: np.ndarray) -> float | None:
    """10 log10 of the clip's energy over the change's; None where either is zero. The sums are exact: whole numbers."""
    signal, noise = int((clean**2).sum()), int(((adversarial - clean) ** 2).sum())
    return 10 * float(np.log10(signal / noise)) if signal and noise else None


def threshold_db(clean: np.ndarray, model: MaskingModel) -> np.ndarray:
    """(frames, bins) dB: the masking threshold of a clip, by the package."""
    return model.threshold_db(torch.from_numpy((clean / FULL_SCALE).astype(np.float32))[None])[0].double().numpy()


def excess_db(clean: np.ndarray, adversarial: np.ndarray, threshold: np.ndarray) -> float | None:
    """By how many dB the loudest bin of the change lies above the threshold; None without a change.

    Frames of 512 samples, 128 apart, under a periodic Hann window, with zeros before and after; a sine reads its amplitude.
    """
    change = (adversarial - clean) / FULL_SCALE
    if not change.any():
        return None
    frames = len(threshold)
    padded = np.zeros((frames - 1) * HOP + WINDOW)
    padded[WINDOW - HOP : WINDOW - HOP + len(change)] = change
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    spectra = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * window) * (4 / WINDOW)
    with np.errstate(divide="ignore"):
        return float((20 * np.log10(np.abs(spectra)) + FULL_SCALE_DB - threshold).max())


def amplified(clean: np.ndarray, adversarial: np.ndarray, gain_db: float) -> np.ndarray:
    """The change `gain_db` louder, in whole steps, as float: a file may be off by the rounding of one step."""
    return (adversarial - clean) * 10 ** (gain_db / 20)


def breach(budget: Budget, clean: np.ndarray, adversarial: np.ndarray) -> str | None:
    """How the change breaks a budget, in words; None where it keeps to it or where the budget is of a kind that is not known here."""
    if isinstance(budget, Intersection):
        return next(filter(None, (breach(part, clean, adversarial) for part in budget.budgets)), None)
    steps = int(np.abs(adversarial - clean).max())
    if isinstance(budget, Linf) and steps > budget.lsb:
        return f"{budget.name} allows {budget.lsb} LSB, the file has {steps}"
    if isinstance(budget, Snr) and steps:
        found = snr_db(clean, adversarial)
        if found is None or found < budget.snr_db - SNR_SLACK_DB:
            return f"{budget.name}: the file has {'a change of a silent clip' if found is None else f'{found:.4f} dB'}"
    if isinstance(budget, Masking) and steps:
        over = excess_db(clean, adversarial, threshold_db(clean, budget.model)) - budget.margin_db
        if over > TOLERANCE_DB + 0.01:
            return f"{budget.name}: the file exceeds it by {over:.2f} dB"
    return None


def logits(model: nn.Module, clips: Sequence[np.ndarray], device: str, generators: Sequence[torch.Generator] = ()) -> np.ndarray:
    """float64 (clips, labels): what a classifier answers to int clips (time,). What is random in it draws from `generators`, one a clip."""
    parts = []
    for start in range(0, len(clips), BATCH):
        batch = torch.from_numpy((np.stack(clips[start : start + BATCH]) / FULL_SCALE).astype(np.float32))
        with torch.no_grad(), drawing(model, generators[start : start + BATCH]):
            parts.append(model(batch.to(device)).double().cpu().numpy())
    return np.concatenate(parts)


def heard(answer: np.ndarray, labels: Sequence[str]) -> list[str]:
    """The words that may be said to be heard in one clip: the likeliest one first, then those that tie with it."""
    near = answer >= answer.max() - TIE * max(1.0, float(np.abs(answer).max()))
    order = np.argsort(-answer, kind="stable")
    return [labels[i] for i in order if near[i]]


def likeliest(answer: np.ndarray, labels: Sequence[str], said: dict[str, float]) -> bool:
    """Whether some words are the likeliest of one clip, each with its softmax probability as rows round it."""
    shares = np.exp(answer - answer.max())
    found = dict(zip(labels, (shares / shares.sum()).tolist()))
    others = [share for word, share in found.items() if word not in said]
    return all(abs(found.get(word, -1.0) - share) <= CLOSE_SHARE for word, share in said.items()) and max(others, default=0.0) <= min(said.values(), default=1.0) + CLOSE_SHARE
