"""The work of `speechadv attack` in blocks, for any engine."""
import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, ClassVar, Iterator, Sequence

import numpy as np
import torch

from ..evaluation.blocks import Block, Done
from ..evaluation.certification import note_failures
from ..evaluation.engine import Engine, Local
from ..evaluation.folder import FAILED
from ..evaluation.run import check_alone, first_failure
from ..evaluation.work import picklable
from ..errors import SpeechAdvError
from ..memory import Parts
from .attack import prepared
from .attacking import BATCH, Clip, Job, attack_batch


@dataclass(frozen=True)
class Files(Block):
    """A block of files: their stems, paths, what is heard in them now, and their sound, float32 on the 16-bit grid."""

    names: Sequence[str]
    files: Sequence[Path]
    heard: Sequence[str]
    sound: np.ndarray
    places: Sequence[int]
    a_clip: ClassVar[tuple[str, ...]] = ("names", "places", "files", "heard")

    @property
    def kind(self) -> str:
        """One attack on one network."""
        return "files"


def blocks(clips: Sequence[Clip]) -> Iterator[Files]:
    """Clips in blocks that share their sound."""
    sound = np.stack([clip.waveform.numpy() for clip in clips])
    for start in range(0, len(clips), BATCH):
        part = clips[start : start + BATCH]
        yield Files([clip.stem for clip in part], [clip.file for clip in part], [clip.heard for clip in part], sound, range(start, start + len(part)))


class Crafter:
    """The attack and its networks, once a process.

    Args:
        job: what the command's options name.
        run: the folder that sound goes to.
        progress: told how many clips an attack has finished; of this process alone.
    """

    def __init__(self, job: Job, run: Path, progress: Callable[[int], None] | None = None):
        self.job, self.run, self.progress, self._parts = job, run, progress, Parts(BATCH)

    def sendable(self) -> "Crafter":
        """A copy for other processes; networks that cannot be sent are loaded there by their words."""
        return Crafter(self.job if picklable(self.job) else replace(self.job, model=None, searched=None), self.run)

    def begin(self, threads: int, device: str | None = None) -> None:
        """In a process that has just got it."""
        torch.set_num_threads(threads)
        job = replace(self.job, device=device or self.job.device)
        if job.model is None:
            network = {"labels": None, "sample_rate": None, "trust": False} | dict(job.details) | {"device": job.device}
            made = prepared(job.name, job.options, [job.budget.name], job.defense, job.word, network, job.target, job.seed, job.sources)
            job = replace(job, model=made.model, searched=made.searched)
        self.job = replace(job, model=job.model.to(job.device), searched=job.searched.to(job.device))

    def do(self, item: Files) -> Done:
        """The rows of a block. Where memory does not suffice, with half as many clips at a time from then on. Raises SpeechAdvError."""
        done = Done(item)
        clips = [Clip(file, stem, torch.from_numpy(samples), heard) for file, stem, samples, heard in zip(item.files, item.names, item.pcm, item.heard)]
        for rows in self._parts.each(clips, lambda batch: attack_batch(self.job, batch, self.run, self.progress), done.notices.append,
                                     f"attacking {self.job.word} behind {self.job.defense}"):
            done.rows += rows
        return done


def craft(job: Job, clips: Sequence[Clip], out: Path, engine: Engine | None, advance: Callable,
          notice: Callable[[str], None]) -> tuple[list[dict[str, Any]], int]:
    """The rows of all clips of which one could be made, in their order, and the number of the others; failed.jsonl says why.

    Raises SpeechAdvError: not one could be made.
    """
    (out / FAILED).unlink(missing_ok=True)
    found, failed = {}, 0
    with contextlib.closing((engine or Local()).run(blocks(clips), Crafter(job, out, None if engine else advance))) as outcomes:
        for done in outcomes:
            for line in done.notices:
                notice(line)
            found |= {row["clip"]: row for row in done.rows}
            failed += note_failures(out, done)
            if engine:
                advance(len(done.rows), engine.status())
    if not found:
        raise SpeechAdvError(f"not one clip could be attacked ({first_failure(out)})")
    return [found[f"{clip.stem}.wav"] for clip in clips if f"{clip.stem}.wav" in found], failed


def check_engine(job: Job, engine: Engine | None) -> None:
    """Before anything is written. Raises SpeechAdvError."""
    if engine:
        check_alone({job.word: job.model}, "--engine ray")
        engine.ready()
