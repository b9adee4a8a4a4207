"""The sound that rows name, heard and measured again."""
import hashlib
from collections import defaultdict
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch

from ...budgets import parse_budget
from ...defenses import NONE, Defended, parse_defense
from ...errors import InputError, SpeechAdvError, shown
from ...masking import MaskingModel
from ...models.averaged import Averaged
from ...models.resolve import resolve_model
from ...randomness import clip_generators, drawing
from ..cells import TOGETHER
from ..folder import ENVIRONMENT, ROWS
from ..quality import MEASURES, columns_of
from ..rows import Row
from ..run import Bar
from ..settings import EvaluationConfig
from ..work import fingerprint
from . import sounds
from .counts import KEYS
from .verdict import Verdict, alike

SOUNDS = ("clean_audio", "adversarial_audio", "perturbation_audio", "defended_audio")
PROBABILITIES = {"clean_prediction": "clean_probabilities", "adversarial_prediction": "adversarial_probabilities"}
DRAWN = ("before", "behind", "after")  # the run's three occasions to draw, see Worker._score
CLOSE_DB = 0.02  # of masking excess: the rows' spectra are float32
CLOSE_QUALITY = 1e-6  # in the measure's own unit
ROUNDING = 1.0  # steps of 16 bit that an amplified change may be off: its own rounding and the float's
Read = list[tuple[int, Row, dict[str, np.ndarray]]]


class Scorer:
    """The sound that rows name, heard and measured again."""

    def __init__(self, run: Path, config: EvaluationConfig, about: dict[str, Any], verdict: Verdict, device: str, trust: bool):
        self.run, self.config, self.about, self.verdict, self.device, self.trust = run, config, about, verdict, device, trust
        self.models: dict[str, Any] = {}
        self.chains: dict[tuple[str, str], Defended] = {}
        self.rates: set[int] = set()
        self.threshold = lru_cache(maxsize=64)(self._threshold)
        self.sound = lru_cache(maxsize=512)(self._sound)

    def check(self, numbered: list[tuple[int, Row]], bar: Bar) -> None:
        kept = [(number, row) for number, row in numbered if row["clean_audio"] and row["adversarial_audio"]]
        self.verdict.scored = len(kept)
        if len(kept) < len(numbered):
            self.verdict.cannot_judge(f"the sound of {len(numbered) - len(kept)} rows was not kept: their distances and verdicts stand unjudged")
        by_cell = defaultdict(list)
        for number, row in kept:
            by_cell[row["model"], row["defense"], row["threat"]].append((number, row))
        with bar(len(kept), "judging") as advance:
            for (model, defense, threat), those in by_cell.items():
                for start in range(0, len(those), sounds.BATCH):
                    block = those[start : start + sounds.BATCH]
                    self._block(model, defense, threat, block)
                    advance(len(block))
        self._weights()
        if len(kept) == len(numbered):
            self._clips([row for _, row in numbered])

    def _differs(self, number: int, what: str) -> None:
        self.verdict.differs(f"{ROWS}:{number}", what)

    def _sound(self, name: str) -> np.ndarray:
        path = self.run / name
        if not path.resolve().is_relative_to(self.run.resolve()):
            raise InputError("lies outside of the run")
        samples, rate = sounds.read_wav(path)
        self.rates.add(rate)
        return samples

    def _threshold(self, name: str) -> np.ndarray:
        return sounds.threshold_db(self.sound(name), self._masking)

    @cached_property
    def _masking(self) -> MaskingModel:
        return MaskingModel(min(self.rates))

    def _block(self, model: str, defense: str, threat: str, block: list[tuple[int, Row]]) -> None:
        """Rows of one model, defense and threat."""
        read = []
        for number, row in block:
            try:
                clips = {key: self.sound(row[key]) for key in SOUNDS if row[key]}
            except InputError:
                for key in SOUNDS:
                    self._complain(number, row[key])
                continue
            if len({len(samples) for samples in clips.values()}) > 1:
                self._differs(number, "its sound files differ in length")
                continue
            read.append((number, row, clips))
            self._measure(number, row, clips)
        if read:
            self._hear(self.defended(model, defense), threat, read)

    def _complain(self, number: int, name: str | None) -> None:
        try:
            self.sound(name) if name else None
        except InputError as problem:
            self._differs(number, f"'{shown(name)}': {problem}")

    def _measure(self, number: int, row: Row, clips: dict[str, np.ndarray]) -> None:
        """Distances, budget, and the file of the amplified change."""
        clean, adversarial = clips["clean_audio"], clips["adversarial_audio"]
        found = {"linf": sounds.linf(clean, adversarial), "snr_db": sounds.snr_db(clean, adversarial),
                 "masking_excess_db": sounds.excess_db(clean, adversarial, self.threshold(row["clean_audio"]))}
        for name, value in found.items():
            if not alike(value, row[name], CLOSE_DB if name == "masking_excess_db" else 0):
                self._differs(number, f"{name}: the files say {value}, the row {row[name]}")
        self._measure_quality(number, row, clean / sounds.FULL_SCALE, adversarial / sounds.FULL_SCALE)
        broken = sounds.breach(parse_budget(row["budget"], min(self.rates)), clean, adversarial)
        if broken:
            self._differs(number, f"the change breaks its budget: {shown(broken)}")
        if "perturbation_audio" in clips:
            louder = sounds.amplified(clean, adversarial, row["perturbation_gain_db"])
            if np.abs(clips["perturbation_audio"] - louder).max() > ROUNDING:
                self._differs(number, f"'{shown(row['perturbation_audio'])}' is not the change {row['perturbation_gain_db']} dB louder")

    def _measure_quality(self, number: int, row: Row, clean: np.ndarray, adversarial: np.ndarray) -> None:
        """How it sounds, by the measures that the row has."""
        for name in columns_of(row):
            try:
                value, _ = MEASURES[name].of(clean.astype(np.float32), adversarial.astype(np.float32), min(self.rates))
            except ImportError:
                self.verdict.cannot_judge(f"{name} needs a package that is not here: pip install 'speechadv[quality]'")
                continue
            if not alike(value, row[name], CLOSE_QUALITY):
                self._differs(number, f"{name}: the files say {value}, the row {row[name]}")

    def _hear(self, defended: Defended, threat: str, read: Read) -> None:
        """Verdicts: before and after, behind the defense. What is random draws again what it drew in the run."""
        clean, adversarial = ([clips[key] for _, _, clips in read] for key in SOUNDS[:2])
        drawn = {word: [g for _, row, _ in read for g in clip_generators(row["seed"], f"{_cell_key(row)}|{word}", [row["clip"]])] for word in DRAWN}
        if not _repeats(defended):
            self.verdict.cannot_judge(f"{shown(read[0][1]['defense'])} or the model behind it is random, and cannot be told what to draw: verdicts stand unjudged")
            return
        self._compare(read, "clean_prediction", defended, self._behind(defended, clean, drawn["before"]), drawn["before"])
        after = again = self._behind(defended, adversarial, drawn["behind"])
        if all("defended_audio" in clips for _, _, clips in read):
            after = [clips["defended_audio"] for _, _, clips in read]
            self._same_sound(read, after, again)
        self._compare(read, "adversarial_prediction", defended, after, drawn["after"])
        self._claims(defended, threat, read, adversarial)

    def _behind(self, defended: Defended, clips: list[np.ndarray], generators: Sequence[torch.Generator] = ()) -> list[np.ndarray]:
        """What the model behind the defense hears, as it would be saved."""
        if not len(defended.defenses):
            return clips
        with torch.no_grad(), drawing(defended, generators):
            batch = torch.from_numpy((np.stack(clips) / sounds.FULL_SCALE).astype(np.float32)).to(self.device)
            return list(np.rint(defended.defend(batch).cpu().numpy().astype(np.float64) * sounds.FULL_SCALE).astype(np.int64))

    def _same_sound(self, read: Read, after: list[np.ndarray], again: list[np.ndarray]) -> None:
        for (number, row, _), there, made in zip(read, after, again):
            if not np.array_equal(there, made):
                self._differs(number, f"'{shown(row['defended_audio'])}' is not what {shown(row['defense'])} makes of the adversarial clip")

    def _compare(self, read: Read, column: str, defended: Defended, clips: list[np.ndarray], generators: Sequence[torch.Generator]) -> None:
        labels, probabilities = list(defended.labels), PROBABILITIES[column]
        for (number, row, _), answer in zip(read, sounds.logits(defended.model, clips, self.device, generators)):
            words = sounds.heard(answer, labels)
            if row[column] not in words:
                self._differs(number, f"{column}: the model hears '{shown(words[0])}', the row says '{shown(row[column])}'")
            if row.get(probabilities) is not None and not sounds.likeliest(answer, labels, row[probabilities]):
                self._differs(number, f"{probabilities}: {shown(row[probabilities])} are not what the model answers")

    def _claims(self, defended: Defended, threat: str, read: Read, adversarial: list[np.ndarray]) -> None:
        """`reached`: what the attack saw on the network that it attacked, judged on the file."""
        word = {"transfer": TOGETHER.join(self.config.sources)}.get(threat, read[0][1]["model"])
        attacked = self.defended(word, NONE) if threat in ("oblivious", "transfer") else defended
        if attacked.stochastic:
            self.verdict.cannot_judge(f"{shown(read[0][1]['defense'] if attacked is defended else word)} is random: what attacks on it saw (reached) stands unjudged")
            return
        answers = sounds.logits(attacked.model, self._behind(attacked, adversarial), self.device)
        for (number, row, _), answer in zip(read, answers):
            wanted, words = row["target"], sounds.heard(answer, list(attacked.labels))
            possible = {said == wanted if wanted is not None else said != row["label"] for said in words}
            if row["reached"] not in possible:
                self._differs(number, f"reached: the file says {not row['reached']}, the row {row['reached']}")

    def defended(self, word: str, defense: str) -> Defended:
        """A model behind a defense, loaded once."""
        if (word, defense) not in self.chains:
            model = self._loaded(word)
            self.chains[word, defense] = Defended(model, *parse_defense(defense, model.sample_rate)).to(self.device).eval()
        return self.chains[word, defense]

    def _loaded(self, word: str) -> Any:
        """A model, or those of several words together, loaded once."""
        if word not in self.models:
            together = word.split(TOGETHER)
            self.models[word] = Averaged([self._loaded(each) for each in together]).eval() if len(together) > 1 else self._model(word)
        return self.models[word]

    def _model(self, word: str) -> Any:
        try:
            return resolve_model(word, trust=self.trust, device=self.device).eval()
        except SpeechAdvError as problem:
            if "command" not in self.about or "--labels" not in str(problem) and "--sample-rate" not in str(problem):
                raise
            # `attack` was told them by options and kept them: the labels as the task, the rate in its files.
            return resolve_model(word, labels=self.config.task, sample_rate=min(self.rates), trust=self.trust, device=self.device).eval()

    def _weights(self) -> None:
        """The weights that were judged with are those that the run was made with."""
        for word, model in self.models.items():
            said = self.about.get("models", {}).get(word)
            if said is not None and said != fingerprint(model):
                self.verdict.differs(ENVIRONMENT, f"model '{shown(word)}' has other weights now than when the run was made")

    def _clips(self, rows: list[Row]) -> None:
        """The clean clips and their labels are those that the run was begun with."""
        said = self.about.get("clips", {})
        known = {row["clip"]: row for row in rows}
        if "sha256" not in said or len(known) != said.get("number"):
            return
        digest = hashlib.sha256()
        try:
            for name, row in sorted(known.items()):
                digest.update(f"{name}\0{row['label']}\0".encode("utf-8", "surrogateescape") + self.sound(row["clean_audio"]).astype("<i2").tobytes())
        except InputError:
            return  # told before
        if digest.hexdigest() != said["sha256"]:
            self.verdict.differs(ENVIRONMENT, "the clean clips or their labels are others than those that the run was begun with")


def _cell_key(row: Row) -> tuple:
    """The cell of a row, as the run names it where it draws."""
    return tuple(row[key] for key in KEYS)


def _repeats(defended: Defended) -> bool:
    """Whether everything that is random in a defended model draws from generators that it is given."""
    return all(hasattr(part, "generators") for part in defended.modules() if part is not defended and getattr(part, "stochastic", False))
