"""Makes the clips in speechadv/data/bundled: synthetic voices saying the keywords and other words, and made noise for silence.

    python data/make_bundled_clips.py --kokoro-voices package/voices

data/README.md says how to get the engines. A word becomes a candidate with every voice of every engine; a recogniser that has nothing to do
with speechadv listens to each finished candidate, and again to disturbed copies of it; of those it understands, the most varied set is kept.
"""

import csv
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import click
import numpy as np
import soundfile

from clipmaker.engines import Festival, Flite, Kokoro
from clipmaker.recogniser import Recogniser
from clipmaker.sound import LONGEST_WORD, SAMPLE_RATE, SILENCES, disturbed, placed, silence, trimmed
from clipmaker.words import KEYWORDS, OTHER_WORDS

COLUMNS = ("word", "voice", "parameters", "heard", "heard_disturbed", "chosen")
HERE = Path(__file__).resolve().parent
STATEMENT = (
    "Every voice in these clips is synthetic: no human being was recorded for them. They are held out: never train, tune or choose anything on them."
)
KOKORO_VOICES_PER_OTHER_WORD = 4  # other words need one clip each, and Kokoro is the slow engine
HEARINGS = 3  # of disturbed copies; two must be right, since among many takes some are understood once by luck
LEAST = 8  # clips that every label must have


@dataclass
class Candidate:
    """One word said once, as it would be saved, and what the recogniser made of it."""

    label: str
    word: str
    voice: str
    engine: str
    parameters: dict[str, float]
    say: Callable[[], np.ndarray | None] = field(repr=False)  # int16 (16000,), None where the word is too long
    heard: str = ""
    heard_again: tuple[str, ...] = ()
    chosen: bool = False

    @property
    def understood(self) -> bool:
        return self.heard == self.word

    @property
    def surely(self) -> bool:
        return self.heard_again.count(self.word) >= HEARINGS - 1

    @property
    def key(self) -> tuple[str, str, str]:
        return self.word, self.voice, " ".join(f"{name}={value}" for name, value in self.parameters.items())


def random_for(seed: int, *names: object) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32("/".join(map(str, names)).encode())])


def takes(engine, word: str, voice: str, seed: int) -> Iterator[Candidate]:
    """A word at one setting of an engine's voice after another, not yet said."""
    for number, parameters in enumerate(engine.settings(voice)):
        name = f"{engine.name}-{voice.replace('_', '-')}"

        def say(parameters=parameters, name=name, number=number) -> np.ndarray | None:
            spoken = trimmed(*engine.say(word, voice, **parameters))
            return placed(spoken, random_for(seed, word, name, number)) if len(spoken) <= LONGEST_WORD else None

        label = word if word in KEYWORDS else "_unknown_"
        yield Candidate(label, word, name, engine.name, parameters, cache(say))


def tried(engine, word: str, voice: str, seed: int, recogniser: Recogniser, known: dict[tuple, str]) -> Iterator[Candidate]:
    """Says a word until as many takes are understood as the engine is asked for. What is known to have been heard is not said again."""
    understood = 0
    for candidate in takes(engine, word, voice, seed):
        if understood == engine.takes:
            return
        candidate.heard = known.get(candidate.key) or first_hearing(candidate, recogniser)
        understood += candidate.understood
        yield candidate


def first_hearing(candidate: Candidate, recogniser: Recogniser) -> str:
    samples = candidate.say()
    heard = "(too long)" if samples is None else recogniser.hear(samples) or "(nothing)"
    click.echo(f"{' '.join(candidate.key)} -> {heard}")
    return heard


def hear_again(candidate: Candidate, seed: int, recogniser: Recogniser) -> None:
    samples, random = candidate.say(), random_for(seed, "again", *candidate.key)
    candidate.heard_again = tuple(recogniser.hear(disturbed(samples, random)) for _ in range(HEARINGS))
    click.echo(f"{' '.join(candidate.key)} again -> {candidate.heard_again}")


def candidates(engines, seed: int, recogniser: Recogniser, known: dict[tuple, str]) -> Iterator[Candidate]:
    for turn, word in enumerate(KEYWORDS + OTHER_WORDS):
        for engine in engines:
            voices = engine.voices
            if word in OTHER_WORDS and engine.name == "kokoro":
                voices = [voices[(turn * KOKORO_VOICES_PER_OTHER_WORD + i) % len(voices)] for i in range(KOKORO_VOICES_PER_OTHER_WORD)]
            for voice in voices:
                yield from tried(engine, word, voice, seed, recogniser, known)


def choose(pool: list[Candidate], count: int, shares: dict[str, int], used: Counter, seed: int, recogniser: Recogniser) -> list[Candidate]:
    """Takes one clip after another: a new word before a new voice, then the engine furthest under its share, then the least used voice."""
    pool = [candidate for candidate in pool if candidate.understood]
    chosen: list[Candidate] = []
    while pool and len(chosen) < count:
        words, voices, engines = (Counter(getattr(c, key) for c in chosen) for key in ("word", "voice", "engine"))
        best = min(
            pool,
            key=lambda c: (
                words[c.word],
                voices[c.voice],
                engines[c.engine] / shares[c.engine],
                used[c.voice],
                zlib.crc32(f"{seed}/{c.word}/{c.voice}/{sorted(c.parameters.items())}".encode()),
            ),
        )
        pool.remove(best)
        hear_again(best, seed, recogniser)
        if not best.surely:
            continue
        chosen.append(best)
        used[best.voice] += 1
        best.chosen = True
    return chosen


def silences(count: int, seed: int, recogniser: Recogniser) -> list[Candidate]:
    made = []
    for name, _, level in SILENCES[:count]:
        samples = silence(name, random_for(seed, "_silence_", name))
        heard = recogniser.hear(samples)
        if heard:
            raise SystemExit(f"the recogniser hears {heard!r} in the noise {name}: change it")
        made.append(Candidate("_silence_", "_silence_", f"noise-{name}", "noise", {"level_dbfs": level}, lambda samples=samples: samples, chosen=True))
    return made


def save(clips: list[Candidate], out: Path) -> list[dict]:
    """Writes the clips as OUT/WORD/VOICE_nohash_N.flac, in place of those that the manifest there names; returns the manifest's entries."""
    manifest = out / "manifest.json"
    if manifest.exists():
        for old in json.loads(manifest.read_text())["clips"]:
            path = out / old["file"]
            path.unlink(missing_ok=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
    entries, takes_so_far = [], Counter()
    for clip in clips:
        stem = f"{clip.word}/{clip.voice}_nohash_{takes_so_far[clip.word, clip.voice]}"
        takes_so_far[clip.word, clip.voice] += 1
        path = out / f"{stem}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, clip.say(), SAMPLE_RATE, subtype="PCM_16", format="FLAC", compression_level=1.0)
        entries.append(entry(clip, stem, path))
    return entries


def entry(clip: Candidate, stem: str, path: Path) -> dict:
    wave = clip.say() / 32768
    return {
        "name": f"{stem}.wav",
        "file": f"{stem}.flac",
        "label": clip.label,
        "text": "" if clip.engine == "noise" else clip.word,
        "voice": clip.voice,
        "engine": clip.engine,
        "parameters": clip.parameters,
        "heard": clip.heard,
        "heard_disturbed": list(clip.heard_again),
        "samples": len(wave),
        "peak": round(float(np.abs(wave).max()), 4),
        "rms_dbfs": round(float(10 * np.log10(np.square(wave).mean())), 1),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "held_out": True,
    }


def use_saved(everything: list[Candidate], out: Path) -> None:
    """Takes clips that an earlier run saved from their files: an engine would say the very same samples again."""
    saved = {}
    if (out / "manifest.json").exists():
        for old in json.loads((out / "manifest.json").read_text())["clips"]:
            saved[Candidate("", old["text"], old["voice"], "", old["parameters"], lambda: None).key] = out / old["file"]
    for candidate in everything:
        if candidate.key in saved:
            candidate.say = cache(lambda path=saved[candidate.key]: soundfile.read(path, dtype="int16")[0])


def write_candidates(path: Path, everything: list[Candidate]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for c in everything:
            writer.writerow((*c.key, c.heard, " ".join(word or "-" for word in c.heard_again), int(c.chosen)))


def read_candidates(path: Path) -> dict[tuple, str]:
    with path.open(newline="") as file:
        return {(row["word"], row["voice"], row["parameters"]): row["heard"] for row in csv.DictReader(file)}


@click.command(help=__doc__)
@click.option("--kokoro-voices", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, help="Folder of the .bin voices.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=HERE.parent / "speechadv/data/bundled", help="Where the clips go.")
@click.option("--candidates-csv", type=click.Path(dir_okay=False, path_type=Path), default=HERE / "bundled_candidates.csv", help="All that was tried.")
@click.option("--per-label", type=click.IntRange(1, len(SILENCES)), default=9, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--resume", is_flag=True, help="Believe the takes in --candidates-csv (of the same seed and engines) instead of saying them again.")
def main(kokoro_voices: Path, out: Path, candidates_csv: Path, per_label: int, seed: int, resume: bool) -> None:
    recogniser = Recogniser()
    engines = (Kokoro(kokoro_voices), Flite(), Festival())
    known = read_candidates(candidates_csv) if resume else {}
    everything = list(candidates(engines, seed, recogniser, known))
    if resume:
        use_saved(everything, out)
    write_candidates(candidates_csv, everything)
    used, shares, clips = Counter(), {engine.name: engine.share for engine in engines}, []
    for label in (*KEYWORDS, "_unknown_"):
        chosen = choose([c for c in everything if c.label == label], per_label, shares, used, seed, recogniser)
        if len(chosen) < min(LEAST, per_label):
            raise SystemExit(f"{label}: only {len(chosen)} clips were surely understood")
        clips += chosen
    clips += silences(per_label, seed, recogniser)
    document = {
        "statement": STATEMENT,
        "synthetic": True,
        "held_out": True,
        "sample_rate": SAMPLE_RATE,
        "seed": seed,
        "command": f"python data/make_bundled_clips.py --kokoro-voices DIR --per-label {per_label} --seed {seed}",
        "engines": {engine.name: engine.version() for engine in engines} | {"noise": "numpy, made by the script"},
        "recogniser": recogniser.description,
        "clips": save(clips, out),
    }
    (out / "manifest.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    write_candidates(candidates_csv, everything)
    size = sum((out / e["file"]).stat().st_size for e in document["clips"])
    click.echo(f"{len(clips)} clips, {len({c.voice for c in clips if c.engine != 'noise'})} voices, {size / 1e6:.2f} MB in {out}")


if __name__ == "__main__":
    main()
