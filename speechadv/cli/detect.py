"""`speechadv detect`: how suspicious sound files look to a detector beside a network."""
from pathlib import Path

import click

from ..errors import ConfigError, InputError, shown
from .classify import BATCH, SECONDS
from .common import Voice, announce, checked_device, device_option, file_word, json_option, model_details, model_option, model_words, quiet_option, seed_option


@click.command("detect", epilog="Example: speechadv detect yes.wav no.wav --detector disagreement:mp3:16 --threshold 2.1")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--detector", required=True, metavar="SPEC",
              help="disagreement:SPEC[,SPEC...] with specifications of defenses, margin, margin:softmax, margin:noise=0.002, or temporal:shift=50,parts=4.")
@click.option("--threshold", type=float, help="Above it a file is suspected; fixed on clean clips, as `python recipes/detection/run.py` does.")
@model_option
@model_details
@seed_option
@device_option
@json_option
@quiet_option
def command(files, detector, threshold, model, labels, sample_rate, trust_model_file, seed, device, as_json, quiet):
    """Print how suspicious sound files look: a score each, and whether it is above the threshold.

    Any rate and number of channels: what is resampled, mixed down or cut to one second is said. Nothing is printed unless every file can be read. A
    score says nothing of an attacker who knows the detector: docs/detection.md has figures for both.

    With --json: a list of {"file", "heard", "detector", "score", "threshold", "suspected"}; the last two are null without --threshold.
    """
    from .. import audio, load_model
    from ..detectors import Watched, parse_detector

    voice = Voice(as_json, quiet)
    if threshold is not None and not abs(threshold) < float("inf"):
        raise ConfigError(f"--threshold '{threshold}': expected a finite number")
    parse_detector(detector)  # a misspelt one is told before a model is loaded
    announce(voice, model)
    network = load_model(model, labels=labels, sample_rate=sample_rate, trust=trust_model_file, device=checked_device(device))
    watched = Watched(network, parse_detector(detector, network.sample_rate).to(device))
    waveforms = [audio.read(file, network.sample_rate, SECONDS, voice.notice) for file in files]
    results = _scored(watched, files, waveforms, threshold, seed, device)
    for result in results:
        verdict = "" if threshold is None else f", {'above' if result['suspected'] else 'not above'} {threshold:g}"
        voice.say(f"{shown(result['file'])}: heard as '{shown(result['heard'])}', score {result['score']:.6g}{verdict}")
    again = model_words(model, labels, sample_rate, trust_model_file)
    voice.advise(("what is heard there", ("classify", file_word(files[0]), *again)),
                 ("an adversarial one", ("attack", file_word(files[0]), "--untargeted", "--budget", "snr:30", *again, "--out", "out")))
    voice.document(results)


def _scored(watched, files, waveforms, threshold: float | None, seed: int, device: str) -> list[dict]:
    import numpy as np
    import torch

    from ..evaluation.evasion import judged
    from ..randomness import clip_generators

    results, name = [], watched.detector.name
    for start in range(0, len(files), BATCH):
        part = files[start : start + BATCH]
        heard = torch.from_numpy(np.stack(waveforms[start : start + BATCH])).to(device)
        logits, scores = judged(watched, heard, clip_generators(seed, name, [str(file) for file in part]))
        for file, place, score in zip(part, logits.argmax(1).tolist(), scores.tolist()):
            if not abs(score) < float("inf"):
                raise InputError(f"'{shown(file)}': the detector's score is not finite: the model answers with NaN or infinite logits")
            results.append({"file": str(file), "heard": watched.labels[place], "detector": name, "score": score, "threshold": threshold,
                            "suspected": None if threshold is None else score > threshold})
    return results
