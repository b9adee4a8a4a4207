"""Everyday damage beside the attacks: each model hears each clip damaged in each way and strength; one row each in corruptions.jsonl."""
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Collection, ContextManager, Iterator, Sequence

import numpy as np
import soundfile
import torch

from .. import audio
from ..attacks.base import frozen, padded_call
from ..data import background, data_roots
from ..defenses import NONE
from ..errors import ConfigError, SpeechAdvError, shown
from ..randomness import clip_generators, derived_seed
from ..registry import create, lookup, names
from . import shapes
from .batching import USUAL
from .clips import ClipSet
from .corruptions.base import STRENGTHS, Corruption, Surroundings
from .rows import Row, append_lines, sealed, unsealed
from .settings import BUNDLED, EvaluationConfig
from .work import Worker

ROWS, FOLDER = "corruptions.jsonl", "corrupted"
KEYS = ("model", "defense", "corruption", "strength", "clip")
KEPT = 3  # clips whose damaged sound stays, of each corruption and strength
ALL = "all"


def chosen(config: EvaluationConfig) -> list[str]:
    """The corruptions of a config; "all" stands for each one, `background` left out where the clips are the bundled ones. Raises ConfigError."""
    for name in config.corruptions:
        if name != ALL:
            lookup("corruption", name)
    if ALL not in config.corruptions:
        return list(config.corruptions)
    without_data = config.data == [BUNDLED] or not data_roots(config.data)
    return [name for name in names("corruption") if not (without_data and lookup("corruption", name).needs_noises)]


@dataclass
class Damage:
    """What is to be heard: corruptions by name, and the (model, defense) pairs that hear them; the reference undefended among them."""

    worker: Worker
    clips: ClipSet
    config: EvaluationConfig
    corruptions: dict[str, Corruption]
    around: Surroundings
    pairs: list[tuple[str, str]]

    @property
    def seed(self) -> int:
        """The first seed of the run; what is drawn depends on it and on the clip."""
        return self.config.seeds[0]

    def keys(self) -> Iterator[tuple]:
        """The keys of all rows, in their order."""
        for pair in self.pairs:
            for name in self.corruptions:
                for strength in range(1, STRENGTHS + 1):
                    for clip in self.clips.names:
                        yield (*pair, name, strength, clip)


def damage_of(config: EvaluationConfig, worker: Worker, clips: ClipSet, pairs: Sequence[tuple[str, str]]) -> Damage | None:
    """Check everything that corruptions need; None where the config has none.

    Raises:
        ConfigError: an unknown corruption, or the reference does not know the task's words or hears another rate.
        SpeechAdvError: background noise or a package is missing.
    """
    if not config.corruptions:
        return None
    corruptions = {name: create("corruption", name) for name in dict.fromkeys(chosen(config))}
    reference = worker.model(config.corruption_reference)
    missing = [label for label in clips.labels_of_task if label not in reference.labels]
    if missing or reference.sample_rate != clips.sample_rate:
        what = f"does not know the word '{shown(missing[0])}'" if missing else f"hears {reference.sample_rate} Hz, not {clips.sample_rate} Hz"
        raise ConfigError(f"config: corruption_reference: '{shown(config.corruption_reference)}' {what}: name another model")
    needs = any(corruption.needs_noises for corruption in corruptions.values())
    noises = background(data_roots(config.data), config.split, clips.sample_rate) if needs and clips.source != BUNDLED else []
    around = Surroundings(clips.sample_rate, [noise for noise in noises if noise.any()])
    for corruption in corruptions.values():
        corruption.prepare(around)
    return Damage(worker, clips, config, corruptions, around, list(dict.fromkeys([*pairs, (config.corruption_reference, NONE)])))


def hear_damaged(damage: Damage, out: Path, bar: Callable[[int, str], ContextManager], mine: Collection[str]) -> None:
    """Make the rows of these clips that are missing, and bring all into their order."""
    path, order = out / ROWS, {key: place for place, key in enumerate(damage.keys())}
    have = {key(row): row for row in read(path) if key(row) in order and (not row["audio"] or (out / row["audio"]).is_file())}
    rewrite(path, have.values())
    with bar(sum(key[-1] in mine for key in order), "damaging") as advance:
        advance(sum(key[-1] in mine for key in have))
        for rows in _blocks(damage, have, out, [i for i, name in enumerate(damage.clips.names) if name in mine]):
            append_lines(path, "".join(map(sealed, rows)))
            have |= {key(row): row for row in rows}
            advance(len(rows))
    rewrite(path, sorted(have.values(), key=lambda row: order[key(row)]))


def _blocks(damage: Damage, have: dict[tuple, Row], out: Path, mine: Sequence[int]) -> Iterator[list[Row]]:
    """The missing rows of these clips, a block of clips at a time; a clip is damaged once for all that hear it."""
    clips, size = damage.clips, damage.config.batch_size if damage.config.batch_size > 0 else USUAL
    kept = set(sorted(clips.names, key=lambda name: derived_seed(0, "kept", name))[:KEPT])
    for name, corruption in damage.corruptions.items():
        for strength in range(1, STRENGTHS + 1):
            for start in range(0, len(mine), size):
                block = mine[start : start + size]
                lacking = [pair for pair in damage.pairs if any((*pair, name, strength, clips.names[i]) not in have for i in block)]
                if lacking:
                    files = [f"{FOLDER}/{name}-{strength}/{clips.names[i]}" if clips.names[i] in kept else None for i in block]
                    sounds = [_damaged(damage, name, strength, i, out, file) for i, file in zip(block, files)]
                    rows = [row for pair in lacking for row in _rows(damage, pair, name, strength, block, sounds, files)]
                    yield [row for row in rows if key(row) not in have]


def _damaged(damage: Damage, name: str, strength: int, index: int, out: Path, file: str | None) -> np.ndarray:
    """A damaged clip as a 16-bit WAV file holds it, read back; the file stays where it has a name."""
    clips = damage.clips
    made = damage.corruptions[name](audio.from_pcm16(clips.pcm[index]), clips.names[index], strength, damage.seed, damage.around)
    content = audio.wav_bytes(audio.to_pcm16(made), clips.sample_rate)
    if file:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        audio.write_bytes(out / file, content)
    return soundfile.read(io.BytesIO(content), dtype="float32")[0]


def _rows(damage: Damage, pair: tuple[str, str], name: str, strength: int, block: Sequence[int], sounds: list[np.ndarray], files: list[str | None]) -> list[Row]:
    model, (clips, worker) = damage.worker.defended(*pair), (damage.clips, damage.worker)
    heard = torch.from_numpy(np.stack(sounds)).to(worker.device)
    generators = clip_generators(damage.seed, "|".join((*pair, name, str(strength))), [clips.names[i] for i in block])
    with frozen(model), torch.no_grad():
        words = [model.labels[i] for i in padded_call(model, heard, generators).argmax(1).tolist()]
    value = damage.corruptions[name].values[strength - 1]
    return [{"model": pair[0], "defense": pair[1], "corruption": name, "strength": strength, "value": value, "seed": damage.seed, "clip": clips.names[i],
             "label": clips.labels[i], "prediction": word, "audio": file} for i, word, file in zip(block, words, files)]


def key(row: Row) -> tuple:
    """What a row is found by."""
    return tuple(row[name] for name in KEYS)


def read(path: Path) -> list[Row]:
    """The whole rows of a file, each key once; torn lines are left out. A missing file has none."""
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    except OSError as problem:
        raise SpeechAdvError(f"'{shown(path)}': {problem.strerror}") from None
    rows = [row for line in lines if (row := unsealed(line.decode("ascii", "replace"))) is not None and shapes.fits(row, shapes.DAMAGED)]
    return list({key(row): row for row in reversed(rows)}.values())[::-1]


def rewrite(path: Path, rows: Any) -> None:
    """All rows of a file at once."""
    audio.write_bytes(path, "".join(map(sealed, rows)).encode("ascii"))
