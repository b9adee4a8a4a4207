"""The work of one process: a craft on a block of clips gives the rows of its cells."""
import contextlib
import copy
import hashlib
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Sequence, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..attacks.base import AttackResult, frozen, padded_call
from ..budgets import parse_budget
from ..defenses import Defended, parse_defense
from ..defenses.base import SURROGATE
from ..errors import InputError, shown
from ..goals import Goal, Misclassify, Target
from ..memory import Parts
from ..models.averaged import Averaged
from ..models.resolve import resolve_model
from ..randomness import clip_generators, drawing
from . import fitting
from .blocks import Block, Done
from .cells import TOGETHER, Cell, Craft
from .hearing import likeliest, words
from .quality import measure
from .rows import Row
from .sounds import amplified, cell_folder, clean_path, craft_folder, levels, saved, waveforms

SCORED = 256  # clips at a time


@dataclass(frozen=True)
class Item(Block):
    """A craft, the cells that score it, and a block of clips.

    Attributes:
        names, labels, targets: a word a clip; targets is None in an untargeted run.
        sound, places: int16.
        kept: which clips' sound stays: "all", "failures" or "listed" (those in `keep`).
        quality: measures of how it sounds.
        fits: files of what the attack has learned, by target word ("" for none).
    """

    craft: Craft
    cells: Sequence[Cell]
    names: Sequence[str]
    labels: Sequence[str]
    targets: Sequence[str] | None
    sound: np.ndarray
    places: Sequence[int]
    kept: str = "all"
    keep: frozenset[str] = frozenset()
    quality: Sequence[str] = ()
    fits: dict[str, str] = field(default_factory=dict)
    a_clip: ClassVar[tuple[str, ...]] = ("names", "places", "labels", "targets")

    @property
    def kind(self) -> Craft:
        """Its craft."""
        return self.craft

    @property
    def needs(self) -> Sequence[str]:
        """The waveforms that its attack has learned."""
        return list(self.fits.values())


W = TypeVar("W", bound="Worker")


class Worker:
    """Models and defenses, loaded once a process.

    Args:
        run: the run's folder.
        device: torch device.
        trust: load models that are programs.
        fingerprints: of the models' weights, as the first process saw them; a model that differs is refused.
    """

    def __init__(self, run: Path, device: str = "cpu", trust: bool = False, fingerprints: dict[str, str] | None = None):
        self.run, self.device, self.trust, self.fingerprints = Path(run), device, trust, fingerprints or {}
        self._parts = Parts(2**31)
        self._models: dict[str, nn.Module] = {}
        self._defended: dict[tuple, Defended] = {}

    @property
    def loaded(self) -> dict[str, nn.Module]:
        """The models that are there, by their words."""
        return self._models

    def sendable(self: W) -> W:
        """A copy for other processes, with the models that can be sent; the others are loaded there by their words, and must be the same."""
        other = copy.copy(self)
        other._parts, other._models, other._defended = Parts(2**31), {}, {}
        other._models = {word: model for word, model in self._models.items() if picklable(model)}
        return other

    def begin(self, threads: int, device: str | None = None) -> None:
        """In a process that has just got it: so many threads of torch, and this device."""
        torch.set_num_threads(threads)
        self.device = device or self.device
        for model in self._models.values():
            model.to(self.device)

    def model(self, word: str) -> nn.Module:
        """A model by its word, in evaluation mode. Raises InputError where its weights are others than before."""
        if word not in self._models:
            together = word.split(TOGETHER)
            model = Averaged([self.model(each) for each in together]) if len(together) > 1 else resolve_model(word, trust=self.trust, device=self.device)
            found = fingerprint(model)
            if self.fingerprints.setdefault(word, found) != found:
                raise InputError(f"model '{shown(word)}': its weights are others than when the run began; a factory must give the same ones each time")
            self._models[word] = model.eval()
        return self._models[word]

    def defended(self, word: str, defense: str, gradient: str = SURROGATE, draws: int = 1) -> Defended:
        """A model behind a defense ("none" for none), for an attack that follows this gradient and averages over so many draws."""
        key = word, defense, gradient, draws
        if key not in self._defended:
            model = self.model(word)
            self._defended[key] = Defended(model, *parse_defense(defense, model.sample_rate), gradient=gradient, draws=draws).to(self.device).eval()
        return self._defended[key]

    def attacked(self, craft: Craft) -> Defended:
        """The model that a craft attacks."""
        return self.defended(craft.model, craft.defense, craft.attack.gradient, craft.attack.draws)

    def do(self, item: Item) -> Done:
        """The rows of an item. Where memory does not suffice, with half as many clips at a time from then on. Raises SpeechAdvError."""
        done, craft = Done(item), item.craft
        for part in self._parts.each(range(len(item.names)), lambda rows: self._do(item.part(slice(rows.start, rows.stop))), done.notices.append,
                                     f"attacking {shown(craft.model)} behind {craft.defense}"):
            done.add(part)
        return done

    def _do(self, item: Item) -> Done:
        started, busy = time.perf_counter(), time.process_time()
        craft, clean = item.craft, waveforms(item.pcm)
        model, attack = self.attacked(craft), craft.attack.make()
        if item.fits:
            fitting.load(self.run, item.fits, attack, model)
        result = attack(model, clean.to(self.device), goal_of(item, model.labels, self.device), parse_budget(craft.budget, model.sample_rate),
                                     generators=clip_generators(craft.seed, str(craft), item.names))
        attacked, busy = time.perf_counter(), time.process_time() - busy
        parts = [slice(start, start + SCORED) for start in range(0, len(clean), SCORED)]
        rows = [row for part in parts for row in self._rows(item.part(part), clean[part], result, part)]
        return Done(item, rows, attacked - started, busy, time.perf_counter() - attacked)

    def _rows(self, item: Item, clean: Tensor, result: AttackResult, part: slice) -> list[Row]:
        """The rows of an item's clips, which are this part of the attacked ones."""
        found = {name: getattr(result, name)[part].tolist() for name in ("passes", "queries", "reached")}
        common = self._save(item, clean, result.adversarial[part].cpu()) | found
        return [row for cell in item.cells for row in self._score(item, cell, clean, common)]

    def _save(self, item: Item, clean: Tensor, adversarial: Tensor) -> dict[str, list]:
        """Columns of what a craft made: the adversarial clips as read back from their files, the files' names, levels."""
        folder, rate = craft_folder(item.craft), self.model(item.craft.model).sample_rate
        paths = [f"{folder}/adversarial/{name}" for name in item.names]
        heard = torch.stack([saved(self.run, path, waveform, rate) for path, waveform in zip(paths, adversarial)])
        louder = [amplified(change) for change in heard - clean]
        changes = [f"{folder}/perturbation/{name}" for name in item.names]
        for name, path, (change, _) in zip(item.names, changes, louder):
            if self._may_keep(item, name):
                saved(self.run, path, change, rate)
        gains = [gain for _, gain in louder]
        sound = {"heard": list(heard), "adversarial_audio": paths, "perturbation_audio": changes, "perturbation_gain_db": gains}
        return sound | levels(clean, heard, rate) | measure(item.quality, clean, heard, rate)

    def _score(self, item: Item, cell: Cell, clean: Tensor, common: dict[str, list]) -> list[Row]:
        """The rows of one cell: what the model hears behind the defense before and after, from the saved files."""
        defended = self.defended(cell.model, cell.defense)
        drawn = {word: clip_generators(cell.seed, f"{cell.key}|{word}", item.names) for word in ("before", "behind", "after")}  # of what is random
        before = self._logits(defended, clean, drawn["before"])
        heard, behind = torch.stack(common["heard"]), [None] * len(item.names)
        if cell.defense == "none":
            after = self._logits(defended, heard, drawn["after"])
        else:
            folder = cell_folder(cell)
            with torch.no_grad(), drawing(defended, drawn["behind"]):
                sent = defended.defend(heard.to(self.device)).cpu()
            behind = [f"{folder}/defended/{name}" for name in item.names]
            read_back = [saved(self.run, path, waveform, defended.sample_rate) for path, waveform in zip(behind, sent)]
            after = self._logits(defended.model, torch.stack(read_back), drawn["after"])
        labels = defended.model.labels
        columns = {key: value for key, value in common.items() if key != "heard"} | {
            "defended_audio": behind, "clean_prediction": words(before, labels), "adversarial_prediction": words(after, labels),
            "clean_probabilities": likeliest(before, labels), "adversarial_probabilities": likeliest(after, labels)}
        rows = []
        for i, name in enumerate(item.names):
            target = item.targets[i] if item.targets else None
            row = {"model": cell.model, "defense": cell.defense, "attack": cell.attack, "threat": cell.threat, "adaptive": cell.adaptive,
                   "budget": cell.budget, "seed": cell.seed, "clip": name, "label": item.labels[i], "target": target,
                   "clean_audio": clean_path(name), **{key: values[i] for key, values in columns.items()}}
            rows.append(row if self._keeps(item, row) else without_sound(row))
        return rows

    def _logits(self, model: nn.Module, heard: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """(batch, labels) of the model itself, not of a folded copy: one pass, as it is deployed."""
        with frozen(model), torch.no_grad():
            return padded_call(model, heard.to(self.device), generators).cpu()

    def _may_keep(self, item: Item, name: str) -> bool:
        return item.kept != "listed" or name in item.keep

    def _keeps(self, item: Item, row: Row) -> bool:
        fooled = row["clean_prediction"] == row["label"] != row["adversarial_prediction"]
        return fooled if item.kept == "failures" else self._may_keep(item, row["clip"])


def picklable(thing: Any) -> bool:
    """Whether another process can be given it; the runtime of a deployed file cannot."""
    with contextlib.suppress(TypeError, AttributeError, pickle.PicklingError, NotImplementedError, RuntimeError):
        pickle.dumps(thing)
        return True
    return False


def without_sound(row: Row) -> Row:
    """The row of a clip whose sound is not kept."""
    nothing = ("clean_audio", "adversarial_audio", "perturbation_audio", "defended_audio", "perturbation_gain_db")
    return row | dict.fromkeys(nothing)


def goal_of(item: Item, labels: Sequence[str], device: str) -> Goal:
    """The goal of an item's clips in a model's own order of labels."""
    place = {label: index for index, label in enumerate(labels)}
    words = item.targets or item.labels
    indices = torch.tensor([place[word] for word in words], dtype=torch.int64, device=device)
    return Target(indices) if item.targets else Misclassify(indices)


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over labels, sample rate and all weights."""
    digest = hashlib.sha256(repr((tuple(model.labels), model.sample_rate)).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if isinstance(tensor, Tensor):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
