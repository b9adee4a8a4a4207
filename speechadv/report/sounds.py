"""The sound of a run as its page gets it: for each adversarial clip all versions, 16-bit samples in base64, and the clean clip's masking threshold.

Pages that are opened from disk may not fetch anything; a classic script they may load. So each clip is one script, loaded when it is asked for.
"""
import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Iterator, Sequence
from urllib.parse import quote

import numpy as np

from .. import audio
from ..errors import shown
from .saved import SAMPLE_RATE, Saved, has_sound

THRESHOLD_STEP_DB, THRESHOLD_FLOOR_DB = 0.5, -20.0  # a byte a bin: -20 to 107.5 dB SPL
NOT_KEPT, MISSING, LEFT_OUT = "not kept", "file missing", "not in this file"  # why a row has nothing to play


@dataclass
class Sounds:
    """Which row plays what.

    Attributes:
        groups: the rows of each adversarial clip, by its ID, in their order.
        ids: a row's ID, or None.
        silent: why a row has none, or None.
    """

    groups: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    ids: list[str | None] = field(default_factory=list)
    silent: list[str | None] = field(default_factory=list)

    def thinned(self, number: int) -> "Sounds":
        """The same with `number` adversarial clips at most, spread evenly over the run; the others are left out and say so."""
        names = list(self.groups)
        keep = {names[i * len(names) // number] for i in range(number)} if number < len(names) else set(names)
        dropped = [name is not None and name not in keep for name in self.ids]
        return Sounds({name: rows for name, rows in self.groups.items() if name in keep}, [None if gone else name for name, gone in zip(self.ids, dropped)],
                      [LEFT_OUT if gone else why for why, gone in zip(self.silent, dropped)])


def sounds_of(saved: Saved) -> Sounds:
    """The sound that the rows name and the disk has. Raises InputError where a row names a file outside the run."""
    found = Sounds()
    there: dict[str, bool] = {}
    for row in saved.rows:
        names = [row[key] for key in ("clean_audio", "adversarial_audio", "perturbation_audio", "defended_audio") if row.get(key)]
        for name in names:
            if name not in there:
                there[name] = saved.path(name).is_file()
        why = NOT_KEPT if not has_sound(row) else None if all(there[name] for name in names) else MISSING
        name = sound_id(row["adversarial_audio"]) if why is None else None
        found.ids.append(name)
        found.silent.append(why)
        if name:
            found.groups.setdefault(name, []).append(row)
    return found


def sound_id(path: str) -> str:
    """The ID of an adversarial clip, from its path: letters and digits alone."""
    return hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def versions(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The versions of one adversarial clip that its rows name: clean, adversarial, perturbation, and after each defense once."""
    first = rows[0]
    found: list[dict[str, Any]] = [{"kind": "clean", "name": "clean", "path": first["clean_audio"]}]
    if first["adversarial_audio"] != first.get("defended_audio"):  # of `speechadv defend` there is none in between
        found.append({"kind": "adversarial", "name": "adversarial", "path": first["adversarial_audio"]})
    if first.get("perturbation_audio"):
        found.append({"kind": "perturbation", "name": "perturbation", "path": first["perturbation_audio"], "gain": first["perturbation_gain_db"]})
    behind: dict[str, str] = {}
    for row in rows:
        if row.get("defended_audio"):
            behind.setdefault(row["defense"], row["defended_audio"])
    found += [{"kind": "defended", "name": f"after {shown(defense)}", "path": path, "defense": defense} for defense, path in behind.items()]
    return [{"gain": None, "defense": None} | version for version in found]


def told(version: dict[str, Any]) -> dict[str, Any]:
    """A version as the page gets it: the path as it may be shown, and its address, whatever bytes it is made of."""
    return version | {"path": shown(version["path"]), "href": quote(os.fsencode(version["path"]))}


def contents(saved: Saved, sounds: Sounds) -> Iterator[tuple[str, str]]:
    """(ID, JSON) of each clip: its versions with their samples, and the masking threshold of the clean one. Raises InputError: a broken file."""
    read = lru_cache(256)(lambda path: _Clean(saved.sound(path)))  # the cells of a run share their clean files; some 70 KB a second of sound
    for name, rows in sounds.groups.items():
        found = versions(rows)
        clean = read(found[0]["path"])
        content = {"versions": [told(version) for version in found], "samples": [clean.samples, *(samples(saved.sound(version["path"])) for version in found[1:])],
                   "threshold": clean.threshold if len(found) > 1 and found[1]["kind"] == "adversarial" else None}
        yield name, json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


class _Clean:
    """A clean clip, its samples and threshold each in base64."""

    def __init__(self, wave: np.ndarray):
        self.samples, self.threshold = samples(wave), threshold(wave)


def samples(wave: np.ndarray) -> str:
    """float32 (time,) on the 16-bit grid -> the 16-bit samples, little-endian, in base64."""
    return base64.b64encode(audio.to_pcm16(wave).astype("<i2").tobytes()).decode("ascii")


def threshold(wave: np.ndarray) -> str:
    """The masking threshold of a clip (time,): a byte a frame and bin, half decibels above -20 dB SPL, in base64."""
    import torch

    from ..masking import MaskingModel

    found = MaskingModel(SAMPLE_RATE).threshold_db(torch.from_numpy(wave)[None])[0].numpy().astype(np.float64)
    return base64.b64encode(((found - THRESHOLD_FLOOR_DB) / THRESHOLD_STEP_DB).round().clip(0, 255).astype(np.uint8).tobytes()).decode("ascii")


def size(saved: Saved, rows: Sequence[dict[str, Any]]) -> int:
    """About how many bytes the content of one adversarial clip takes, from the sizes of its files."""
    files = [saved.path(version["path"]).stat().st_size for version in versions(rows)]
    return (sum(files) + files[0]) * 4 // 3 + 1000  # the threshold takes what a version takes
