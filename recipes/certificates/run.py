"""Certificates, and what an attack reaches in the same balls. See README.md beside this file."""
import json
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _evaluating import settle
from _files import inside, started

FOLDER = Path(__file__).resolve().parent
LIST = FOLDER.parents[1] / "data/leaderboard_clips.txt"
BLOCK = 10  # clips that are attacked at a time
TOLERANCE = 0.06  # of rates over tens of clips
QUICK = {"clips": 3, "n": 200, "radii": [1.0], "draws": 2, "votes": 20, "attack": {"name": "pgd", "steps": 3}}
COLUMNS = ("model", "sigma", "n", "clips", "accuracy", "accuracy_low", "accuracy_high", "abstained", "radius_median", "snr_db_median", "ceiling", "at_ceiling",
           "certified_at_half", "certified_at_ceiling")
TRIED = ("model", "sigma", "radius", "of_ceiling", "attack", "clips", "certified", "accuracy", "accuracy_low", "accuracy_high")


@dataclass
class Wanted:
    """A run of certificates."""

    model: str
    sigma: float
    n: int
    clips: int

    @property
    def packaged(self) -> bool:
        """Whether the model is a name of the package and not a file."""
        return not self.model.endswith(".safetensors")

    @property
    def folder(self) -> str:
        """Of the run."""
        return f"{Path(self.model).stem}-{self.sigma:g}-{self.n}"


@dataclass
class Recipe:
    """The content of config.toml. Raises ConfigError: a value out of range."""

    certificates: list[Wanted]
    alpha: float = 0.001
    n0: int = 100
    radii: list[float] = field(default_factory=lambda: [1.0])
    draws: int = 4
    votes: int = 100
    attack: dict[str, Any] = field(default_factory=lambda: {"name": "ensemble"})

    def __post_init__(self):
        from speechadv.config import require

        require(bool(self.certificates), "certificates", "at least one", "none")
        for key in ("draws", "votes"):
            require(getattr(self, key) >= 1, key, "1 or more", getattr(self, key))
        require(all(radius > 0 for radius in self.radii), "radii", "numbers above 0", self.radii)


@click.command(epilog="Example: python recipes/certificates/run.py --out runs/certificates --quick")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the runs; what was stopped goes on, more clips extend it.")
@click.option("--clips", type=click.IntRange(1), help="At most so many clips for each, the first of data/leaderboard_clips.txt.")
@click.option("--n", type=click.IntRange(20), help="At most so many draws for each.")
@click.option("--model", "models", multiple=True, help="Only those of this model; several times.")
@click.option("--also", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="WEIGHTS",
              help="Weights that config.toml names and the package lacks, with their card beside them.")
@click.option("--tried", type=click.IntRange(0), help="At most so many clips are attacked; default: all that are certified.")
@click.option("--quick", is_flag=True, help="A rehearsal: three bundled clips, 200 draws.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of torch.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), help="Copy tables, certificates and figures there too.")
@click.option("--check", is_flag=True, help="Compare with expected.json; exit status 1 where a number is farther away than its tolerance.")
@click.option("--record", is_flag=True, help="Write the numbers of these runs into expected.json.")
def recipe(out, clips, n, models, also, tried, quick, threads, device, results, check, record):
    """Certify each model at each sigma, attack the smoothed networks, and put both into tables and figures."""
    import torch

    from speechadv import config as configs
    from speechadv.errors import ConfigError, shown
    from speechadv.models.pretrained import card_path, read_card

    config = configs.load(Recipe, FOLDER / "config.toml", [f"{key}={json.dumps(QUICK[key])}" for key in ("radii", "draws", "votes")] if quick else ())
    config.attack = QUICK["attack"] if quick else config.attack
    for path in also:
        read_card(path)
        if path.name not in {each.model for each in config.certificates}:
            raise ConfigError(f"--also: config.toml names no '{shown(path.name)}'")
    config.certificates = [each for each in config.certificates if each.packaged or each.model in {path.name for path in also} or (out / each.model).exists()]
    wanted = shortened(config, QUICK["clips"] if quick else clips, QUICK["n"] if quick else n, models)
    torch.set_num_threads(threads)
    names_of(max(wanted, key=lambda each: each.clips), quick)  # what is missing is told before a folder is made
    out.mkdir(parents=True, exist_ok=True)
    for path in (path for path in also if path.resolve().parent != out.resolve()):
        shutil.copy(path, out)
        shutil.copy(card_path(path), out)
    with inside(out):
        for each in wanted:
            certified(each, config, quick, device)
        for each in first_of(wanted):
            attacked(each, config, quick, device, tried)
        folders = sorted((path.parent for path in Path(".").glob("*/certificates.jsonl")), key=place)
        lines, trials, beside = tables(folders)
        write(lines, trials, beside, folders)
    if results:
        copied(out, folders, results)
    names = {each.folder for each in wanted}
    lines = [line for line in lines if Wanted(line["model"], line["sigma"], line["n"], 0).folder in names]  # of this command: others may lie beside them
    found = {f"{line['model']}|{line['sigma']:g}|{line['n']}": {key: line[key] for key in ("accuracy", "certified_at_half", "certified_at_ceiling")} for line in lines}
    found |= {f"{line['model']}|{line['sigma']:g}|l2 {line['of_ceiling']:g} of the ceiling": {"accuracy": line["accuracy"]} for line in trials}
    options = "" if quick else " ".join(f"--{key} {value}" for key, value in (("clips", clips), ("n", n), ("tried", tried)) if value)
    settle(FOLDER, found, quick=quick, record=record, check=check, options=options, tolerance=TOLERANCE)


def shortened(config: Recipe, clips: int | None, n: int | None, models: Sequence[str]) -> list[Wanted]:
    """The runs, with no more clips and draws than asked for; equal ones once. Raises ConfigError: none of these models."""
    from speechadv.errors import ConfigError, shown

    found = {}
    for each in config.certificates:
        if not models or each.model in models:
            short = Wanted(each.model, each.sigma, min(n or each.n, each.n), min(clips or each.clips, each.clips))
            found.setdefault(short.folder, short)
    if not found:
        raise ConfigError(f"--model: expected some of {', '.join(dict.fromkeys(each.model for each in config.certificates))}, got {shown(', '.join(models))}")
    return list(found.values())


def first_of(wanted: Sequence[Wanted]) -> list[Wanted]:
    """The first run of each model and sigma: the network is attacked once."""
    return list({(each.model, each.sigma): each for each in reversed(wanted)}.values())[::-1]


def names_of(each: Wanted, quick: bool) -> tuple[Any, list[int]]:
    """The clips of the whole split, and the places of those that are certified. Raises InputError: no data."""
    from speechadv.data import data_roots
    from speechadv.errors import InputError, shown
    from speechadv.evaluation.certification import CertificationConfig
    from speechadv.evaluation.clips import load_clips

    if not quick and not data_roots([]):
        raise InputError("SPEECHADV_DATA: expected folders of Speech Commands, it names none; --quick takes the bundled clips")
    clips = load_clips(CertificationConfig(each.model, data=["bundled"] if quick else []), 16000)
    listed = clips.names[:: len(clips) // each.clips] if quick else [line for line in LIST.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    place = {name: row for row, name in enumerate(clips.names)}
    if missing := next((name for name in listed[: each.clips] if name not in place), None):
        raise InputError(f"SPEECHADV_DATA: expected '{shown(missing)}' of data/leaderboard_clips.txt among its test clips, it is not there")
    return clips, [place[name] for name in listed[: each.clips]]


def certified(each: Wanted, config: Recipe, quick: bool, device: str) -> None:
    """One run of `speechadv certify`, on a part of the split that more clips extend."""
    from speechadv.cli.common import Voice
    from speechadv.evaluation.certification import CertificationConfig, certify
    from speechadv.evaluation.shards import Shard

    _, rows = names_of(each, quick)
    mine = frozenset(rows)

    class Listed(Shard):
        """The clips of the list."""

        def of(self, clips):
            return [clip for clip in clips if clip in mine]

    click.echo(f"{each.folder}: {len(rows)} clips", err=True)
    settings = CertificationConfig(each.model, each.sigma, each.n, config.n0, config.alpha, data=["bundled"] if quick else [])
    certify(settings, each.folder, device=device, bar=Voice().bar, notice=lambda line: click.echo(f"note: {line}", err=True), shard=Listed())


def attacked(each: Wanted, config: Recipe, quick: bool, device: str, most: int | None) -> None:
    """empirical.jsonl beside the certificates: the smoothed network under attack in balls of several radii. Goes on where it stopped."""
    from speechadv.cli.common import Voice
    from speechadv.errors import ConfigError, shown
    from speechadv.evaluation.empirical import EMPIRICAL, Trial, encode, read, tried
    from speechadv.evaluation.rows import append_lines
    from speechadv.evaluation.smoothing import ceiling
    from speechadv.evaluation.sounds import waveforms
    from speechadv.models.resolve import resolve_model
    from speechadv.registry import create

    clips, rows = names_of(each, quick)
    rows, path, model = rows[:most], Path(each.folder, EMPIRICAL), resolve_model(each.model).to(device)
    options = dict(config.attack)
    name = options.pop("name")
    word = " ".join([name, *(f"{key}={value}" for key, value in sorted(options.items()))])
    found = [line for line in read(path) if line["attack"] == word]
    if odd := next((line for line in found if (line["draws"], line["votes"]) != (config.draws, config.votes)), None):
        raise ConfigError(f"'{shown(path)}': made with draws = {odd['draws']}, votes = {odd['votes']}, expected {config.draws} and {config.votes}: another --out")
    have = {(line["clip"], line["radius"]) for line in found}
    with Voice().bar(len(rows) * len(config.radii), f"attacking {each.folder}") as advance:
        for share in config.radii:
            radius = round(share * ceiling(each.n, config.alpha, each.sigma), 6)
            left = [row for row in rows if (clips.names[row], radius) not in have]
            advance(len(rows) - len(left))
            for start in range(0, len(left), BLOCK):
                part = clips.part(left[start : start + BLOCK])
                trial = Trial(create("attack", name, **options), word, each.sigma, radius, config.draws, config.votes)
                lines = tried(model, each.model, trial, waveforms(part.pcm).to(device), part.labels, part.names)
                append_lines(path, "".join(map(encode, lines)))
                advance(len(lines))


def place(folder: Path) -> tuple:
    """Where a run stands in the tables: by n, sigma, model."""
    from speechadv.evaluation.certificates import read

    lines = read(folder / "certificates.jsonl")
    return (lines[0]["n"], lines[0]["sigma"], lines[0]["model"]) if lines else (0, 0.0, "")


def tables(folders: Sequence[Path]) -> tuple[list[dict], list[dict], Counter]:
    """A line a run that has certificates, a line a ball that was attacked, and how many of the attacked clips lie within their certificates."""
    from speechadv.evaluation.certificates import certified_curve, read, summary
    from speechadv.evaluation.empirical import EMPIRICAL, beside_certificates, certified_share, points
    from speechadv.evaluation.empirical import read as read_tried

    lines, trials, beside = [], [], Counter()
    for folder in folders:
        certificates = read(folder / "certificates.jsonl")
        if not certificates:
            continue
        curve = certified_curve(certificates)
        about = summary(certificates) | {"certified_at_half": curve[len(curve) // 2]["certified"], "certified_at_ceiling": curve[-1]["certified"]}
        lines.append({key: about[key] for key in COLUMNS})
        found = read_tried(folder / EMPIRICAL)
        beside.update(beside_certificates(found, certificates))
        for attack in dict.fromkeys(line["attack"] for line in found):
            mine = [line for line in found if line["attack"] == attack]
            for point in points(mine):
                share = certified_share([line for line in mine if line["radius"] == point["radius"]], certificates)
                trials.append({"model": about["model"], "sigma": about["sigma"], "attack": attack, "of_ceiling": round(point["radius"] / about["ceiling"], 3), "certified": share} | point)
    return lines, trials, beside


def write(lines: Sequence[dict], trials: Sequence[dict], beside: Counter, folders: Sequence[Path]) -> None:
    """certificates.csv, tried.csv and certificates.md, and a figure in each run; the tables are printed."""
    from speechadv.report.figures import draw
    from speechadv.report.style import save
    from speechadv.report.tables import csv_text

    for name, columns, content in (("certificates.csv", COLUMNS, lines), ("tried.csv", TRIED, trials)):
        Path(name).write_text(csv_text(columns, content), encoding="utf-8")
    for folder in folders:
        save(draw("certified", folder), folder / "certified.svg")
    text = as_markdown(lines, trials, beside)
    Path("certificates.md").write_text(text, encoding="utf-8")
    click.echo(text)


def copied(out: Path, folders: Sequence[Path], results: Path) -> None:
    """What is kept of the runs."""
    results.mkdir(parents=True, exist_ok=True)
    for name in ("certificates.md", "certificates.csv", "tried.csv"):
        shutil.copyfile(out / name, results / name)
    for folder in folders:
        for name in ("certificates.jsonl", "empirical.jsonl", "certified.svg", "environment.json"):
            if (out / folder / name).exists():  # each network is attacked once
                shutil.copyfile(out / folder / name, results / f"{folder.name}.{name}")


def as_markdown(lines: Sequence[dict], trials: Sequence[dict], beside: Counter) -> str:
    """Both tables, and what the attack did within certificates."""
    from speechadv.report.tables import NOTHING, markdown_table, number, percent

    head = ["model", "sigma", "n", "clips", "right under noise %", "abstained", "median radius", "as SNR, dB", "ceiling", "at the ceiling", "certified at half of it %", "at all of it %"]
    body = [[line["model"], f"{line['sigma']:g}", f"{line['n']:,}", str(line["clips"]), percent(line, "accuracy"), str(line["abstained"]), number(line["radius_median"], ".6f"),
             number(line["snr_db_median"], ".1f"), f"{line['ceiling']:.6f}", str(line["at_ceiling"]), f"{100 * line['certified_at_half']:.1f}",
             f"{100 * line['certified_at_ceiling']:.1f}"] for line in lines]
    parts = ["# Certificates", markdown_table(head, body), "Radii are L2 lengths of samples in [-1, 1); medians are over the clips heard right. `at the ceiling` counts clips of which all "
             "n draws agreed: of them n says no more, not the network. Brackets: 95 % Wilson intervals."]
    if trials:
        body = [[line["model"], f"{line['sigma']:g}", f"{line['radius']:.6f}", f"{line['of_ceiling']:g}", line["attack"], str(line["clips"]),
                 NOTHING if line["certified"] is None else f"{100 * line['certified']:.1f}", percent(line, "accuracy")] for line in trials]
        parts += ["## Under attack in the same balls", markdown_table(["model", "sigma", "radius", "of the ceiling", "attack", "clips", "certified there %", "vote still right %"], body or [[NOTHING]]),
                  "The vote of the smoothed network, before and after an attack on its mean under noise, and the share of the same clips that is certified at this radius: it can only be lower. Beyond "
                  "the ceiling there are no certificates.",
                  f"Of {beside['within']:,} attacked clips that lie within what their certificate covers the vote changed in {beside['within_changed']:,}, of {beside['beyond']:,} beyond it in "
                  f"{beside['beyond_changed']:,}."]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    started(recipe)
