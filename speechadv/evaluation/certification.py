"""A run of certificates: one line a clip in certificates.jsonl, going on where it stopped, and certified accuracy over the radius from these lines."""
import contextlib
import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, ClassVar, Iterator, Sequence

import numpy as np
import torch

from .. import audio
from ..attacks.base import fast_copy, frozen
from ..config import as_dict, require
from ..data.speech_commands import SPLITS
from ..errors import ConfigError, DataError, SpeechAdvError, shown
from ..registry import closest
from .blocks import Block, Done
from .certificates import KEYS, Line, certified_curve, encode, read, summary
from .clips import load_clips
from .environment import environment
from .engine import Engine, Local
from .folder import FAILED, claimed, write_json
from .rows import append_lines
from .run import Bar, check_alone, first_failure, no_bar
from .shards import WHOLE, Shard
from .smoothing import BLOCK, Certificate, Smoothed, ceiling, snr_of_radius
from .sounds import waveforms
from .work import Worker, fingerprint

CERTIFICATES, CURVE = "certificates.jsonl", "certified.csv"


@dataclass
class CertificationConfig:
    """What to certify. Raises ConfigError: a value out of range."""

    model: str = "resnet"
    sigma: float = 0.0025  # standard deviation of the noise, fraction of full scale
    n: int = 10_000  # draws that prove
    n0: int = 100  # draws that choose the label
    alpha: float = 0.001  # the chance that a certificate is wrong
    task: str | list[str] = "v2-12"
    split: str = "test"
    seed: int = 0
    clips: int | None = None
    clip_list: str | None = None
    data: list[str] = field(default_factory=list)

    def __post_init__(self):
        require(0 < self.sigma < 1, "sigma", "above 0 and below 1", self.sigma)
        require(0 < self.alpha < 0.5, "alpha", "above 0 and below 0.5", self.alpha)
        require(self.split in SPLITS, "split", f"one of {', '.join(SPLITS)}", self.split)
        for key in ("n", "n0"):
            require(getattr(self, key) >= 1, key, "1 or more", getattr(self, key))
        require(ceiling(self.n, self.alpha, self.sigma) > 0, "n", f"enough draws to prove anything at alpha {self.alpha:g}", self.n)
        require(self.clips is None or self.clips >= 1, "clips", "1 or more", self.clips)
        require(0 <= self.seed < 2**63, "seed", "a whole number from 0 on", self.seed)

    def identity(self) -> dict[str, Any]:
        """What makes this run the same as another one."""
        return as_dict(self)


def certify(config: CertificationConfig, out: str | Path, *, batch_size: int = 64, device: str = "cpu", trust: bool = False, bar: Bar = no_bar,
            notice: Callable[[str], None] = audio.silent, shard: Shard = WHOLE, engine: Engine | None = None) -> dict[str, Any]:
    """Certify each clip, or those that are left, and sum up.

    Args:
        config: what to certify.
        out: the run's folder: new, empty, or with this very run.
        batch_size: noisy clips that the network hears in one call; changes the speed alone.
        device: torch device.
        trust: load models that are programs.
        bar: makes a progress bar from (total, label).
        notice: is told one line about what the user should know.
        shard: the part of the clips that is certified, see `merge`.
        engine: where the certificates are made; default: this process.

    Returns:
        The content of result.json; with "failed", the number of clips of which none could be made (they stand in failed.jsonl), where there are some.

    Raises:
        SpeechAdvError: config, data, model or folder cannot be used. KeyboardInterrupt passes; what is done is kept.
    """
    out = Path(out)
    worker = Certifier(config, out, device, trust, batch_size)
    model = worker.model(config.model)
    clips = load_clips(config, model.sample_rate, notice)
    unknown = next((label for label in clips.labels_of_task if label not in model.labels), None)
    if unknown is not None:
        raise ConfigError(f"model '{shown(config.model)}' does not know the word '{shown(unknown)}' of the task{closest(unknown, model.labels)}")
    mine = shard.of(range(len(clips)))
    if not mine:
        raise ConfigError(f"--shard {shard.number}/{shard.count}: expected a part with a clip, there are {len(clips)} clips")
    about = environment(device, [config.seed]) | {
        "clips": {"source": clips.source, "number": len(clips), "sha256": clips.fingerprint()}, "models": {config.model: fingerprint(model)}}
    check_alone(worker.loaded, "--engine ray" if engine else None)
    engine = engine or Local()
    engine.ready()
    with claimed(out, config, about):
        path, failed = out / CERTIFICATES, 0
        (out / FAILED).unlink(missing_ok=True)
        have = {line["clip"] for line in _mended(path, notice)}
        missing = _blocks([row for row in mine if clips.names[row] not in have], clips, config.n)
        with bar(len(mine), f"certifying ({config.n0 + config.n:,} draws a clip)") as advance, contextlib.closing(engine.run(missing, worker)) as outcomes:
            advance(sum(clips.names[row] in have for row in mine))
            for done in outcomes:
                append_lines(path, "".join(map(encode, done.rows)))
                failed += note_failures(out, done)
                advance(len(done.rows), engine.status())
        if failed == len(mine):
            raise SpeechAdvError(f"not one certificate could be made ({first_failure(out)}); '{shown(out / FAILED)}' says more")
        return summarise(out, clips.names) | ({"failed": failed} if failed else {})


@dataclass(frozen=True)
class Certified(Block):
    """A block of clips to certify: names, labels, sound (int16), places."""

    names: Sequence[str]
    labels: Sequence[str]
    sound: np.ndarray
    places: Sequence[int]
    a_clip: ClassVar[tuple[str, ...]] = ("names", "places", "labels")

    @property
    def kind(self) -> str:
        """All clips take about the same time."""
        return "certificates"


class Certifier(Worker):
    """The smoothed network, made once a process.

    Args:
        config: what to certify.
        run, device, trust: as for a Worker.
        batch_size: noisy clips that the network hears in one call.
    """

    def __init__(self, config: CertificationConfig, run: Path, device: str, trust: bool, batch_size: int):
        super().__init__(run, device, trust)
        self.config, self.batch_size, self._smoothed = config, batch_size, None

    def sendable(self) -> "Certifier":
        """A copy for other processes; each smooths for itself."""
        other = super().sendable()
        other._smoothed = None
        return other

    def do(self, item: Certified) -> Done:
        """A line of certificates.jsonl for each clip."""
        model = self.model(self.config.model)
        with frozen(model):
            self._smoothed = self._smoothed or Smoothed(fast_copy(model), self.config.sigma, min(self.batch_size, BLOCK))
            clips, config = waveforms(item.pcm).to(self.device), self.config
            found = self._smoothed.certify(clips, n0=config.n0, n=config.n, alpha=config.alpha, seed=config.seed)
        lines = [_line(config, model.labels, *about) for about in zip(found, clips, item.names, item.labels)]
        return Done(item, lines)


def note_failures(out: Path, done: Done) -> int:
    """A line of failed.jsonl for each clip of which nothing could be made, and why."""
    if done.failed:
        append_lines(out / FAILED, "".join(json.dumps({"clip": clip, "failed": why}) + "\n" for clip, why in done.failed.items()))
    return len(done.failed)


def _blocks(rows: list[int], clips, n: int) -> Iterator[Certified]:
    """Clips that share their draws, as many as 200,000 passes are, but two to eight: drawing noise for each takes a good part of the network's time."""
    size = max(2, min(8, 200_000 // n))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield Certified([clips.names[row] for row in part], [clips.labels[row] for row in part], clips.pcm, part)


def _line(config: CertificationConfig, labels: Sequence[str], found: Certificate, clip: torch.Tensor, name: str, label: str) -> Line:
    predicted = None if found.predicted is None else labels[found.predicted]
    snr = None if found.radius is None else snr_of_radius(clip, found.radius)
    values = (name, label, config.model, predicted, found.radius, config.sigma, config.n, config.n0, config.alpha,
              ceiling(config.n, config.alpha, config.sigma), found.votes, snr)
    return dict(zip(KEYS, values))


def summarise(out: Path, order: list[str] | None = None) -> dict[str, Any]:
    """Make result.json and certified.csv from certificates.jsonl, its lines in the order of `order` first. Raises DataError: none are there."""
    lines = read(out / CERTIFICATES)
    if not lines:
        raise DataError(f"'{shown(out / CERTIFICATES)}': expected certificates, found none")
    if order is not None:
        place = {name: index for index, name in enumerate(order)}
        lines = sorted(lines, key=lambda line: place[line["clip"]])
        audio.write_bytes(out / CERTIFICATES, "".join(map(encode, lines)).encode("ascii"))
    curve = certified_curve(lines)
    result = summary(lines) | {"curve": curve}
    write_json(out / "result.json", result)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, curve[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(curve)
    audio.write_bytes(out / CURVE, text.getvalue().encode("ascii"))
    return result


def _mended(path: Path, notice: Callable[[str], None]) -> list[Line]:
    """The lines that are there; torn ones are taken out of the file and made again."""
    lines = read(path)
    whole = "".join(map(encode, lines)).encode("ascii")
    if path.exists() and path.read_bytes() != whole:
        notice("broken certificates are made again")
        audio.write_bytes(path, whole)
    return lines
