"""A detection run: thresholds from clean validation clips, then test clips, clean and from attackers who do not and who do know the detector."""
import json
import re
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import torch
from torch import Tensor

from .. import audio
from ..attacks.offered import check_offered
from ..budgets import parse_budget
from ..config import require
from ..data.speech_commands import speaker_of
from ..detectors import Watched, parse_detector
from ..errors import ConfigError, DataError, InputError, shown
from ..randomness import clip_generators, derived_seed
from ..registry import closest
from . import detection_rows as row_files
from .clips import ClipSet, load_clips
from .detection_rows import ADAPTIVE, ATTACKERS, CLEAN, EARLY, OBLIVIOUS, ROWS, VALIDATION, Row
from .detection_settings import DetectionConfig
from .environment import environment
from .evasion import evade, judged
from .fitting import bundled_halves, goal_for
from .folder import TIMING, claimed
from .rows import append_lines
from .run import Bar, mend_times, no_bar
from .separation import threshold_for
from .settings import BUNDLED
from .sounds import AUDIO, saved, there, waveforms
from .work import Worker, fingerprint

BLOCK = 32  # clips at a time


@dataclass
class Wanted:
    """What `load_clips` asks of a config."""

    task: str | list[str]
    split: str
    clips: int | None
    data: list[str]
    clip_list: str | None = None


def detect(config: DetectionConfig, out: str | Path, *, device: str = "cpu", trust: bool = False, bar: Bar = no_bar,
           notice: Callable[[str], None] = audio.silent) -> dict[str, Any]:
    """Measure detectors, or what is left of that, and make table, figure and page.

    Args:
        config: what to measure.
        out: the run's folder: new, empty, or with this very run.
        device: torch device.
        trust: load models that are programs.
        bar: makes a progress bar from (total, label).
        notice: is told one line about what the user should know.

    Returns:
        The content of result.json.

    Raises:
        SpeechAdvError: config, data, models or folder cannot be used. KeyboardInterrupt passes; what is done is kept.
    """
    from ..report.detection import write_tables

    run = Detecting(config, Path(out), device, trust, notice)
    with claimed(run.out, config, run.environment):
        run.begin(notice)
        for model in dict.fromkeys(model for model, _ in config.cells):
            run.store(run.clean(model, VALIDATION), bar, f"{shown(model)}: clean validation clips")
            run.store(run.clean(model, CLEAN), bar, f"{shown(model)}: clean test clips")
        for model, budget in config.cells:
            for kind in (EARLY, OBLIVIOUS):
                run.store(run.oblivious(model, budget, kind), bar, f"{shown(model)}, {budget}: {kind}")
            for detector in config.detectors_of(model, budget):
                run.store(run.adaptive(model, budget, detector), bar, f"{shown(model)}, {budget}: against {shown(detector)}")
        run.finish()
        return write_tables(run.out, config.false_alarms)


class Detecting:
    """One run: its models, detectors and clips, checked before anything is written, and the rows that there are."""

    def __init__(self, config: DetectionConfig, out: Path, device: str, trust: bool, notice: Callable[[str], None]):
        self.config, self.out, self.device = config, out, device
        self.worker = Worker(out, device, trust)
        models = {word: self.worker.model(word) for word in config.models}
        rates = {model.sample_rate for model in models.values()}
        require(len(rates) == 1, "models", "one sample rate", ", ".join(f"{rate} Hz" for rate in sorted(rates)))
        self.sample_rate = rates.pop()
        self.budgets = {spec: parse_budget(spec, self.sample_rate) for spec in config.budgets}
        self.watched = {(word, spec): Watched(model, parse_detector(spec, self.sample_rate).to(device), config.draws).eval()
                        for word, model in models.items() for spec in config.detectors}
        self.validation, self.test = self._clips(notice)
        self.attacked = self.test.stratified(config.clips)
        for word, model in models.items():
            for label in self.test.labels_of_task:
                if label not in model.labels:
                    raise ConfigError(f"model '{shown(word)}' does not know the word '{shown(label)}' of the task{closest(label, model.labels)}")
            check_offered(config.attacker(), model)
        self.rows: dict[tuple, Row] = {}

    def _clips(self, notice: Callable[[str], None]) -> tuple[ClipSet, ClipSet]:
        """Validation and test clips. The bundled clips are one set: the speakers of one half stand for validation, those of the other for test."""
        config, numbers = self.config, (self.config.validation_clips, self.config.clean_clips)
        sets = [load_clips(Wanted(config.task, split, None, config.data), self.sample_rate, notice) for split in ("validation", "test")]
        if sets[0].source == BUNDLED:
            sets = [clips.part([row for row, name in enumerate(clips.names) if speaker_of(name) in half]) for clips, half in zip(sets, bundled_halves())]
        for clips, name in zip(sets, ("validation", "test")):
            if not len(clips):
                raise DataError(f"data: expected {name} clips, found none")
        validation, test = (clips if number is None else clips.stratified(number) for clips, number in zip(sets, numbers))
        return validation, test

    @cached_property
    def environment(self) -> dict[str, Any]:
        """The content of environment.json."""
        clips = {"source": self.test.source, "number": len(self.validation) + len(self.test), "sha256": f"{self.validation.fingerprint()} {self.test.fingerprint()}"}
        return environment(self.device, [self.config.seed]) | {"clips": clips, "models": {word: fingerprint(model) for word, model in sorted(self.worker.loaded.items())}}

    def begin(self, notice: Callable[[str], None]) -> None:
        """Take the rows that are there and whole, and whose sound is there; the others are made again."""
        mend_times(self.out / TIMING)
        path = self.out / ROWS
        kept = [row for row in row_files.read(path) if row["audio"] is None or there(self.out / row["audio"])]
        self.rows = {row_files.key(row): row for row in kept}
        whole = "".join(map(row_files.encode, kept)).encode("ascii")
        if path.exists() and path.read_bytes() != whole:
            notice("broken rows are made again")
            audio.write_bytes(path, whole)

    def store(self, found: "Work", bar: Bar, label: str) -> None:
        """Keep the rows of a part of the run as they come."""
        if not found.clips:
            return
        with bar(found.clips, label) as advance:
            started = time.perf_counter()
            for rows in found.rows:
                append_lines(self.out / ROWS, "".join(map(row_files.encode, rows)))
                self.rows |= {row_files.key(row): row for row in rows}
                advance(len({row["clip"] for row in rows}))
            line = {"part": label, "clips": found.clips, "seconds": round(time.perf_counter() - started, 3)}
            append_lines(self.out / TIMING, json.dumps(line) + "\n")

    def finish(self) -> None:
        """Bring the rows into one order, whatever they were made in."""
        places = [{name: place for place, name in enumerate(names)} for names in (self.config.models, self.config.detectors, [None, *self.config.budgets], row_files.KINDS)]
        order = lambda row: (*(place[row[name]] for place, name in zip(places, row_files.KEY)), row["clip"])
        audio.write_bytes(self.out / ROWS, "".join(map(row_files.encode, sorted(self.rows.values(), key=order))).encode("ascii"))

    def clean(self, model: str, kind: str) -> "Work":
        """Scores of clean clips, by each detector."""
        clips, jobs = self.validation if kind == VALIDATION else self.test, []
        for detector in self.config.detectors_of(model):
            jobs += [(detector, block) for block in self._blocks(clips, [name for name in clips.names if (model, detector, None, kind, name) not in self.rows])]

        def rows() -> Iterator[list[Row]]:
            for detector, block in jobs:
                heard = self._heard(model, detector, waveforms(block.pcm), block.names, kind)
                yield [self._row(model, detector, None, kind, block, i) | {"clean_prediction": heard[i][0], "prediction": heard[i][0], "score": heard[i][1]}
                       for i in range(len(block))]

        return Work(sum(len(block) for _, block in jobs), rows())

    def oblivious(self, model: str, budget: str, kind: str) -> "Work":
        """Clips made to fool the model alone, as each detector scores them. "early" stops as soon as another word is heard, else the whole budget is spent."""
        detectors, right = self.config.detectors_of(model, budget), self._right(model)
        lacking = [name for name in right if any((model, detector, budget, kind, name) not in self.rows for detector in detectors)]
        blocks = self._blocks(self.attacked, lacking)

        def rows() -> Iterator[list[Row]]:
            for block in blocks:
                clean, goal = waveforms(block.pcm).to(self.device), self._goal(model, block)
                drawn = clip_generators(self.config.seed, f"{model}|{budget}|{kind}", block.names)
                result = self.config.attacker(full=kind == OBLIVIOUS)(self.worker.model(model), clean, goal, self.budgets[budget], generators=drawn)
                paths = self._save(folder_of(model, budget, kind, self.config.seed), block, result.adversarial)
                yield [row for detector in detectors for row in self._attacked(model, detector, budget, kind, block, paths, result.passes, result.queries)]

        return Work(len(lacking), rows())

    def adaptive(self, model: str, budget: str, detector: str) -> "Work":
        """Clips made to fool the model and the detector, from those of the oblivious attacker on."""
        lacking = [name for name in self._right(model) if (model, detector, budget, ADAPTIVE, name) not in self.rows]
        blocks = self._blocks(self.attacked, lacking)
        threshold, scale = self._threshold(model, detector)

        def rows() -> Iterator[list[Row]]:
            for block in blocks:
                start = self._read([self.rows[model, detector, budget, OBLIVIOUS, name]["audio"] for name in block.names]).to(self.device)
                cell = f"{model}|{detector}|{budget}|{ADAPTIVE}|{threshold!r}"
                found = evade(self.watched[model, detector], self.config.attacker(), waveforms(block.pcm).to(self.device), self._goal(model, block),
                              self.budgets[budget], threshold=threshold, scale=scale, searches=self.config.searches, start=start,
                              generators=lambda number: clip_generators(self.config.seed, f"{cell}|{number}", block.names))
                paths = self._save(folder_of(model, detector, budget, ADAPTIVE, self.config.seed), block, found.adversarial)
                made = self._attacked(model, detector, budget, ADAPTIVE, block, paths, found.passes, found.queries)
                yield [row | {"threshold": threshold, "weight": weight if weight == weight else None} for row, weight in zip(made, found.weight.tolist())]

        return Work(len(lacking), rows())

    def _threshold(self, model: str, detector: str) -> tuple[float, float]:
        """The threshold that clean validation clips give, and what counts as a large difference between scores."""
        scores = [self.rows[model, detector, None, VALIDATION, name]["score"] for name in self.validation.names]
        threshold = threshold_for(scores, self.config.false_alarms)
        return threshold, row_files.scale_of(scores, threshold)

    def _right(self, model: str) -> list[str]:
        """The attacked clips that the model hears right: it hears the same whatever the detector."""
        detector = self.config.detectors_of(model)[0]
        return [name for name, label in zip(self.attacked.names, self.attacked.labels) if self.rows[model, detector, None, CLEAN, name]["clean_prediction"] == label]

    def _goal(self, model: str, block: ClipSet):
        """Another word than each clip's own, or the word drawn for it."""
        labels, targeted = self.worker.model(model).labels, self.config.goal == "targeted"
        words = [block.target(i, self.config.seed) for i in range(len(block))] if targeted else block.labels
        return goal_for([list(labels).index(word) for word in words], targeted, self.device)

    def _attacked(self, model: str, detector: str, budget: str, kind: str, block: ClipSet, paths: Sequence[str], passes: Tensor, queries: Tensor) -> list[Row]:
        """The rows of attacked clips, scored from their files."""
        clean, sent = waveforms(block.pcm), self._read(paths)
        heard = self._heard(model, detector, sent, block.names, f"{kind}|{budget}")
        peaks, snrs = (sent - clean).abs().amax(1).tolist(), audio.snr_db(clean, sent - clean).tolist()
        rows = []
        for i, name in enumerate(block.names):
            values = {"prediction": heard[i][0], "score": heard[i][1], "linf": peaks[i], "snr_db": snrs[i] if abs(snrs[i]) < float("inf") else None,
                      "passes": int(passes[i]), "queries": int(queries[i]), "audio": paths[i]}
            rows.append(self._row(model, detector, budget, kind, block, i) | values)
        return rows

    def _row(self, model: str, detector: str, budget: str | None, kind: str, block: ClipSet, i: int) -> Row:
        """A row with what does not depend on sound; of attacked clips the model hears the clean one as its label."""
        targeted = self.config.goal == "targeted" and kind in ATTACKERS
        values = (model, detector, budget, kind, self.config.seed, block.names[i], block.labels[i], block.target(i, self.config.seed) if targeted else None,
                  block.labels[i], block.labels[i], 0.0, None, None, 0.0, None, 0, 0, None)
        return dict(zip(row_files.SHAPE, values))

    def _heard(self, model: str, detector: str, heard: Tensor, names: Sequence[str], cell: str) -> list[tuple[str, float]]:
        """What the model hears in each clip, and the detector's score: one pass, as they are deployed. Raises InputError: a score is no number."""
        watched = self.watched[model, detector]
        drawn = clip_generators(self.config.seed, f"{model}|{detector}|{cell}|verdict", names)
        logits, scores = judged(watched, heard.to(self.device), drawn)
        if not scores.isfinite().all():
            raise InputError(f"detector '{shown(detector)}': its scores beside model '{shown(model)}' are not finite")
        return [(watched.labels[place], score) for place, score in zip(logits.argmax(1).tolist(), scores.tolist())]

    def _blocks(self, clips: ClipSet, names: Sequence[str]) -> list[ClipSet]:
        """These clips in blocks."""
        place = {name: row for row, name in enumerate(clips.names)}
        rows = [place[name] for name in names]
        return [clips.part(rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK)]

    def _save(self, folder: str, block: ClipSet, adversarial: Tensor) -> list[str]:
        """Write clips; their paths relative to the run."""
        paths = [f"{folder}/{name}" for name in block.names]
        for path, waveform in zip(paths, adversarial.cpu()):
            saved(self.out, path, waveform, self.sample_rate)
        return paths

    def _read(self, paths: Sequence[str]) -> Tensor:
        """Clips as their files hold them."""
        return torch.stack([torch.from_numpy(audio.read(self.out / path, self.sample_rate)) for path in paths])


@dataclass
class Work:
    """A part of a run: the number of clips that it still lacks, and their rows as they are made."""

    clips: int
    rows: Iterator[list[Row]]


def folder_of(*parts: object) -> str:
    """Where the clips of an attacker lie, relative to the run: readable, and a hash keeps names apart that read alike."""
    words = "_".join(re.sub(r"[^A-Za-z0-9.]+", "-", str(part)).strip("-.")[:32] for part in parts)
    return f"{AUDIO}/{words}_{derived_seed(0, *parts):016x}"
