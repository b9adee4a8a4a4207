"""`speechadv attack --at SECONDS`: a word hidden or inserted inside a long recording."""
from pathlib import Path
from typing import Any, Sequence

from ..errors import ConfigError, InputError, shown
from .common import Voice, unique_stems

ENDING = ".adversarial.wav"
REPORT = "listening.json"


def attack_inside(job, files: Sequence[Path], at: float, out: Path, voice: Voice) -> None:
    """Attack the second from `at` on and listen to the whole recording again.

    Raises:
        ConfigError: several files, a negative time, another network to search on, or an attack that has to learn from many clips.
        InputError: the recording ends before, or there is no word to hide.
    """
    from ..evaluation.inside import heard_in
    from .attacking import check_folder

    if len(files) != 1 or not 0 <= at < 1e7:
        raise ConfigError(f"--at {at:g}: expected one FILE and seconds from 0 on, got {len(files)} files")
    if getattr(job, "sources", ()) or getattr(job.attack, "learns", False):
        raise ConfigError(f"--at {at:g}: expected an attack on --model itself that learns nothing from other clips, without --source")
    identity = job.identity(files) | {"at": at}
    check_folder(out, identity)
    file, span = files[0], (at, at + 1.0)
    before = listened(job, file, voice.notice)
    hidden = None
    if job.target is None:
        words = heard_in(before, None, span)
        if not words:
            raise InputError(f"--at {at:g}: no word is heard in '{shown(file)}' from {span[0]:g} to {span[1]:g} s: nothing to hide")
        hidden = max(words, key=lambda word: word.score).word
    result = crafted(job, file, at, hidden, identity, out, voice)
    after = listened(job, out / result["out"])
    show(conclusion(job, file, span, hidden, before, after, result, out), out, voice)


def listened(job, file: Path, notice=None) -> list:
    """The words of a recording, with the settings that `speechadv listen` has by itself."""
    from .. import audio
    from ..evaluation.listening import Listening, detections

    return list(detections(job.model, audio.stream(file, job.model.sample_rate, notice or audio.silent), Listening(), job.device))


def crafted(job, file: Path, at: float, hidden: str | None, identity: dict[str, Any], out: Path, voice: Voice) -> dict[str, Any]:
    """Attack the span, write everything; the row of the span and the name of the whole recording."""
    import torch

    from .. import audio
    from .. import config as configs
    from ..attacks.offered import check_queries_left
    from ..evaluation.environment import environment
    from ..evaluation.folder import CONFIG, ENVIRONMENT, ROWS, locked, write_json
    from ..evaluation.inside import place, write_with_span
    from ..evaluation.rows import rewrite
    from .attacking import Clip, as_evaluation

    rate = job.model.sample_rate
    where = place(audio.stream(file, rate), at, rate, f"'{shown(file)}'")
    stem = unique_stems([file], f".at-{at:g}s.perturbation.wav")[0]
    clip = Clip(file, f"{stem}.at-{at:g}s", torch.from_numpy(where.span))
    model = overlapping(job, where, hidden)
    check_queries_left(job.attack, job.model, len(model.offsets))
    about = environment(job.device, [job.seed]) | {"command": identity}
    out.mkdir(parents=True, exist_ok=True)
    with locked(out), voice.bar(1, "attacking") as advance:
        write_json(out / ENVIRONMENT, about)
        row, span = attacked(job, clip, model, out, advance)
        rewrite(out / ROWS, [row])
        audio.write_bytes(out / CONFIG, configs.dumps(as_evaluation(job, [clip])).encode("utf-8"))
        write_with_span(file, out / f"{stem}{ENDING}", where, span.numpy(), rate)
    return {"out": f"{stem}{ENDING}", "row": row}


def attacked(job, clip, model, out: Path, advance) -> tuple[dict[str, Any], Any]:
    """The row of the span, and the span as its file holds it."""
    import torch

    from .. import audio
    from ..goals import Target
    from ..randomness import clip_generators
    from ..registry import create, keywords
    from .attacking import reached, save

    full = {"full": True} if "full" in keywords("attack", job.name) else {}  # what leaves early stands at the edge of the threshold
    attack = create("attack", job.name, **(job.options | full))
    cell = "|".join((job.word, job.defense, job.name, *(f"{key}={value}" for key, value in sorted(job.options.items())), job.budget.name))
    result = attack(model, clip.waveform[None].to(job.device), Target(torch.zeros(1, dtype=torch.int64, device=job.device)), job.budget,
                    generators=clip_generators(job.seed, cell, [clip.stem]), progress=advance)
    columns = save(job, [clip], result.adversarial.cpu(), out) | {"passes": result.passes.tolist(), "queries": result.queries.tolist()}
    row = {"model": job.word, "defense": job.defense, "attack": job.name, "threat": job.threat, "adaptive": job.threat == "adaptive" or job.defense == "none",
           "budget": job.budget.name, "seed": job.seed, "target": job.target, "clip": f"{clip.stem}.wav", "label": columns["clean_prediction"][0]}
    row |= {key: values[0] for key, values in columns.items()}
    return row | {"reached": reached(row)}, torch.from_numpy(audio.read(out / row["adversarial_audio"], job.model.sample_rate))


def overlapping(job, where, hidden: str | None):
    """The classifier that the attack searches on: all windows that overlap the span, and what each may hear."""
    import torch

    from ..attacks.base import frozen
    from ..evaluation.inside import Overlapping, allowed_labels, central_windows, overlapping_windows
    from ..evaluation.listening import Listening

    how, labels, rate = Listening(), job.model.labels, job.model.sample_rate
    offsets = overlapping_windows(where, round(how.hop * rate), len(where.span))
    anything = torch.ones(len(offsets), len(labels), dtype=torch.bool)
    model = Overlapping(job.model, where, offsets, anything).to(job.device).eval()
    with frozen(model), torch.no_grad():
        heard = [labels[index] for index in model.windows(torch.from_numpy(where.span)[None].to(job.device))[0].argmax(1).tolist()]
    model.allowed = allowed_labels(heard, labels, job.target, hidden, central_windows(offsets, where, how)).to(job.device)
    return model


def conclusion(job, file: Path, span, hidden: str | None, before, after, result, out: Path) -> dict[str, Any]:
    """What listening again says; also written as listening.json."""
    from ..evaluation.folder import write_json
    from ..evaluation.inside import differences, heard_in

    changed = differences(before, after, job.target, hidden, span)
    now = heard_in(after, job.target or hidden, span)
    row = result["row"]
    content = {"file": str(file), "out": str(out / result["out"]), "from": span[0], "to": span[1], "hidden": hidden, "inserted": job.target,
               "reached": bool(now) if job.target else not now, **{key: row[key] for key in ("linf", "snr_db", "masking_excess_db", "passes", "queries")},
               "new_words": [word.as_dict() for word in changed["new"]], "lost_words": [word.as_dict() for word in changed["lost"]],
               "heard_before": [word.as_dict() for word in before], "heard_after": [word.as_dict() for word in after]}
    write_json(out / REPORT, content)
    return content


def show(content: dict[str, Any], out: Path, voice: Voice) -> None:
    """The outcome for people."""
    from .attack_words import loudness

    wanted = f"'{shown(content['inserted'])}' inserted" if content["inserted"] else f"'{shown(content['hidden'])}' hidden"
    voice.say(f"{shown(content['file'])}, {content['from']:g} to {content['to']:g} s: {wanted if content['reached'] else f'not reached: {wanted}'}")
    voice.say(f"    over the changed second: {loudness(content)}; {content['passes']} passes, {content['queries']} queries")
    for key, what in (("new_words", "heard now and not before"), ("lost_words", "heard before and not now")):
        for word in content[key]:
            voice.say(f"    {what}: '{shown(word['word'])}' at {word['time']:.2f} s ({word['score']:.0%})")
    if not content["new_words"]:
        voice.say("    no new word elsewhere")
    voice.say(f"    {shown(content['out'])}; {shown(out / REPORT)}")
    voice.document(content)
