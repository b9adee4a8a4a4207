"""Where a run's sound lies, and how it is written, read back and measured."""
import hashlib
import math
import os
import re
from pathlib import Path
from typing import Container

import numpy as np
import torch
from torch import Tensor

from .. import audio
from ..budgets.masking import Masking
from .cells import Cell, Craft

AUDIO = "audio"
LOUD = 0.5  # of full scale: up to where a perturbation is amplified
MOST_GAIN_DB = 60


def craft_folder(craft: Craft) -> str:
    """The folder of a craft's clips, relative to the run."""
    return _folder(craft.model, craft.defense, str(craft.attack), craft.budget, craft.seed)


def cell_folder(cell: Cell) -> str:
    """The folder of what a cell's defense makes of them, relative to the run."""
    return _folder(cell.model, cell.defense, cell.attack, cell.threat, cell.budget, cell.seed)


def clean_path(clip: str) -> str:
    """The clean clip, relative to the run."""
    return f"{AUDIO}/clean/{clip}"


def _folder(*parts: object) -> str:
    """Readable and safe in any file system; a hash keeps names apart that read alike."""
    words = [re.sub(r"[^A-Za-z0-9.]+", "-", str(part)).strip("-.")[:32] for part in parts]
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{AUDIO}/{'_'.join(words)}_{digest}"


def saved(run: Path, path: str, waveform: Tensor, sample_rate: int) -> Tensor:
    """Write a waveform (time,), one of thousands, and return what the file holds, read back."""
    target = run / path
    target.parent.mkdir(parents=True, exist_ok=True)
    audio.write_pcm16(target, waveform, sample_rate, synced=False)
    return torch.from_numpy(audio.read(target, sample_rate))


def there(path: Path) -> bool:
    """Whether a sound file exists and is not empty, as a power failure leaves one that was not flushed."""
    return path.is_file() and path.stat().st_size > 0


def amplified(perturbation: Tensor) -> tuple[Tensor, int]:
    """A perturbation (time,) made audible: by the largest whole number of dB (60 at most) that keeps its peak at half of full scale."""
    peak = float(perturbation.abs().amax())
    gain = MOST_GAIN_DB if peak == 0 else max(0, min(MOST_GAIN_DB, math.floor(20 * math.log10(LOUD / peak))))
    return audio.to_grid(perturbation * 10 ** (gain / 20)), gain


def levels(clean: Tensor, adversarial: Tensor, sample_rate: int) -> dict[str, list[float | None]]:
    """The distances of adversarial clips, (batch, time) each; undefined ones are None.

    Returns:
        `linf` as a fraction of full scale, `snr_db`, and `masking_excess_db`: by how much the loudest bin of the perturbation exceeds the clip's
        masking threshold (full scale at 96 dB SPL, tonal and noise maskers).
    """
    change = adversarial - clean
    excess = Masking(sample_rate=sample_rate).distance(clean, adversarial)
    columns = {"linf": change.abs().amax(1), "snr_db": audio.snr_db(clean, change), "masking_excess_db": excess}
    return {name: [_defined(value) for value in column.tolist()] for name, column in columns.items()}


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def sweep(run: Path, keep: Container[str]) -> None:
    """Remove the run's sound files that no row names: those of a killed process, and those that `audio` says not to keep."""
    for folder, _, files in os.walk(run / AUDIO, topdown=False):
        for name in files:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and path.relative_to(run).as_posix() not in keep:
                path.unlink()
        if Path(folder) != run / AUDIO and not os.listdir(folder):
            os.rmdir(folder)


def waveforms(pcm: np.ndarray) -> Tensor:
    """int16 (batch, time) -> float32."""
    return torch.from_numpy(audio.from_pcm16(np.asarray(pcm)))
