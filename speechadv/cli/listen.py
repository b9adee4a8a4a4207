"""`speechadv listen`: the words that a network hears in a recording of any length, and when."""
import csv
import io
from pathlib import Path

import click

from ..errors import InputError, shown
from .common import Voice, announce, check_writable, checked_device, device_option, file_word, json_option, model_details, model_option, model_words, quiet_option


@click.command("listen", epilog="Example: speechadv listen meeting.wav --model resnet-at --threshold 0.8 --out words.csv")
@click.argument("file", type=click.Path(path_type=Path))
@model_option
@model_details
@click.option("--defense", default="none", show_default=True, metavar="SPEC", help="Listen behind this defense, such as mp3:32.")
@click.option("--hop", type=float, default=0.25, show_default=True, metavar="SECONDS", help="From one window of a second to the next.")
@click.option("--smooth", type=int, default=3, show_default=True, metavar="WINDOWS", help="How many windows are averaged.")
@click.option("--threshold", type=float, default=0.6, show_default=True, metavar="PROBABILITY", help="From which average on a word counts as heard.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.csv", help="Also write the words as CSV: start, end, time, word, score.")
@device_option
@json_option
@quiet_option
def command(file, model, labels, sample_rate, trust_model_file, defense, hop, smooth, threshold, out, device, as_json, quiet):
    """Print the words that a network hears in FILE, with times and scores.

    Windows of a second slide over the recording, which may have any length: memory does not grow with it. A word is heard as long as the average
    probability of the last windows stays above the threshold; printed are the seconds where that begins and ends, where it is surest, and how sure.

    With --json: {"file", "seconds", "hop", "smooth", "threshold", "words": [{"start", "end", "time", "word", "score"}]}.
    """
    from .. import audio, load_model
    from ..defenses import Defended, parse_defense
    from ..evaluation.listening import Listening, detections

    voice, how = Voice(as_json, quiet), Listening(hop, smooth, threshold)
    check_target(out)
    announce(voice, model)
    network = load_model(model, labels=labels, sample_rate=sample_rate, trust=trust_model_file, device=checked_device(device))
    defended = Defended(network, *parse_defense(defense, network.sample_rate)).to(device).eval()
    length = Length(audio.stream(file, network.sample_rate, voice.notice))
    with voice.bar(int(audio.seconds_of(file) / hop) + 1, "listening") as advance:
        words = [word.as_dict() for word in detections(defended, length, how, device, advance)]
    for word in words:
        voice.say(line(word))
    if not words:
        voice.say("no word heard")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        audio.write_bytes(out, as_csv(words).encode("utf-8"))
    seconds = length.samples / network.sample_rate
    if words and seconds > 1:
        at = min(max(0.0, words[0]["time"] - 0.5), seconds - 1)
        voice.advise((f"'{shown(words[0]['word'])}' hidden", ("attack", file_word(file), "--untargeted", "--at", f"{int(100 * at) / 100:.2f}", "--budget", "snr:20",
                                                             *model_words(model, labels, sample_rate, trust_model_file), "--out", "hidden")))
    voice.document({"file": str(file), "seconds": round(seconds, 3), "hop": hop, "smooth": smooth, "threshold": threshold, "words": words})


class Length:
    """Blocks of sound that are counted as they pass."""

    def __init__(self, blocks):
        self.blocks, self.samples = blocks, 0

    def __iter__(self):
        for block in self.blocks:
            self.samples += len(block)
            yield block


def check_target(out: Path | None) -> None:
    """Raise InputError unless the CSV can be written."""
    if out is None:
        return
    if out.suffix != ".csv" or out.exists():
        raise InputError(f"--out '{shown(out)}': expected the name of a new file that ends in .csv")
    check_writable(out.parent)


def line(word: dict) -> str:
    """A word for people."""
    return f"{word['time']:8.2f} s  {shown(word['word']):<12} {word['score']:.1%}  ({word['start']:.2f} to {word['end']:.2f} s)"


def as_csv(words: list[dict]) -> str:
    """A line a word."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ("start", "end", "time", "word", "score"), lineterminator="\n")
    writer.writeheader()
    writer.writerows(words)
    return buffer.getvalue()
