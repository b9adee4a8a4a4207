"""`speechadv classify`: what a network hears in sound files."""
from pathlib import Path

import click

from ..errors import InputError, shown
from .common import Voice, announce, checked_device, device_option, file_word, json_option, model_details, model_option, model_words, quiet_option

SECONDS = 1.0  # what keyword spotters hear
BATCH = 64


@click.command("classify", epilog="Example: speechadv classify yes.wav no.wav --model resnet-at --top 2")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@model_option
@model_details
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many labels to print for each file.")
@device_option
@json_option
@quiet_option
def command(files, model, labels, sample_rate, trust_model_file, top, device, as_json, quiet):
    """Print the likeliest labels of sound files, with probabilities.

    Any rate and number of channels: what is resampled, mixed down or cut to one second is said. Nothing is printed unless every file can be read.

    With --json: a list of {"file", "heard", "probabilities": {label: probability}}, likeliest first.
    """
    from .. import audio, load_model

    voice = Voice(as_json, quiet)
    announce(voice, model)
    network = load_model(model, labels=labels, sample_rate=sample_rate, trust=trust_model_file, device=checked_device(device))
    waveforms = [audio.read(file, network.sample_rate, SECONDS, voice.notice) for file in files]
    results = _classify(network, files, waveforms, top, device)
    for result in results:
        heard = ", ".join(f"{shown(label)} {probability:.1%}" for label, probability in result["probabilities"].items())
        voice.say(f"{shown(result['file'])}: {heard}")
    other = next((label for label in network.labels if not label.startswith("_") and label != results[0]["heard"]), None)
    voice.advise(("another word heard", ("attack", file_word(files[0]), "--target", other or "WORD", "--budget", "snr:30",
                                         *model_words(model, labels, sample_rate, trust_model_file), "--out", "out")),
                 ("behind a codec", ("defend", file_word(files[0]), "--defense", "mp3:32", "--out", "defended")))
    voice.document(results)


def _classify(network, files, waveforms, top: int, device: str) -> list[dict]:
    import numpy as np
    import torch

    results = []
    for start in range(0, len(files), BATCH):
        batch = torch.from_numpy(np.stack(waveforms[start : start + BATCH])).to(device)
        with torch.no_grad():
            probabilities = network(batch).double().softmax(1).cpu()
        for file, row in zip(files[start : start + BATCH], probabilities):
            if not row.isfinite().all():
                raise InputError(f"'{shown(file)}': the model answers with NaN or infinite logits")
            values, order = row.topk(min(top, len(row)))
            likeliest = {network.labels[i]: p for i, p in zip(order.tolist(), values.tolist())}
            results.append({"file": str(file), "heard": next(iter(likeliest)), "probabilities": likeliest})
    return results
