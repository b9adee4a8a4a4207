"""`speechadv export`: a model as a file for other programs, with its card and a report of how far it says the same."""
import json
from pathlib import Path
from typing import Any

import click

from ..errors import ConfigError, InputError, shown
from .common import Voice, announce, check_writable, json_option, model_details, quiet_option

CALIBRATION = 256  # clips, unless said otherwise


@click.command("export", epilog="Example: speechadv export resnet-at --format onnx --int8 --out resnet-at.int8.onnx")
@click.argument("model")
@click.option("--format", "kind", type=click.Choice(["onnx", "torch-export"]), default="onnx", show_default=True, help="ONNX, or torch.export (a .pt2 file).")
@click.option("--int8", is_flag=True, help="ONNX with int8 weights and activations, by static quantisation; the front end stays float.")
@click.option("--calibration", type=click.IntRange(1, 100000), metavar="CLIPS",
              help=f"With --int8: how many clips of the train split say how large activations are, by default {CALIBRATION}; without data the bundled ones.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The file that is written: .onnx or .pt2.")
@model_details
@json_option
@quiet_option
def command(model, kind, int8, calibration, out, labels, sample_rate, trust_model_file, as_json, quiet):
    """Write MODEL as FILE: one second of sound in, logits out, the front end inside, any number of clips at a time.

    FILE.toml is its card, so that `--model onnx:FILE` reads it back; FILE.parity.json tells how far the file says what the model says: the largest
    difference of a logit and the share of equal verdicts on the bundled clips, and on the validation split where SPEECHADV_DATA names data. Both
    name the SHA-256 of FILE.
    """
    from .. import load_model

    voice = Voice(as_json, quiet)
    if calibration and not int8:
        raise ConfigError("--calibration: belongs to --int8")
    check_target(out, kind, int8)
    announce(voice, model)
    network = load_model(model, labels=labels, sample_rate=sample_rate, trust=trust_model_file)
    content, quantisation = made(network, model, kind, (calibration or CALIBRATION) if int8 else None, voice)
    report = parity(network, content, kind, {"model": model, "format": kind, "int8": int8, "calibration": quantisation}, voice)
    write(out, content, network, report)
    show(out, report, voice)


def check_target(out: Path, kind: str, int8: bool) -> None:
    """Raise ConfigError or InputError unless the file, its card and its report can be made there."""
    from ..models.exporting import FORMATS

    if int8 and kind != "onnx":
        raise ConfigError("--int8: expected --format onnx")
    if out.suffix != FORMATS[kind]:
        raise ConfigError(f"--out '{shown(out)}': expected a name that ends in {FORMATS[kind]}")
    for path in (out, *beside(out)):
        if path.exists():
            raise InputError(f"--out '{shown(out)}': '{shown(path)}' exists; name another file")
    check_writable(out.parent)


def beside(out: Path) -> tuple[Path, Path]:
    """The card and the report of a file."""
    return Path(f"{out}.toml"), Path(f"{out}.parity.json")


def made(network, word: str, kind: str, calibration: int | None, voice: Voice) -> tuple[bytes, dict[str, Any] | None]:
    """The content of the file, and what its int8 ranges were taken from."""
    from ..evaluation.parity import bundled, of_split
    from ..models.exporting import exported, quantised

    content = exported(network, kind, f"--model '{shown(word)}'")
    if calibration is None:
        return content, None
    spoken = of_split(network.labels, network.sample_rate, "train", calibration)
    if spoken is None:
        spoken = bundled(network.labels, network.sample_rate)
        voice.notice("no training clips of this task (SPEECHADV_DATA): int8 ranges are taken from the bundled clips")
    clips = spoken.waveforms[:calibration]
    return quantised(content, network, clips), {"source": spoken.source, "clips": len(clips)}


def parity(network, content: bytes, kind: str, about: dict[str, Any], voice: Voice) -> dict[str, Any]:
    """The content of the report."""
    import hashlib

    from ..evaluation.parity import bundled, compared, of_split
    from ..models.exporting import reader

    hear = reader(content, kind, len(network.labels), network.sample_rate)
    sets = [bundled(network.labels, network.sample_rate), of_split(network.labels, network.sample_rate, "validation")]
    if sets[1] is None:
        voice.notice("no validation clips of this task (SPEECHADV_DATA): compared on the bundled clips alone")
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **about, "compared": [compared(network, hear, each) for each in sets if each]}


def write(out: Path, content: bytes, network, report: dict[str, Any]) -> None:
    """The file, its card and its report; the file last, so that it never lies there without them."""
    import tomli_w

    from ..audio import write_bytes

    card = {"labels": list(network.labels), "sample_rate": network.sample_rate, "samples": network.sample_rate, "outputs": "logits",
            "sha256": report["sha256"], "about": f"speechadv export {report['model']}", "front_end": {"kind": "raw"}}
    card_file, report_file = beside(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(report_file, (json.dumps(report, indent=1, allow_nan=False) + "\n").encode("ascii"))
    write_bytes(card_file, tomli_w.dumps(card).encode("utf-8"))
    write_bytes(out, content)


def show(out: Path, report: dict[str, Any], voice: Voice) -> None:
    """The report for people."""
    voice.say(f"{shown(out)}: {report['bytes']:,} bytes, SHA-256 {report['sha256']}")
    if report["calibration"]:
        voice.say(f"int8 ranges from {report['calibration']['clips']} clips ({report['calibration']['source']})")
    for each in report["compared"]:
        line = f"{each['source']}: {each['equal_verdicts']:.2%} of {each['clips']} verdicts equal, largest logit difference {each['largest_logit_difference']:.3g}"
        if each["accuracy"] is not None:
            line += f"; accuracy {each['accuracy']:.2%} before and {each['accuracy_exported']:.2%} after"
        voice.say(line)
    voice.say(f"card: {shown(beside(out)[0])}; report: {shown(beside(out)[1])}")
    reader = ("--model", f"onnx:{out}") if report["format"] == "onnx" else ("--model", f"torch-export:{out}", "--trust-model-file")
    voice.advise(("heard with it", ("classify", "FILE.wav", *reader)), ("attacked", ("attack", "FILE.wav", "--target", "WORD", "--budget", "snr:30", *reader, "--out", "out")))
    voice.document({"out": str(out)} | report)
