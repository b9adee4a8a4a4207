"""The leaderboard: every entry under the same attacks on the same clips. See README.md beside this file."""
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _evaluating import settle
from _files import inside, started
from cost import BATCH, clips_a_second, of_run, told
from entered import MODELS, Entry, brought, entries_of

FOLDER = Path(__file__).resolve().parent
LIST = FOLDER.parents[1] / "data/leaderboard_clips.txt"
CONFIGS = {"clean": "clean.toml", "untargeted": "config.toml", "targeted": "targeted.toml"}
ALL = 10**9
QUICK = {"clean": ("data=['bundled']", "clips=12"),
         "untargeted": ("data=['bundled']", "clips=4", "budgets=['linf:0.002', 'snr:30']", "attacks=[{name='ensemble', steps=4, targets=1, queries=10}]"),
         "targeted": ("data=['bundled']", "clips=4", "budgets=['linf:0.002', 'snr:30']", "attacks=[{name='pgd', steps=4, loss='margin'}]")}
QUICK_ENTRIES = ("resnet", "resnet-at")


def count(context, parameter, value: str) -> int:
    """A number of clips, or "all"."""
    if value == "all":
        return ALL
    if not (value.isascii() and value.isdigit() and 0 < int(value) < ALL):
        raise click.BadParameter(f"expected a number from 1 on, or all, got '{value}'")
    return int(value)


@click.command(epilog="Example: python recipes/leaderboard/run.py --out runs/leaderboard --quick")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the board; what was stopped goes on, more clips or entries extend it.")
@click.option("--entries", "folder", type=click.Path(path_type=Path), default=FOLDER / "entries", help="Folder of the entries' files. Default: entries/ of the recipe.")
@click.option("--entry", "wanted", multiple=True, metavar="NAME", help="Only this one; several times. Default: all whose files are here.")
@click.option("--clips", callback=count, default="400", show_default=True, help="The first so many of data/leaderboard_clips.txt, or all of the test split.")
@click.option("--run", "runs", type=click.Choice(list(CONFIGS)), multiple=True, help="Only this run of an entry; several times.")
@click.option("--plan", "plan_only", is_flag=True, help="Say what it would cost, and attack nothing.")
@click.option("--tables", is_flag=True, help="Make the tables again from the rows that are there, and attack nothing.")
@click.option("--quick", is_flag=True, help="A rehearsal: two entries, four bundled clips, a few steps.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of torch.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), help="Copy the tables and the figure there too.")
@click.option("--check", is_flag=True, help="Compare with expected.json; exit status 1 where a number is farther away than its tolerance.")
@click.option("--record", is_flag=True, help="Write the numbers of this board into expected.json.")
def recipe(out, folder, wanted, clips, runs, plan_only, tables, quick, threads, device, results, check, record):
    """Attack every entry with the ensemble and with targeted PGD, and make the tables from the rows."""
    if not tables:
        attack(out, folder.resolve(), wanted or (QUICK_ENTRIES if quick else ()), None if quick else Chosen.first(clips), runs or tuple(CONFIGS), threads, device, plan_only)
    if plan_only:
        return
    lines = write(out)
    for path in (path for path in out.glob("leaderboard*.*") if results and path.suffix != ".txt"):
        results.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, results / path.name)
    settle(FOLDER, numbers(lines), quick=quick, record=record, check=check, options="" if quick else f"--clips {'all' if clips == ALL else clips}")


def attack(out: Path, folder: Path, wanted: Sequence[str], chosen: "Chosen | None", runs: Sequence[str], threads: int, device: str, plan_only: bool) -> None:
    """The runs of the entries, or what they would cost. `chosen`: None in a rehearsal."""
    from speechadv.report.leaderboard import ORDER

    notice = lambda line: click.echo(f"note: {line}", err=True)
    entries = entries_of(folder, wanted, notice)
    check_board(out)
    with inside(out):
        works = [Work(name, brought(entry, folder, Path(".")), entry, chosen is None, chosen) for name, entry in entries.items()]
        if plan_only:
            click.echo(told([(work.name, run, work.cost(run)) for work in works for run in runs]))
            return
        if chosen:
            shutil.copyfile(LIST, ORDER)
        for work in works:
            work.do(runs, threads, device, notice)


def check_board(out: Path) -> None:
    """Raise InputError unless the folder is missing, empty or a board."""
    from speechadv.errors import InputError, shown

    if out.exists() and not out.is_dir():
        raise InputError(f"--out '{shown(out)}': expected a folder, got a file")
    for path in sorted(out.iterdir()) if out.exists() else ():
        if not (path.name == MODELS or path.name.startswith(("leaderboard", ".")) or any((path / part).exists() for part in (*CONFIGS, "about.json"))):
            raise InputError(f"--out '{shown(out)}': expected a new folder or a leaderboard to go on with, got foreign files ('{shown(path.name)}')")


@dataclass(frozen=True)
class Chosen:
    """The clips that are attacked. `names`: None for the whole split."""

    names: frozenset[str] | None = None

    @classmethod
    def first(cls, clips: int) -> "Chosen":
        """The first of the list, or all. Raises DataError or InputError: no data, or one of them is not in it."""
        from speechadv.data import data_roots, scan, select, task
        from speechadv.errors import DataError, InputError, shown

        if not data_roots([]):
            raise InputError("SPEECHADV_DATA: expected folders of Speech Commands, it names none; --quick takes the bundled clips")
        if clips == ALL:
            return cls()
        names = listed()[:clips]
        if clips > len(names):
            raise InputError(f"--clips {clips}: expected at most {len(names)}, or all")
        there = {clip.name for clip, _ in select(scan(data_roots([])), task("v2-12"), "test")}
        for name in names:
            if name not in there:
                raise DataError(f"data: '{shown(name)}' of {LIST.name} is not in the test split of this data")
        return cls(frozenset(names))

    def shard(self):
        """The same as a part of a run."""
        from speechadv.evaluation.shards import WHOLE, Shard

        names = self.names

        class Named(Shard):
            """The clips with these names: a part of the run on the whole split, which further clips extend."""

            def of(self, clips: Sequence[str]) -> Sequence[str]:
                return [name for name in clips if name in names]

        return WHOLE if names is None else Named()


def listed() -> list[str]:
    """The names of the list, in its order."""
    return [line for line in LIST.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


@dataclass(frozen=True)
class Work:
    """An entry whose model lies inside the board, under `word`; works in the board's folder."""

    name: str
    word: str
    entry: Entry
    quick: bool
    chosen: Chosen | None

    def config(self, run: str):
        """The config of one of its runs."""
        from speechadv import config as configs
        from speechadv.evaluation.settings import EvaluationConfig

        loaded = configs.load(EvaluationConfig, FOLDER / CONFIGS[run], QUICK[run] if self.quick else ())
        return replace(loaded, models=[self.word], defenses=[self.entry.defense])

    def shard(self, run: str):
        """The part of the split that a run does now; clean accuracy is over all of it."""
        from speechadv.evaluation.shards import WHOLE

        return WHOLE if self.quick or run == "clean" else self.chosen.shard()

    def defended(self):
        """Its network behind its defense."""
        from speechadv.evaluation.work import Worker

        return Worker(Path("."), trust=self.entry.trust).defended(self.word, self.entry.defense)

    def cost(self, run: str):
        """What is left of a run costs at most."""
        from speechadv.evaluation.clips import load_clips
        from speechadv.evaluation.rows import read

        config, model = self.config(run), self.defended()
        names = set(self.shard(run).of(load_clips(config, model.sample_rate).names))
        rows, _ = read(Path(self.name, run, "rows.jsonl"))
        done = {row["clip"] for row in rows if sum(other["clip"] == row["clip"] for other in rows) == len(config.budgets)}
        return of_run(config, model, len(names - done))

    def do(self, runs: Sequence[str], threads: int, device: str, notice) -> None:
        """Its runs, and what stands beside them."""
        from speechadv.cli.common import Voice
        from speechadv.evaluation.run import evaluate

        defended = self.defended()
        for run in runs:
            click.echo(f"{self.name}: {run}", err=True)
            evaluate(self.config(run), Path(self.name, run), threads=threads, device=device, trust=self.entry.trust, bar=Voice().bar, notice=notice,
                     shard=self.shard(run))
            self.describe(defended)  # after each: what was stopped has its line in the tables
        self.time(defended)

    def describe(self, defended) -> None:
        """about.json, from the entry and its network."""
        from speechadv.evaluation.folder import write_json
        from speechadv.models.counting import multiply_adds, parameters
        from speechadv.report.leaderboard import ABOUT

        entry = self.entry
        about = {"name": self.name, "model": entry.model, "defense": entry.defense, "who": entry.who, "source": entry.source, "about": entry.about,
                 "parameters": parameters(defended.model), "multiply_adds": multiply_adds(defended.model)}
        write_json(Path(self.name, ABOUT), about)

    def time(self, defended) -> None:
        """speed.json, unless it is there."""
        from speechadv.evaluation.environment import hardware
        from speechadv.evaluation.folder import write_json
        from speechadv.report.leaderboard import SPEED

        if not Path(self.name, SPEED).exists():
            write_json(Path(self.name, SPEED), {"clips_a_second": round(clips_a_second(defended), 1), "batch": BATCH, "processor": hardware("cpu")["processor"]})


def write(out: Path) -> list[dict]:
    """The tables and the figure of the board; the first table is printed."""
    from speechadv.report.figures import draw
    from speechadv.report.leaderboard import write_leaderboard
    from speechadv.report.style import save

    lines = write_leaderboard(out)
    save(draw("leaderboard", out), out / "leaderboard.svg")
    click.echo((out / "leaderboard.md").read_text(encoding="utf-8").split("\n\n")[1])
    return lines


def numbers(lines: Sequence[dict]) -> dict[str, dict[str, float | None]]:
    """The rates of a board: {"entry|budget": {...}}."""
    return {f"{line['model']}|{line['budget']}": {key: line[key] for key in ("clean_accuracy", "robust_accuracy", "targeted_success", "test_accuracy")} for line in lines}


if __name__ == "__main__":
    started(recipe)
