"""How long the zoo takes on this machine, from a small part of each stage."""
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _files import started
from _stages import Stage, shown_as, stages_of, use_threads, with_voices

FOLDER = Path(__file__).resolve().parent

COLUMNS = ("stage", "training_clips", "epochs", "teacher_s", "training_s", "rest_s", "whole_s")


@click.command(epilog="Example: python recipes/train_zoo/timing.py --out runs/zoo_time --voices runs/voices")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of time.md and time.csv; the trainings leave nothing.")
@click.option("--clips", type=click.IntRange(2), default=1280, show_default=True, help="Training clips of each stage.")
@click.option("--voices", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Synthetic voices of data/make_training_voices.py; without them every stage is timed on the other clips.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Override a key of all stages.")
@click.option("--quick", is_flag=True, help="A rehearsal on the bundled synthetic clips; the times are of no use.")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option("--device", default="cpu", show_default=True)
def recipe(out, clips, voices, changes, quick, threads, device):
    """Run every stage of the zoo in small and tell how long the whole of it takes on this machine."""
    from speechadv.cli.common import Voice

    use_threads(threads)
    with nothing_kept(out) as folder:
        stages = [with_voices(stage, voices) for stage in stages_of(FOLDER, folder, changes, quick)]
        rows = time_all(stages, clips, folder, device, Voice().progress)
    click.echo(write(rows, clips, device, out))


class Clock:
    """Watches one training through the two hooks that it offers: bars (`progress`) and lines (`say`).

    Attributes:
        seconds: {"teacher", "training"}, those between the first and the last item of the bars.
    """

    def __init__(self, progress: Callable):
        self.wrapped, self.began, self.seconds = progress, time.monotonic(), {"teacher": 0.0, "training": 0.0}

    def progress(self, items: Sequence, label: str) -> Iterator:
        """A bar that is timed; the label says what it is a bar of."""
        started = time.monotonic()
        yield from self.wrapped(items, label)
        self.seconds["teacher" if label.startswith("teacher") else "training"] += time.monotonic() - started

    def row(self, stage: Stage, clips: int, whole: int) -> dict[str, Any]:
        """What `clips` training clips took, and from it what all of them take. Reading the data takes as long with few of them as with all, and so does validating, but
        for what an attack saves on clips that a network of few clips hears wrong."""
        part = self.seconds
        rest = time.monotonic() - self.began - sum(part.values())
        scale = whole / min(clips, whole)
        return {"stage": stage.folder, "training_clips": whole, "epochs": stage.settings.epochs, "teacher_s": part["teacher"] * scale, "training_s": part["training"] * scale,
                "rest_s": rest, "whole_s": sum(part.values()) * scale + rest}


@contextmanager
def nothing_kept(out: Path) -> Iterator[Path]:
    """A folder for the trainings, gone afterwards. The cache lies there too: what an earlier run has left in its own would save the time that is asked for."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as name:
        os.environ["SPEECHADV_CACHE"] = str(Path(name).resolve() / "cache")
        yield Path(name)


def time_all(stages: Iterable[Stage], clips: int, folder: Path, device: str, progress: Callable) -> list[dict[str, Any]]:
    """Each stage on `clips` of its training clips; a row each, and one for all of them."""
    from speechadv.training.run import train

    rows = []
    for stage in stages:
        click.echo(f"{stage.folder}:", err=True)
        clock, settings = Clock(progress), replace(stage.settings, training_clips=clips)
        whole = count_of(stage)
        train(settings, folder / stage.folder, device=device, command="for its time alone", progress=clock.progress, say=lambda line: click.echo(line, err=True))
        rows.append(clock.row(stage, clips, whole))
    return [*rows, {"stage": "all", **{column: sum(row[column] for row in rows) for column in COLUMNS[3:]}}]


def count_of(stage: Stage) -> int:
    """Of the clips that a stage learns from."""
    from speechadv.data import task as named_task
    from speechadv.training.run import gather

    return len(gather(stage.settings, named_task(stage.settings.task), 16000).train.clips)


def write(rows: Sequence[dict[str, Any]], clips: int, device: str, out: Path) -> str:
    """time.csv and time.md; returns the latter."""
    import torch

    from speechadv.audio import write_bytes
    from speechadv.evaluation.environment import hardware
    from speechadv.report.tables import csv_text, markdown_table

    body = markdown_table(COLUMNS, [[shown_as(column, row.get(column)) for column in COLUMNS] for row in rows])
    machine = hardware(device)
    where = machine["gpu"] or f"{machine['cores']} cores, {machine['processor']}"
    about = (f"Each stage with all its epochs on {clips:,} of its training clips, threads: {torch.get_num_threads()}, torch {torch.__version__}, {where}; scaled to all of them, "
             "but for `rest_s`, reading the data and validating, which a network that has learned less does a little faster.")
    write_bytes(out / "time.csv", csv_text(COLUMNS, rows).encode("utf-8"))
    write_bytes(out / "time.md", f"{body}\n\n{about}\n".encode("utf-8"))
    return f"{body}\n\n{about}"


if __name__ == "__main__":
    started(recipe)
