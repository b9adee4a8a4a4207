"""The bundled clips: twelve labels spoken by synthetic voices, inside the package. They are held out of everything that is trained or chosen.

`bundled/manifest.json` says for each clip the voice, engine, text and parameters, and what an independent recogniser heard; data/README.md tells
how they were made. Imports no torch.
"""
import hashlib
import importlib.resources
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Sequence

import numpy as np

from .. import audio
from ..errors import ConfigError, DataError
from ..registry import closest

SAMPLE_RATE = 16000  # Hz
LENGTH = 16000  # samples of every clip


@dataclass(frozen=True, slots=True)
class BundledClip:
    """One bundled clip. `name` is "WORD/VOICE_nohash_N.wav"; `text` is the word that is said, empty for made noise."""

    path: Path
    name: str
    label: str
    text: str
    voice: str
    engine: str
    heard: str  # by the recogniser that chose the clips
    sha256: str  # of the file


def bundled_folder() -> Path:
    """The folder of the bundled clips, in a checkout as in an installed wheel. Nothing in it may be trained on."""
    return Path(str(importlib.resources.files(__package__) / "bundled"))


@cache
def manifest() -> dict:
    """The manifest of the bundled clips: statement, engines, recogniser, clips. Raises DataError where it is missing or no JSON."""
    path = bundled_folder() / "manifest.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"bundled clips: '{path.name}' of the installation cannot be read ({type(error).__name__}); install speechadv again") from error


def bundled_labels() -> tuple[str, ...]:
    """The labels of the bundled clips, in the order of task v2-12."""
    return tuple(dict.fromkeys(entry["label"] for entry in manifest()["clips"]))


def bundled_clips(labels: Sequence[str] | None = None) -> list[BundledClip]:
    """The bundled clips, all or those of some labels, in the manifest's order (label by label).

    Args:
        labels: words of `bundled_labels()`; None for all.

    Raises:
        ConfigError: a label that no bundled clip has.
    """
    known = bundled_labels()
    for label in labels or ():
        if label not in known:
            raise ConfigError(f"no bundled clip of {label!r}{closest(label, known)} (bundled: {', '.join(known)})")
    entries = [entry for entry in manifest()["clips"] if labels is None or entry["label"] in labels]
    fields = ("name", "label", "text", "voice", "engine", "heard", "sha256")
    return [BundledClip(bundled_folder() / entry["file"], *(entry[field] for field in fields)) for entry in entries]


def load_bundled(labels: Sequence[str] | None = None) -> tuple[np.ndarray, list[str], list[str]]:
    """The bundled clips in memory.

    Args:
        labels: words of `bundled_labels()`; None for all.

    Returns:
        float32 (n, 16000), values k/32768 in [-1, 1 - 2**-15] at 16 kHz; n label words; n names "WORD/VOICE_nohash_N.wav".

    Raises:
        ConfigError: a label that no bundled clip has. DataError: a file that is missing or is not the one that the manifest names.

    Example:
        >>> waveforms, labels, names = load_bundled(["yes", "no"])
        >>> waveforms.shape[1], sorted(set(labels))
        (16000, ['no', 'yes'])
    """
    clips = bundled_clips(labels)
    waveforms = np.empty((len(clips), LENGTH), np.float32)
    for row, clip in enumerate(clips):
        waveforms[row] = _read(clip)
    return waveforms, [clip.label for clip in clips], [clip.name for clip in clips]


def _read(clip: BundledClip) -> np.ndarray:
    try:
        content = clip.path.read_bytes()
    except OSError as error:
        raise DataError(f"bundled clip '{clip.name}' is missing from the installation; install speechadv again") from error
    if hashlib.sha256(content).hexdigest() != clip.sha256:
        raise DataError(f"bundled clip '{clip.name}' is not the file that its manifest names (SHA-256 differs); install speechadv again")
    return audio.fitted(audio.read(clip.path, SAMPLE_RATE), LENGTH)
