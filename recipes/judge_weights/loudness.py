"""Which clips fall: the verdicts of a finished run by how loud the words are, in eight parts of as many clips. Nothing is attacked again.

    python recipes/judge_weights/loudness.py runs/judge_weights
"""
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
import numpy as np
from _files import started

PARTS = 8
FRAMES, FRAME = 10, 400  # a word's level is that of its ten loudest frames of 25 ms
SILENCE = "_silence_"
BOTH = ("clean", "robust")


@click.command(epilog="Example: python recipes/judge_weights/loudness.py runs/judge_weights")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
def by_loudness(run):
    """Write loudness.md and loudness.csv into RUN: clean and robust accuracy (right under each untargeted adaptive attack of the run) of quiet and of loud words."""
    from speechadv.report.tables import csv_text, markdown_table, percent

    lines = table(run)
    text = markdown_table(["model", "defense", "budget", "level of the word, dBFS", "clips", "clean %", "under attack %"],
                          [[line["model"], line["defense"], line["budget"], f"{line['from']:.1f} to {line['to']:.1f}", str(line["clips"]), *(percent(line, f"{name}_accuracy") for name in BOTH)] for line in lines])
    (run / "loudness.csv").write_text(csv_text(list(lines[0]), lines), encoding="utf-8")
    (run / "loudness.md").write_text(f"{text}\n\nNoise (`{SILENCE}`) left out; in brackets 95 % Wilson intervals.\n", encoding="utf-8")
    click.echo(text)


def table(run: Path) -> list[dict]:
    """A line for each part of each model, defense and budget."""
    from speechadv.evaluation.statistics import wilson

    loud, verdicts = levels(run), right(run)
    lines = []
    for (model, defense, budget), clips in verdicts.items():
        names = sorted((name for name in clips if name in loud), key=loud.get)
        for part in filter(len, np.array_split(names, PARTS)):
            line = {"model": model, "defense": defense, "budget": budget, "from": loud[part[0]], "to": loud[part[-1]], "clips": len(part)}
            for place, name in enumerate(BOTH):
                hits = sum(clips[clip][place] for clip in part)
                low, high = wilson(hits, len(part))
                line |= {f"{name}_accuracy": hits / len(part), f"{name}_accuracy_low": low, f"{name}_accuracy_high": high}
            lines.append(line)
    return lines


def levels(run: Path) -> dict[str, float]:
    """dBFS (rms; a full-scale square wave is 0) of each word's loudest frames."""
    from speechadv import config as configs
    from speechadv.evaluation.clips import load_clips
    from speechadv.evaluation.settings import EvaluationConfig

    clips = load_clips(configs.load(EvaluationConfig, run / "config.toml"), 16000)
    sound = np.asarray(clips.pcm, np.float64)[:, : clips.pcm.shape[1] // FRAME * FRAME].reshape(len(clips.names), -1, FRAME) / 32768
    loudest = np.sort(np.square(sound).mean(2), 1)[:, -FRAMES:].mean(1)
    return {name: 10 * np.log10(max(power, 1e-12)) for name, label, power in zip(clips.names, clips.labels, loudest) if label != SILENCE}


def right(run: Path) -> dict[tuple[str, str, str], dict[str, tuple[bool, bool]]]:
    """{(model, defense, budget): {clip: (right as it is, right under every attack)}}. Raises InputError: nothing untargeted and adaptive."""
    from speechadv.errors import InputError, shown
    from speechadv.evaluation.rows import read_finished

    found = defaultdict(dict)
    for row in read_finished(run / "rows.jsonl"):
        if row["adaptive"] and row["target"] is None:
            of_cell = found[row["model"], row["defense"], row["budget"]]
            clean, robust = of_cell.get(row["clip"], (True, True))
            heard = row["clean_prediction"] == row["label"]
            of_cell[row["clip"]] = (clean and heard, robust and heard and row["adversarial_prediction"] == row["label"])
    if not found:
        raise InputError(f"'{shown(run)}': expected rows of untargeted adaptive attacks, got none: without them nothing is called robust")
    return found


if __name__ == "__main__":
    started(by_loudness)
