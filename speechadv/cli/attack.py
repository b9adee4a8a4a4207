"""`speechadv attack`: anyone's sound files, made to sound like another word to a network."""
from dataclasses import replace
from pathlib import Path
from typing import Any, Sequence

import click

from ..errors import ConfigError, shown
from .attack_words import describe, document, summarise
from .attacking import Job, attacked, check_folder, read_clips
from .common import Voice, announce, checked_device, device_option, json_option, model_details, model_option, out_option, quiet_option, seed_option
from .crafting import LEARNED
from .engines import chosen_engine, engine_options, tell_failures


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
