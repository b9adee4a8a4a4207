"""`speechadv attack`: anyone's sound files, made to sound like another word to a network."""
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Iterator, Sequence

import click

from ..errors import ConfigError, InputError, shown
from .common import Voice, announce, check_writable, checked_device, device_option, json_option, model_details, model_option, out_option, quiet_option, seed_option, unique_stems
from .crafting import LEARNED
from .engines import chosen_engine, engine_options, tell_failures

SECONDS = 1.0  # what keyword spotters hear
BATCH = 32
LONGEST_ENDING = ".perturbation.wav"


@dataclass
class Job:
    """What the options name. `model` stands behind the defense, `searched` is what the attack searches on: the same, unless the clips are `sent_on`
    as the threat of this name; `threat` is a row's word for what the attack knows."""

    name: str
    options: dict[str, Any]
    attack: Any
    budget: Any
    defense: str
    word: str
    model: Any
    target: str | None
    seed: int
    device: str
    quality: tuple[str, ...] = ()
    searched: Any = None
    sources: tuple[str, ...] = ()
    sent_on: str | None = None
    details: tuple[tuple[str, Any], ...] = ()  # what was said of a foreign model: labels, sample_rate, trust

    @property
    def threat(self) -> str:
        return self.sent_on or "adaptive" if self.attack.white_box else "black-box"

    def identity(self, files: Sequence[Path]) -> dict[str, Any]:
        """What makes a command the same as another one, ready for JSON."""
        return {"attack": self.name, "options": self.options, "budget": self.budget.name, "defense": self.defense, "model": self.word,
                "target": self.target, "seed": self.seed, "quality": list(self.quality), "files": [shown(file) for file in files],
                **({"source": list(self.sources)} if self.sources else {}), **dict(self.details)}


@dataclass
class Clip:
    """A file in memory: `stem` of its outputs, `waveform` (time,), and the word that is `heard` in it now."""

    file: Path
    stem: str
    waveform: Any
    heard: str = ""


@click.command("attack", epilog="Example: speechadv attack my.wav --target stop --budget snr:30 --out out")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--target", metavar="WORD", help="The word to be heard.")
@click.option("--untargeted", is_flag=True, help="Instead of --target: any other word than the one that is heard now.")
@click.option("--budget", "budgets", multiple=True, required=True, metavar="SPEC",
              help="snr:DB, linf:EPS (0.002, 66lsb or -54dbfs), masking[:MARGIN_DB]; given several times, all of them hold.")
@click.option("--attack", "name", default="pgd", show_default=True, help="A name from speechadv.list_attacks().")
@click.option("--steps", type=click.IntRange(1), help="Gradient steps; the attack's own number by default.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Another option of the attack, such as loss=margin or restarts=3.")
@click.option("--full", is_flag=True, help="Spend the whole budget for the strongest example, instead of stopping once the target is heard.")
@click.option("--defense", default="none", show_default=True, metavar="SPEC", help="Attack the network behind this defense, such as mp3:32.")
@click.option("--source", "sources", multiple=True, metavar="MODEL",
              help="Search on this network and carry the clips over to --model; given several times, on the mean of their logits.")
@click.option("--at", type=float, metavar="SECONDS",
              help="Inside one long FILE: insert the target into the second from here on, or with --untargeted hide the word that is heard there.")
@click.option("--quality", multiple=True, metavar="NAME",
              help="Also measure segmental_snr_db, log_spectral_distance_db, pesq, stoi or estoi; may be given several times.")
@model_option
@model_details
@out_option
@engine_options
@seed_option
@device_option
@json_option
@quiet_option
def command(files, target, untargeted, budgets, name, steps, overrides, full, defense, sources, quality, model, labels, sample_rate, trust_model_file, at, out, engine,
            address, cores, gpus, seed, device, as_json, quiet):
    """Change sound files a little, so that a network hears another word.

    Each FILE (any rate and number of channels; its first second) becomes OUT/STEM.adversarial.wav. Beside it lie STEM.clean.wav, the clip as the
    network hears it, STEM.perturbation.wav, what was added and amplified, and with --defense STEM.defended.wav. All numbers are measured on the
    files as saved. Nothing is written unless every file can be read.

    With --json: a list of {"file", "heard_before", "heard_after", "target", "reached", "linf" (fraction of full scale), "snr_db",
    "masking_excess_db", "out"}, with --quality each measure too and "quality_gaps", why one is null. `speechadv report OUT` makes a table and a page to listen to.
    """
    from ..attacks.offered import check_queries_left
    from ..evaluation import quality as measures
    from .crafter import check_engine
    from .inside import attack_inside
    from ..registry import keywords
    from .crafting import learn

    if (target is None) != untargeted:
        raise ConfigError("expected either --target WORD or --untargeted")
    voice = Voice(as_json, quiet)
    options = attack_options(name, overrides, {"steps": steps, "full": full or bool(sources) and "full" in keywords("attack", name) or None})
    announce(voice, model)
    network = {"labels": labels, "sample_rate": sample_rate, "trust": trust_model_file, "device": checked_device(device)}
    measures.check(quality, "--quality")
    job = replace(prepared(name, options, budgets, defense, model, network, target, seed, sources), quality=quality,
                  details=tuple((key, value) for key, value in network.items() if value and key != "device"))
    where = chosen_engine(engine, address, cores, gpus, voice)
    if at is not None:
        if where:
            raise ConfigError("--at: is work for one process, leave out --engine")
        return attack_inside(job, files, at, out, voice)
    check_folder(out, job.identity(files))
    clips = read_clips(files, job, voice)
    check_queries_left(job.attack, job.model, len(clips))
    check_engine(job, where)
    taught = learn(job, files)
    rows, failed = attacked(job, clips, out, voice, where)
    if taught:
        voice.say(f"{taught}: {shown(out / LEARNED)}")
    have = {row["clip"] for row in rows}
    clips = [clip for clip in clips if f"{clip.stem}.wav" in have]
    for clip, row in zip(clips, rows):
        describe(clip, row, out, voice)
    summarise(rows, job, voice)
    voice.advise(("a page to listen to", ("report", out)), ("through a codec", ("defend", out / rows[0]["adversarial_audio"], "--defense", "mp3:32", "--out", "defended")))
    voice.document([document(clip, row, out) for clip, row in zip(clips, rows)])
    tell_failures(failed, "clips", out)


def attack_options(name: str, overrides: Sequence[str], given: dict[str, Any]) -> dict[str, Any]:
    """The attack's keywords from `--set` and from options of their own (None where not given). Raises ConfigError: unknown, or of another type."""
    from ..config import keywords_of, parse_override

    options = dict(parse_override(word) for word in overrides) | {key: value for key, value in given.items() if value is not None}
    return keywords_of("attack", name, options, f"--attack {shown(name)}")


def prepared(name: str, options: dict, budgets: Sequence[str], defense: str, word: str, network: dict, target: str | None, seed: int,
             sources: Sequence[str] = ()) -> Job:
    """Attack, budget and defended network from their words; the network is loaded last. Raises SpeechAdvError."""
    from .. import load_model
    from ..attacks.offered import check_offered
    from ..budgets import parse_budget
    from ..defenses import Defended, defense_name, parse_defense
    from ..registry import closest, create
    from .crafting import searched_on, sent_on

    attack = create("attack", name, **options)
    parse_budget(budgets)  # what is misspelt is told before the network is loaded
    sent = sent_on(attack, sources, word, defense.strip())
    model = load_model(word, **network)
    if target is not None and target not in model.labels:
        raise ConfigError(f"--target '{shown(target)}': the network does not know this word{closest(target, model.labels)} "
                          f"(known: {shown(', '.join(model.labels))})")
    chain, budget = parse_defense(defense, model.sample_rate), parse_budget(budgets, model.sample_rate)
    defended = Defended(model, *chain).to(network["device"]).eval()
    searched = searched_on(attack, sources, model, defended, network)
    check_offered(attack, searched)
    return Job(name, options, attack, budget, defense_name(chain), word, defended, target, seed, network["device"], searched=searched,
               sources=tuple(sources), sent_on=sent)


def read_clips(files: Sequence[Path], job: Job, voice: Voice) -> list[Clip]:
    """The files in memory, and what the (defended) network hears in them now. What there is to notice is told once all of them could be read."""
    import torch

    from .. import audio

    notices: list[str] = []
    clips = [Clip(file, stem, torch.from_numpy(audio.read(file, job.model.sample_rate, SECONDS, notices.append)))
             for file, stem in zip(files, unique_stems(files, LONGEST_ENDING))]
    for batch in batches(clips):
        for clip, word in zip(batch, heard_in(job.model, [clip.waveform for clip in batch], batch, job.device)[0]):
            clip.heard = word
            if word == job.target:
                notices.append(f"'{shown(clip.file)}': is heard as '{shown(word)}' already and is left as it is")
    for line in notices:
        voice.notice(line)
    return clips


def batches(clips: list[Clip]) -> Iterator[list[Clip]]:
    """At most BATCH clips at a time."""
    for start in range(0, len(clips), BATCH):
        yield clips[start : start + BATCH]


def heard_in(model, waveforms: list, clips: list[Clip], device: str) -> tuple[list[str], list[dict[str, float]]]:
    """What the model hears: the words, and the likeliest ones with their probabilities. Raises InputError where it answers with NaN."""
    import torch

    from ..attacks.base import frozen, padded_call
    from ..evaluation.hearing import likeliest, words
    from ..randomness import clip_generators

    drawn = clip_generators(0, "heard", [clip.stem for clip in clips])  # of what is random on the way
    with frozen(model), torch.no_grad():
        logits = padded_call(model, torch.stack(waveforms).to(device), drawn)
    for clip, row in zip(clips, logits):
        if not row.isfinite().all():
            raise InputError(f"'{shown(clip.file)}': the model answers with NaN or infinite logits")
    return words(logits, model.labels), likeliest(logits, model.labels)


def check_folder(out: Path, identity: dict[str, Any]) -> None:
    """Raise InputError unless results can go there: a new or empty folder, or one that this very command made (it is made again)."""
    from ..audio import ASIDE
    from ..evaluation.folder import ENVIRONMENT, read_json

    if out.exists() and not out.is_dir():
        raise InputError(f"--out '{shown(out)}': expected a folder, got a file")
    if out.is_dir() and any(not file.name.startswith(ASIDE) for file in out.iterdir()):
        made = read_json(out / ENVIRONMENT) if (out / ENVIRONMENT).is_file() else None
        if not isinstance(made, dict) or made.get("command") != identity:
            raise InputError(f"--out '{shown(out)}': expected an empty or new folder, or one of the same command; name another one")
    check_writable(out)


def attacked(job: Job, clips: list[Clip], out: Path, voice: Voice, engine: Any = None) -> tuple[list[dict[str, Any]], int]:
    """Attack all clips, write everything, and return a row a clip, scored on what the files hold, and the number of those that failed."""
    from .. import config as configs
    from ..audio import write_bytes
    from ..evaluation.environment import environment
    from ..evaluation.folder import CONFIG, ENVIRONMENT, ROWS, write_json
    from ..evaluation.rows import rewrite
    from ..locks import locked
    from .crafter import craft
    from .crafting import save_learned

    settings = as_evaluation(job, clips)
    about = environment(job.device, [job.seed]) | {"command": job.identity([clip.file for clip in clips])}
    out.mkdir(parents=True, exist_ok=True)
    with locked(out), voice.bar(len(clips), "attacking") as advance:
        check_folder(out, about["command"])  # it may have been another command's in between
        write_json(out / ENVIRONMENT, about)
        save_learned(job, out)
        rows, failed = craft(job, clips, out, engine, advance, voice.notice)
        # A clip that was heard as the target from the start is no success: reports must not count it.
        rewrite(out / ROWS, [row for row in rows if row["clean_prediction"] != row["target"]])
        write_bytes(out / CONFIG, configs.dumps(settings).encode("utf-8"))
    return rows, failed


def as_evaluation(job: Job, clips: list[Clip]):
    """The same as the config of an evaluation, which is what `speechadv report` reads."""
    from ..evaluation.settings import EvaluationConfig

    return EvaluationConfig(
        attacks=[{"name": job.name, **job.options}], budgets=[job.budget.name], models=[job.word], defenses=[job.defense], task=list(job.model.labels),
        goal="targeted" if job.target is not None else "untargeted", threats=[job.threat], source=list(job.sources) or None, seeds=[job.seed], quality=list(job.quality),
        data=[shown(clip.file) for clip in clips])


def attack_batch(job: Job, clips: list[Clip], out: Path, advance) -> list[dict[str, Any]]:
    """The rows of some clips; their sound is written."""
    import torch

    from ..randomness import clip_generators

    clean = torch.stack([clip.waveform for clip in clips])
    cell = "|".join((job.word, job.defense, job.name, *(f"{key}={value}" for key, value in sorted(job.options.items())), job.budget.name))
    result = job.attack(job.searched, clean.to(job.device), goal(job, clips), job.budget,
                        generators=clip_generators(job.seed, cell, [clip.stem for clip in clips]), progress=advance)
    saved = save(job, clips, result.adversarial.cpu(), out)
    common = {"model": job.word, "defense": job.defense, "attack": job.name, "threat": job.threat,
              "adaptive": job.threat == "adaptive" or job.defense == "none" and not job.sources, "budget": job.budget.name, "seed": job.seed, "target": job.target}
    spent = {"passes": result.passes.tolist(), "queries": result.queries.tolist()}
    columns = saved | spent
    rows = [common | {"clip": f"{clip.stem}.wav", "label": columns["clean_prediction"][i]} | {key: values[i] for key, values in columns.items()}
            for i, clip in enumerate(clips)]
    return [row | {"reached": reached(row)} for row in rows]


def reached(row: dict[str, Any]) -> bool:
    """Whether the saved file is heard as the target, or without one as anything else than before."""
    after = row["adversarial_prediction"]
    return after == row["target"] if row["target"] is not None else after != row["clean_prediction"]


def goal(job: Job, clips: list[Clip]):
    """Towards the target, or away from what is heard now."""
    import torch

    from ..goals import Misclassify, Target

    labels = list(job.searched.labels)
    wanted = torch.tensor([labels.index(job.target if job.target is not None else clip.heard) for clip in clips], device=job.device)
    return Misclassify(wanted) if job.target is None else Target(wanted)


def save(job: Job, clips: list[Clip], adversarial, out: Path) -> dict[str, list]:
    """Write the sound of some clips, and measure what the files hold. Returns columns of rows."""
    import torch

    from ..evaluation.quality import measure
    from ..evaluation.sounds import amplified, levels, saved
    from ..randomness import clip_generators, drawing

    rate = job.model.sample_rate

    def kept(kind: str, waveforms) -> tuple[list[str], list]:
        names = [f"{clip.stem}.{kind}.wav" for clip in clips]
        return names, [saved(out, name, waveform, rate) for name, waveform in zip(names, waveforms)]

    clean_names, clean = kept("clean", [clip.waveform for clip in clips])
    names, heard = kept("adversarial", adversarial)
    louder = [amplified(after - before) for before, after in zip(clean, heard)]
    changes, _ = kept("perturbation", [sound for sound, _ in louder])
    before = heard_in(job.model, clean, clips, job.device)
    if job.defense == "none":
        behind_names, after = [None] * len(clips), heard_in(job.model, heard, clips, job.device)
    else:
        with torch.no_grad(), drawing(job.model, clip_generators(job.seed, "defended", [clip.stem for clip in clips])):
            behind_names, behind = kept("defended", job.model.defend(torch.stack(heard).to(job.device)).cpu())
        after = heard_in(job.model.model, behind, clips, job.device)
    columns = {f"{name}_{what}": values for name, both in (("clean", before), ("adversarial", after)) for what, values in zip(("prediction", "probabilities"), both)}
    return columns | {"defended_audio": behind_names} | levels(torch.stack(clean), torch.stack(heard), rate) | measure(job.quality, torch.stack(clean), torch.stack(heard), rate) | {
        "clean_audio": clean_names, "adversarial_audio": names, "perturbation_audio": changes, "perturbation_gain_db": [gain for _, gain in louder]}


def document(clip: Clip, row: dict[str, Any], out: Path) -> dict[str, Any]:
    """A clip's entry of the JSON document."""
    from ..evaluation.quality import part_of

    return {"file": str(clip.file), "heard_before": row["clean_prediction"], "heard_after": row["adversarial_prediction"], "target": row["target"],
            "reached": row["reached"], "linf": row["linf"], "snr_db": row["snr_db"], "masking_excess_db": row["masking_excess_db"], **part_of(row),
            "out": str(out / row["adversarial_audio"])}


def describe(clip: Clip, row: dict[str, Any], out: Path, voice: Voice) -> None:
    """A clip's lines for people."""
    from ..evaluation.quality import in_words

    before, after = row["clean_prediction"], row["adversarial_prediction"]
    wanted = "" if row["target"] is None else f", target '{shown(row['target'])}' " + ("reached" if row["reached"] else "not reached")
    voice.say(f"{shown(clip.file)}: heard as '{shown(before)}' before and as '{shown(after)}' after{wanted}")
    voice.say(f"    {loudness(row)}; {row['passes']} passes" + (f", {row['queries']} queries" if row["queries"] else ""))
    for line in in_words(row):
        voice.say(f"    {line}")
    louder = f"; what was added, {row['perturbation_gain_db']} dB louder: {shown(out / row['perturbation_audio'])}" if row["linf"] else ""
    voice.say(f"    {shown(out / row['adversarial_audio'])}{louder}")


def loudness(row: dict[str, Any]) -> str:
    """The levels of a row in words, each with its unit."""
    from ..audio import amplitude_to_dbfs, amplitude_to_lsb

    if not row["linf"]:
        return "unchanged"
    snr = "SNR undefined (the clip is silent)" if row["snr_db"] is None else f"SNR {row['snr_db']:.1f} dB"
    return (f"{snr}, L-infinity {row['linf']:.5f} of full scale ({amplitude_to_lsb(row['linf']):.0f} LSB, {amplitude_to_dbfs(row['linf']):.1f} dBFS), "
            f"{row['masking_excess_db']:+.1f} dB against the masking threshold")


def summarise(rows: list[dict[str, Any]], job: Job, voice: Voice) -> None:
    """The last line: how many of those that could be moved were."""
    moved = [row for row in rows if row["clean_prediction"] != row["target"]]
    wanted = "another word" if job.target is None else f"'{shown(job.target)}'"
    voice.say(f"{sum(row['reached'] for row in moved)} of {len(moved)} heard as {wanted} within {job.budget.name} (attack {job.name})")
