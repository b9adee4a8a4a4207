"""A detection run judged anew: scores and verdicts from its sound, its clips and its config, thresholds and tables from its rows."""
from itertools import groupby
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import torch

from ...errors import InputError, shown
from ...randomness import clip_generators
from .. import detection_rows as row_files
from ..detection import Detecting
from ..detection_rows import ADAPTIVE, ATTACKERS, CLEAN, ROWS, VALIDATION, Row
from ..detection_settings import DetectionConfig
from ..evasion import judged
from ..folder import read_config
from ..run import Bar
from ..separation import threshold_for
from . import sounds
from .begun import check_begun
from .detection_tables import check_tables
from .verdict import Verdict, alike

CLOSE_SCORE = 1e-3  # of a score, or of 1 where it is smaller: the network's float32 and the size of a batch
Numbered = list[tuple[int, Row]]


def check_detection(run: Path, numbered: Numbered, verdict: Verdict, device: str, trust: bool, bar: Bar) -> None:
    """All of a run: its rows with their line numbers, its sound and its tables. Raises SpeechAdvError: config, clips or models cannot be loaded."""
    config = read_config(run, DetectionConfig)
    made = Detecting(config, run, device, trust, lambda line: None)
    check_begun(run, made.environment, verdict)
    again = Rejudged(run, made, verdict)
    again.check_sound(again.check_grid(numbered), bar)
    again.check_thresholds([row for _, row in numbered])
    check_tables(run, [row for _, row in numbered], config.false_alarms, verdict)


class Rejudged:
    """The rows of a run beside what its sound and its config say."""

    def __init__(self, run: Path, made: Detecting, verdict: Verdict):
        self.run, self.made, self.config, self.verdict = run, made, made.config, verdict
        self.sets = {VALIDATION: made.validation, CLEAN: made.test, **dict.fromkeys(ATTACKERS, made.attacked)}
        self.places = {kind: {name: place for place, name in enumerate(clips.names)} for kind, clips in self.sets.items()}

    def check_grid(self, numbered: Numbered) -> Numbered:
        """The rows are those that config and clips ask for, each with its own word. Returns those that are asked for."""
        found = {row_files.key(row): row for _, row in numbered}
        expected = set(self._keys(found))
        if missing := len(expected - {*found}):
            self.verdict.cannot_judge(f"the run is not finished: {len(expected) - missing} of {len(expected)} rows are there")
        for number, row in numbered:
            if row_files.key(row) not in expected:
                self._differs(number, "the config asks for no such row")
            else:
                for column, wanted in self._said(row).items():
                    if row[column] != wanted:
                        self._differs(number, f"{column}: the config says {shown(wanted)}, the row {shown(row[column])}")
        return [(number, row) for number, row in numbered if row_files.key(row) in expected]

    def _keys(self, found: dict[tuple, Row]) -> Iterator[tuple]:
        for model in self.config.models:
            for detector in self.config.detectors_of(model):
                yield from ((model, detector, None, kind, name) for kind in (VALIDATION, CLEAN) for name in self.sets[kind].names)
        for model, budget in self.config.cells:
            first = self.config.detectors_of(model)[0]
            clean = {name: found.get((model, first, None, CLEAN, name)) for name in self.made.attacked.names}
            right = [name for name, row in clean.items() if row and row["clean_prediction"] == row["label"]]
            yield from ((model, detector, budget, kind, name) for detector in self.config.detectors_of(model, budget) for kind in ATTACKERS for name in right)

    def _said(self, row: Row) -> dict[str, Any]:
        """What a row can only say."""
        clips, attacked = self.sets[row["kind"]], row["kind"] in ATTACKERS
        place = self.places[row["kind"]][row["clip"]]
        target = clips.target(place, self.config.seed) if attacked and self.config.goal == "targeted" else None
        return {"label": clips.labels[place], "target": target, "seed": self.config.seed} | ({"clean_prediction": clips.labels[place]} if attacked else {"audio": None})

    def check_sound(self, known: Numbered, bar: Bar) -> None:
        """What the model hears and the detector scores, and how far each clip was moved."""
        with bar(len(known), "judging") as advance:
            for (model, detector, budget, kind), those in groupby(known, lambda entry: row_files.key(entry[1])[:4]):
                rows = list(those)
                for start in range(0, len(rows), sounds.BATCH):
                    block = rows[start : start + sounds.BATCH]
                    read = [(number, row, samples) for number, row in block if (samples := self._samples(number, row)) is not None]
                    if read:
                        self._hear(model, detector, kind if budget is None else f"{kind}|{budget}", read)
                    self.verdict.scored += len(read)
                    advance(len(block))

    def _samples(self, number: int, row: Row) -> np.ndarray | None:
        """int64 (time,): a clean clip, or the file of an attacked one, measured; None where it cannot be read, which is noted."""
        clean = self.sets[row["kind"]].pcm[self.places[row["kind"]][row["clip"]]].astype(np.int64)
        if row["kind"] not in ATTACKERS:
            return clean
        try:
            path = self.run / (row["audio"] or "")
            if not path.resolve().is_relative_to(self.run.resolve()):
                raise InputError("lies outside of the run")
            sent, rate = sounds.read_wav(path)
            if (rate, len(sent)) != (self.made.sample_rate, len(clean)):
                raise InputError(f"expected {len(clean)} samples at {self.made.sample_rate} Hz, got {len(sent)} at {rate} Hz")
        except InputError as problem:
            self._differs(number, f"'{shown(row['audio'])}': {problem}")
            return None
        for name, value in (("linf", sounds.linf(clean, sent)), ("snr_db", sounds.snr_db(clean, sent))):
            if not alike(value, row[name], sounds.SNR_SLACK_DB if name == "snr_db" else 0):
                self._differs(number, f"{name}: the files say {value}, the row {row[name]}")
        if broken := sounds.breach(self.made.budgets[row["budget"]], clean, sent):
            self._differs(number, f"the change breaks its budget: {shown(broken)}")
        return sent

    def _hear(self, model: str, detector: str, cell: str, read: list[tuple[int, Row, np.ndarray]]) -> None:
        """Verdicts and scores; what is random draws again what it drew in the run."""
        watched = self.made.watched[model, detector]
        drawn = clip_generators(self.config.seed, f"{model}|{detector}|{cell}|verdict", [row["clip"] for _, row, _ in read])
        heard = torch.from_numpy((np.stack([samples for *_, samples in read]) / sounds.FULL_SCALE).astype(np.float32)).to(self.made.device)
        logits, scores = judged(watched, heard, drawn)
        for (number, row, _), answer, score in zip(read, logits.double().cpu().numpy(), scores.tolist()):
            words = sounds.heard(answer, list(watched.labels))
            for column in ("prediction",) if row["kind"] in ATTACKERS else ("prediction", "clean_prediction"):
                if row[column] not in words:
                    self._differs(number, f"{column}: the model hears '{shown(words[0])}', the row says '{shown(row[column])}'")
            if not alike(score, row["score"], CLOSE_SCORE * max(1.0, abs(score))):
                self._differs(number, f"score: the detector says {score}, the row {row['score']}")

    def check_thresholds(self, rows: list[Row]) -> None:
        """Adaptive attackers aimed below the threshold that validation clips give."""
        scores: dict[tuple, list[float]] = {}
        for row in rows:
            if row["kind"] == VALIDATION:
                scores.setdefault((row["model"], row["detector"]), []).append(row["score"])
        thresholds = {pair: threshold_for(those, self.config.false_alarms) for pair, those in scores.items() if len(those) == len(self.made.validation)}
        for row in rows:
            threshold = thresholds.get((row["model"], row["detector"]))
            wanted = threshold if row["kind"] == ADAPTIVE else None
            if threshold is not None and row["threshold"] != wanted:
                self.verdict.differs(ROWS, f"{shown(row['clip'])}, {shown(row['model'])}, {shown(row['detector'])}, {row['kind']}: threshold: the validation clips give {wanted}, "
                                           f"the row says {row['threshold']}")

    def _differs(self, number: int, what: str) -> None:
        self.verdict.differs(f"{ROWS}:{number}", what)
