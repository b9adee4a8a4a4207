"""What `speechadv attack` does: clips in memory, attacked in batches, written and scored on what the files hold."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Sequence

from ..errors import InputError, shown
from .common import Voice, check_writable, unique_stems

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
