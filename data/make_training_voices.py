"""Makes synthetic voices to learn from: a folder in Speech Commands' layout whose speakers all belong to the training split.

    python data/make_training_voices.py --out runs/voices

eSpeak NG (`apt-get install espeak-ng`; GPL-3, a program that is called, no part of this project) says the ten words and some others, each speaker with an accent,
a voice, a pitch and a speed of its own. None of the bundled clips is made with it. Another seed makes other speakers; the same seed makes the same files.
"""

import hashlib
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from clipmaker.engines import run
from clipmaker.sound import LONGEST_WORD, SAMPLE_RATE, placed, trimmed
from clipmaker.words import KEYWORDS, OTHER_WORDS

from speechadv.data import official_split

ACCENTS = ("en-us", "en-us", "en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
# Voices that sound like people; eSpeak's others are robots, croaks and jokes.
VOICES = (
    *(f"m{number}" for number in range(1, 9)), *(f"f{number}" for number in range(1, 6)), "klatt", "klatt2", "klatt3", "klatt4", "adam", "Alex", "Alicia",
    "Andrea", "Andy", "Annie", "antonio", "aunty", "belinda", "benjamin", "caleb", "david", "Diogo", "ed", "edward", "grandma", "grandpa", "Henrique", "Hugo",
    "Jacky", "john", "Lee", "linda", "marcelo", "Marco", "Mario", "max", "Michael", "michel", "miguel", "Mike", "pablo", "paul", "pedro", "quincy", "rob",
    "robert", "sandro", "shelby", "steph", "steph2", "steph3", "travis", "victor", "zac", "anika",
)  # fmt: skip
OTHERS = 4  # other words of each speaker


@dataclass(frozen=True)
class Speaker:
    """Who says the words: `name` as in file names, and what eSpeak NG is told."""

    name: str
    voice: str
    pitch: int  # 0 to 99
    speed: int  # words a minute


def speaker(number: int, seed: int) -> Speaker:
    """The speaker of that number. Its name is drawn until the official rule counts it to training."""
    random = np.random.default_rng([seed, number])
    voice = f"{random.choice(ACCENTS)}+{random.choice(VOICES)}"
    names = (hashlib.sha1(f"espeak-ng {seed} {number} {attempt}".encode()).hexdigest()[:8] for attempt in range(1000))
    name = next(name for name in names if official_split(f"{name}_nohash_0.wav") == "train")
    return Speaker(name, voice, int(random.integers(15, 86)), int(random.integers(115, 211)))


def say(word: str, who: Speaker) -> np.ndarray | None:
    """The word alone at 16 kHz, or None where it is too long for a clip."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.wav"
        run(["espeak-ng", "-v", who.voice, "-p", str(who.pitch), "-s", str(who.speed), "-w", str(out), word])
        samples, rate = soundfile.read(out)
    if not samples.any():
        return None
    spoken = trimmed(samples, rate)
    return spoken if len(spoken) <= LONGEST_WORD else None


def recorded(number: int, seed: int, out: Path) -> int:
    """Write what the speaker of that number says; how many clips it was."""
    who, random, written = speaker(number, seed), np.random.default_rng([seed, number, 1]), 0
    for word in (*KEYWORDS, *random.choice(OTHER_WORDS, OTHERS, replace=False)):
        spoken = say(str(word), who)
        if spoken is not None:
            path = out / word / f"{who.name}_nohash_0.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, placed(spoken, random), SAMPLE_RATE, "PCM_16")
            written += 1
    return written


@click.command(epilog="Example: python data/make_training_voices.py --out runs/voices --speakers 20")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--speakers", type=click.IntRange(1), default=400, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(out: Path, speakers: int, seed: int) -> None:
    """Make clips of synthetic speakers, for `train_only` in a training config."""
    if not shutil.which("espeak-ng"):
        raise click.UsageError("espeak-ng is not installed (apt-get install espeak-ng)")
    if out.exists():
        raise click.UsageError(f"--out '{out}': expected a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as aside:  # whoever stops this finds no half of it
        folder, written = Path(aside, out.name), 0
        folder.mkdir()
        with ThreadPoolExecutor() as pool, click.progressbar(length=speakers, label="speakers", file=sys.stderr) as bar:
            for count in pool.map(lambda number: recorded(number, seed, folder), range(speakers)):
                written += count
                bar.update(1)
        folder.replace(out)
    click.echo(f"{written} clips of {speakers} speakers in {out}")


if __name__ == "__main__":
    main()
