"""Attacks that learn from other clips first: fitted once a craft, on speakers that are never scored with the result, and kept as WAV in the run."""
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Sequence

import torch

from .. import audio
from ..attacks.base import Attack
from ..budgets import parse_budget
from ..data import data_roots
from ..data.speech_commands import speaker_of
from ..errors import ConfigError
from ..goals import Goal, Misclassify, Target
from ..randomness import derived_seed
from .cells import Craft
from .clips import ClipSet, load_clips
from .folder import write_json
from .settings import BUNDLED, EvaluationConfig
from .sounds import craft_folder, waveforms

FITS = "fits"  # their folder in a run
ANY = "any"  # the name of an untargeted fit


@dataclass(frozen=True)
class Fold:
    """Clips that are attacked with one fit. `speakers` None: those of all; else the fit is made on the other speakers of the same set."""

    name: str
    speakers: frozenset[str] | None

    def holds(self, clip: str) -> bool:
        """Whether a clip is attacked in this fold."""
        return self.speakers is None or speaker_of(clip) in self.speakers


def folds(clips: ClipSet) -> list[Fold]:
    """One for data with splits. The bundled clips are one set: its speakers are cut in two, and each half is attacked with what the other one taught."""
    if clips.source != BUNDLED:
        return [Fold("", None)]
    return [Fold(f"-{number}", frozenset(half)) for number, half in enumerate(bundled_halves())]


def bundled_halves() -> list[list[str]]:
    """The speakers of all bundled clips, every second one."""
    from ..data.samples import bundled_clips

    speakers = sorted({speaker_of(clip.name) for clip in bundled_clips()})
    return [speakers[::2], speakers[1::2]]


def check(config: EvaluationConfig, attack: Attack, clips: ClipSet) -> None:
    """Raise ConfigError where an attack would learn from the clips that it is scored on."""
    if attack.learns and clips.source != BUNDLED and attack.split == config.split:
        raise ConfigError(f"attack that learns: split: expected another one than the run's '{config.split}', got '{attack.split}'")


def training_clips(config: EvaluationConfig, attack: Attack, sample_rate: int, without: frozenset[str]) -> ClipSet:
    """The clips that an attack learns from, of any speaker but those in `without`; at most `attack.clips`, in the labels' proportions.

    Raises SpeechAdvError: no data, or nothing left.
    """
    bundled = config.data == [BUNDLED] or not data_roots(config.data)  # one small set, read in full before speakers are taken out
    found = load_clips(dataclasses.replace(config, split=attack.split, clips=None if bundled else attack.clips, clip_list=None), sample_rate)
    chosen = found.part([row for row, name in enumerate(found.names) if speaker_of(name) not in without]).stratified(attack.clips)
    if not len(chosen):
        raise ConfigError("attack that learns: no clip of another speaker is left to learn from")
    return chosen


def fit(attack: Attack, model: Any, clips: ClipSet, target: str | None, budget: Any, generator: torch.Generator, device: str = "cpu") -> dict[str, Any]:
    """Fit an attack towards a word, or away from each clip's own; clips of the target word are left out. Returns what there is to say about it."""
    place = {label: index for index, label in enumerate(model.labels)}
    rows = [row for row, label in enumerate(clips.labels) if label != target and label in place]
    used = clips.part(rows)
    heard = waveforms(used.pcm).to(device)
    goal = goal_for([place[target] if target is not None else place[label] for label in used.labels], target is not None, device)
    found = attack.fit(model, heard, goal, budget, generator=generator)
    return {"clips": len(used), "speakers": len({speaker_of(name) for name in used.names}), "passes": found.passes, "sha256": used.fingerprint()}


def goal_for(indices: Sequence[int], targeted: bool, device: str) -> Goal:
    """Towards, or away from, these classes."""
    labels = torch.tensor(indices, dtype=torch.int64, device=device)
    return Target(labels) if targeted else Misclassify(labels)


def fit_path(craft: Craft, fold: Fold, target: str | None) -> str:
    """Where a fit's waveform lies, relative to the run."""
    return f"{FITS}/{Path(craft_folder(craft)).name}/{ANY if target is None else target}{fold.name}.wav"


def needed(craft: Craft, fold: Fold, targets: Iterable[str] | None) -> dict[str, str]:
    """The files that some clips of a fold need, by target word ("" for none)."""
    return {target or "": fit_path(craft, fold, target) for target in (sorted(set(targets)) if targets is not None else [None])}


def make(path: Path, config: EvaluationConfig, craft: Craft, fold: Fold, target: str | None, model: Any, device: str) -> None:
    """Fit the waveform of one fold and target and save it as `path`. Its bytes depend on craft, fold, target and clips alone."""
    attack = craft.attack.make()
    clips = training_clips(config, attack, model.sample_rate, fold.speakers or frozenset())
    generator = torch.Generator().manual_seed(derived_seed(craft.seed, str(craft), "fit", fold.name, target or ""))
    about = fit(attack, model, clips, target, parse_budget(craft.budget, model.sample_rate), generator, device)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path.with_suffix(".json"), about)
    audio.write_pcm16(path, fitted_waveform(attack), model.sample_rate)


def fitted_waveform(attack: Attack) -> torch.Tensor:
    """The one waveform that an attack was fitted for."""
    (waveform,) = attack.fits.values()
    return waveform.cpu()


def load(run: Path, paths: dict[str, str], attack: Attack, model: Any) -> None:
    """Give an attack its waveforms, by target word ("" for none), read back from their files."""
    place = {label: index for index, label in enumerate(model.labels)}
    attack.fits = {place[word] if word else None: torch.from_numpy(audio.read(run / path, model.sample_rate)) for word, path in paths.items()}
