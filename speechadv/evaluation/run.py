"""An evaluation from its config to its tables. A killed run goes on where it stopped, and ends in the same rows, tables and sound."""
import contextlib
import hashlib
import json
import time
from array import array
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, ContextManager, Iterable, Iterator

import numpy as np
import torch

from .. import audio
from ..attacks.base import fast_copy, frozen
from ..attacks.offered import check_offered
from ..errors import ConfigError, SpeechAdvError, shown
from ..models.access import access
from ..registry import closest
from . import batching, fitting, quality, rows as row_files
from .cells import CELL_KEYS, Cell, Craft, cells, groups, left_out
from .clips import ClipSet, load_clips
from .corrupted import Damage, damage_of, hear_damaged
from .engine import Engine, Local
from .environment import environment
from .folder import FAILED, PROBES, ROWS, TIMING, claimed, write_json
from .places import Names, Places
from .probes import probe_all
from .rows import AUDIO_KEYS, Row
from .settings import EvaluationConfig
from .shards import WHOLE, Shard
from .sounds import clean_path, sweep, there, waveforms
from .work import Done, Item, Worker, fingerprint

Bar = Callable[[int, str], ContextManager[Callable[[int], None]]]
PAGE_ROWS = 100_000  # beyond, the page is one that browsers open slowly, and making it takes nine kilobytes of memory a row: `speechadv report` does it when asked


@contextlib.contextmanager
def no_bar(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """The progress bar that shows nothing."""
    yield lambda done=1, status="": None


def evaluate(config: EvaluationConfig, out: str | Path, *, workers: int = 1, threads: int | None = None, device: str = "cpu",
             trust: bool = False, bar: Bar = no_bar, notice: Callable[[str], None] = audio.silent, engine: Engine | None = None,
             shard: Shard = WHOLE) -> dict[str, Any]:
    """Run a grid, or what is left of it, and make its tables and page.

    Args:
        config: what to run. Two runs of one config give the same rows, tables and sound whatever the other arguments are.
        out: the run's folder: new, empty, or with this very run unfinished or finished.
        workers: processes on this machine.
        threads: of torch in each process; None leaves this process as it is and shares the cores among several.
        device: torch device.
        trust: load models that are programs (TorchScript, `torch.export`).
        bar: makes a progress bar from (total, label): a context manager that gives a function of the number done.
        notice: is told one line about what the user should know.
        engine: where the rows are made; default: `workers` processes on this machine.
        shard: the part of the clips whose rows are made; the run is finished once all parts are there, see `merge`.

    Returns:
        The content of result.json; with "failed", the number of rows that could not be made (they stand in failed.jsonl), where there are some.

    Raises:
        SpeechAdvError: config, data, models or folder cannot be used; nothing is written then. KeyboardInterrupt passes; what is done is kept.

    Example:
        >>> config = EvaluationConfig(attacks=["pgd"], budgets=["linf:0.002"], data=["bundled"])
        >>> evaluate(config, "runs/first")["cells"][0]["robust_accuracy"]
    """
    from ..report.page import write_page
    from ..report.tables import write_tables

    out = Path(out)
    with _threads(threads):
        plan = replace(prepare(config, out, device, trust, notice), shard=shard)
        if not plan.mine:
            raise ConfigError(f"--shard {shard.number}/{shard.count}: expected a part with a clip, there are {len(plan.clips)} clips")
        check_alone(plan.worker.loaded, "--engine ray" if engine else f"--workers {workers}" if workers > 1 else None)
        engine = engine or Local(workers, threads)
        engine.ready()
        with claimed(out, config, plan.environment):
            failed = produce(plan, engine, bar, notice)
            if failed == len(plan.mine) * len(plan.grid):
                raise SpeechAdvError(f"not one row could be made ({first_failure(out)}); '{shown(out / FAILED)}' says more")
            finish(plan, bar)
            if plan.damage:
                hear_damaged(plan.damage, out, bar, plan.mine)
            result = write_tables(out)
            if len(plan.places) <= PAGE_ROWS:
                write_page(out)
            else:
                notice(f"no page: it would hold {len(plan.places):,} rows, more than {PAGE_ROWS:,} (docs/scale.md)")
    return result | ({"failed": failed} if failed else {})


@contextlib.contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    """Torch's threads for a while."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_alone(models: dict[str, Any], option: str | None) -> None:
    """Raise ConfigError where several processes, which this option asks for, would each count the queries of a black box for themselves."""
    for word, model in models.items():
        if option and any(hasattr(module, "queries_left") for module in model.modules()):
            raise ConfigError(f"{option}: the queries of '{shown(word)}' are counted by one process: leave the option out")


@dataclass
class Plan:
    """A run whose config, models and clips have been checked; nothing is written yet."""

    config: EvaluationConfig
    out: Path
    grid: list[Cell]
    clips: ClipSet
    worker: Worker
    environment: dict[str, Any]
    damage: Damage | None = None
    shard: Shard = WHOLE

    @cached_property
    def mine(self) -> set[str]:
        """The clips whose rows are made here."""
        return {*self.shard.of(self.clips.names)}

    @cached_property
    def places(self) -> Places:
        """Where each row stands in the finished rows.jsonl."""
        return Places(self.grid, self.clips.names)

    @cached_property
    def batch_size(self) -> int:
        """Clips at a time: what the config says, or what is fastest here if it asks for that."""
        first = self.worker.attacked(self.grid[0].craft)
        if self.config.batch_size >= 0 or len(self.clips) < batching.FROM or access(first) != "gradient":
            return self.config.batch_size if self.config.batch_size > 0 else batching.USUAL
        with frozen(first), torch.random.fork_rng():  # what is random in it may draw from the global state
            return batching.best_batch_size(fast_copy(first), waveforms(self.clips.pcm[:2]).to(self.worker.device))

    def block(self, craft: Craft) -> int:
        """Clips that an attack gets at a time. More where it asks one question a clip: the network hears them in calls of its own size, and clips that
        leave make no call smaller as long as others wait."""
        if self.config.batch_size > 0 or not craft.attack.make().one_by_one or access(self.worker.attacked(craft)) != "gradient":
            return self.batch_size
        return max(self.batch_size, batching.block_of_questions(self.clips.pcm.shape[1], torch.device(self.worker.device)))


def prepare(config: EvaluationConfig, out: Path, device: str = "cpu", trust: bool = False, notice: Callable[[str], None] = audio.silent) -> Plan:
    """Check everything that can be checked before a folder is made. Raises SpeechAdvError."""
    quality.check(config.quality)
    grid, worker = cells(config), Worker(out, device, trust)
    models = {word: worker.model(word) for word in dict.fromkeys([*config.models, *(cell.craft.model for cell in grid)])}
    rates = {model.sample_rate for model in models.values()}
    if len(rates) > 1:
        raise ConfigError(f"config: models: expected one sample rate, got {', '.join(f'{rate} Hz' for rate in sorted(rates))}")
    clips = load_clips(config, rates.pop(), notice)
    for word, model in models.items():
        for label in clips.labels_of_task:
            if label not in model.labels:
                raise ConfigError(f"model '{shown(word)}' does not know the word '{shown(label)}' of the task{closest(label, model.labels)}")
    for line in left_out(config):
        notice(line)
    for cell in grid:
        fitting.check(config, cell.craft.attack.make(), clips)
        worker.defended(cell.model, cell.defense)
        check_offered(cell.craft.attack.make(), worker.attacked(cell.craft))
    damage = damage_of(config, worker, clips, list(dict.fromkeys((cell.model, cell.defense) for cell in grid)))
    reference = {config.corruption_reference: worker.model(config.corruption_reference)} if damage else {}
    about = environment(device, config.seeds) | {
        "clips": {"source": clips.source, "number": len(clips), "sha256": clips.fingerprint()},
        "models": {word: fingerprint(model) for word, model in sorted((models | reference).items())}}
    return Plan(config, out, grid, clips, worker, about, damage)


def produce(plan: Plan, engine: Engine, bar: Bar, notice: Callable[[str], None]) -> int:
    """Make the rows that are missing. Returns the number of those that failed.

    Of a row that is written a byte stays in memory, of work that is left nothing: it is made as the engine asks for it.
    """
    path, have, failed = plan.out / ROWS, known_rows(plan, notice), 0
    (plan.out / FAILED).unlink(missing_ok=True)
    learn(plan, missing_items(plan, have), bar)
    items = missing_items(plan, have)
    with bar(len(plan.mine) * len(plan.grid), "attacking") as advance, contextlib.closing(engine.run(items, plan.worker)) as outcomes:
        advance(int(have[:, [plan.places.clips[name] for name in plan.mine]].sum()))
        for done in outcomes:
            new = [row for row in done.rows if not have[plan.places.of(row)]]
            for line in done.notices:
                notice(line)
            save_clean(plan, new)
            row_files.append(path, new)
            note_time(plan, done)
            failed += note_failures(plan, done)
            for row in new:
                have[plan.places.of(row)] = True
            advance(len(new), engine.status())
    return failed


def note_failures(plan: Plan, done: Done) -> int:
    """A line of failed.jsonl for each row that could not be made, and why."""
    lines = [dict(zip(CELL_KEYS, cell.key)) | {"clip": clip, "failed": why} for clip, why in done.failed.items() for cell in done.item.cells]
    if lines:
        row_files.append_lines(plan.out / FAILED, "".join(json.dumps(line) + "\n" for line in lines))
    return len(lines)


def first_failure(out: Path) -> str:
    """Why the first row of failed.jsonl could not be made."""
    with open(out / FAILED, encoding="ascii") as file:
        return json.loads(file.readline())["failed"]


def known_rows(plan: Plan, notice: Callable[[str], None]) -> np.ndarray:
    """(cells, clips), bool: the rows that are there; torn lines are taken out of the file and made again."""
    mend_times(plan.out / TIMING)
    path, have, whole, broken = plan.out / ROWS, plan.places.filled(False), array("Q"), 0
    measures = {name for name in quality.MEASURES if name in plan.config.quality}
    for offset, row in row_files.each(path):
        place = plan.places.of(row) if row else None
        if place is None or not sound_is_there(plan.out, row) or {*quality.columns_of(row)} != measures:
            broken += 1
        elif not have[place]:
            have[place] = True
            whole.append(offset)
    if broken:
        notice(f"{broken} broken rows are made again")
        row_files.rewrite(path, row_files.at(path, whole))
    return have


def sound_is_there(run: Path, row: Row) -> bool:
    """Whether each file that a row names exists and, after a power failure, is not empty."""
    return all(there(run / row[key]) for key in AUDIO_KEYS if row[key])


def missing_items(plan: Plan, have: np.ndarray) -> Iterator[Item]:
    """The work that is left: for each craft, blocks of the clips that some cell lacks. `have` is (cells, clips), looked at when a craft's turn comes."""
    clips, config = plan.clips, plan.config
    kept, _, number = config.audio.partition(":")
    keep = frozenset(_sample(clips.names, int(number))) if number else frozenset()
    for craft, its_cells in groups(plan.grid).items():
        lacking = ~have[[plan.places.cells[cell.key] for cell in its_cells]].all(0)
        rows = [i for i in np.flatnonzero(lacking).tolist() if clips.names[i] in plan.mine]
        for fold, block in _blocks(plan, craft, rows):
            targets = _targets(plan, craft, block)
            fits = fitting.needed(craft, fold, targets) if fold else {}
            yield Item(craft, its_cells, [clips.names[i] for i in block], [clips.labels[i] for i in block], targets, clips.pcm, block,
                       "listed" if number else kept, keep, tuple(config.quality), fits)


def _blocks(plan: Plan, craft: Craft, rows: list[int]) -> Iterator[tuple[fitting.Fold | None, list[int]]]:
    """The rows in blocks; those of an attack that learns, fold by fold."""
    size = plan.block(craft)
    for fold in fitting.folds(plan.clips) if craft.attack.make().learns else [None]:
        held = [row for row in rows if fold is None or fold.holds(plan.clips.names[row])]
        for start in range(0, len(held), size):
            yield fold, held[start : start + size]


def learn(plan: Plan, items: Iterable[Item], bar: Bar) -> None:
    """Fit what the items need and the run does not hold yet."""
    wanted = {path: (item, target or None) for item in items for target, path in item.fits.items() if not (plan.out / path).exists()}
    if not wanted:
        return
    with bar(len(wanted), "fitting") as advance:
        for path, (item, target) in wanted.items():
            (fold,) = (fold for fold in fitting.folds(plan.clips) if fold.holds(item.names[0]))
            started, busy = time.perf_counter(), time.process_time()
            fitting.make(plan.out / path, plan.config, item.craft, fold, target, plan.worker.attacked(item.craft), plan.worker.device)
            note_time(plan, Done(item.part(slice(0, 0)), [], time.perf_counter() - started, time.process_time() - busy))
            advance(1)


def _targets(plan: Plan, craft: Craft, block: list[int]) -> list[str] | None:
    return [plan.clips.target(i, craft.seed) for i in block] if plan.config.targeted else None


def _sample(names: list[str], number: int) -> list[str]:
    return sorted(names, key=lambda name: hashlib.blake2b(name.encode("utf-8", "surrogateescape")).digest())[:number]


def save_clean(plan: Plan, rows: list[Row]) -> None:
    """The clean clips of these rows, each once."""
    for name in {row["clip"] for row in rows if row["clean_audio"]}:
        path = plan.out / clean_path(name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            audio.write_pcm16(path, waveforms(plan.clips.pcm[plan.places.clips[name]]), plan.clips.sample_rate, synced=False)


def note_time(plan: Plan, done: Done) -> None:
    """A line of timing.jsonl: seconds of an item. Never part of what is compared."""
    craft = done.item.craft
    line = {"model": craft.model, "defense": craft.defense, "attack": str(craft.attack), "budget": craft.budget, "seed": craft.seed,
            "clips": len(done.item.names), "rows": len(done.rows), "attack_seconds": round(done.attack_seconds, 4),
            "attack_cpu_seconds": round(done.attack_cpu_seconds, 4), "scoring_seconds": round(done.scoring_seconds, 4)}
    row_files.append_lines(plan.out / TIMING, json.dumps(line) + "\n", flushed=False)


def mend_times(path: Path) -> None:
    """Take a torn last line out of timing.jsonl."""
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        audio.write_bytes(path, content[: content.rfind(b"\n") + 1])


def finish(plan: Plan, bar: Bar) -> None:
    """Bring rows into their order, remove sound that no row names, and ask the models the questions of the sanity flags."""
    path, offsets, named = plan.out / ROWS, plan.places.filled(-1), Names()
    for offset, row in row_files.each(path):
        place = plan.places.of(row) if row else None
        if place is not None and offsets[place] < 0:
            offsets[place] = offset
            for key in AUDIO_KEYS:
                if row[key]:
                    named.add(row[key])
    row_files.rewrite(path, row_files.at(path, (int(offset) for offset in offsets.flat if offset >= 0)))
    sweep(plan.out, named)
    if not (plan.out / PROBES).exists():
        write_json(plan.out / PROBES, probe_all(plan.worker, plan.grid, plan.clips, bar))
