"""Makes the clips in speechadv/data/bundled: synthetic voices saying the keywords and other words, and made noise for silence.

    python data/make_bundled_clips.py --kokoro-voices package/voices

data/README.md says how to get the engines. A word becomes a candidate with every voice of every engine; a recogniser that has nothing to do
with speechadv listens to each finished candidate; of those it understands, the most varied set of voices is kept.
"""

import csv
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import soundfile

from clipmaker.engines import Festival, Flite, Kokoro
from clipmaker.recogniser import Recogniser
from clipmaker.sound import LONGEST_WORD, SAMPLE_RATE, SILENCES, placed, silence, trimmed
from clipmaker.words import KEYWORDS, OTHER_WORDS

HERE = Path(__file__).resolve().parent
STATEMENT = (
    "Every voice in these clips is synthetic: no human being was recorded for them. They are held out: never train, tune or choose anything on them."
)
KOKORO_VOICES_PER_OTHER_WORD = 4  # other words need one clip each, and Kokoro is the slow engine


@dataclass
class Candidate:
    """One word said once, as it would be saved, and what the recogniser made of it."""

    label: str
    word: str
    voice: str
    engine: str
    parameters: dict[str, float]
    samples: np.ndarray | None = field(repr=False)
    heard: str = ""
    chosen: bool = False

    @property
    def understood(self) -> bool:
        return self.heard == self.word


def random_for(seed: int, *names: object) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32("/".join(map(str, names)).encode())])


def takes(engine, word: str, voice: str, seed: int, recogniser: Recogniser) -> Iterator[Candidate]:
    """Says a word at one setting after another until as many takes are understood as the engine is asked for."""
    understood = 0
    for number, parameters in enumerate(engine.settings(voice)):
        if understood == engine.takes:
            return
        spoken = trimmed(*engine.say(word, voice, **parameters))
        label = word if word in KEYWORDS else "_unknown_"
        candidate = Candidate(label, word, f"{engine.name}-{voice.replace('_', '-')}", engine.name, parameters, None, "(too long)")
        if len(spoken) <= LONGEST_WORD:
            candidate.samples = placed(spoken, random_for(seed, word, candidate.voice, number))
            candidate.heard = recogniser.hear(candidate.samples)
        understood += candidate.understood
        yield candidate


def candidates(engines, seed: int, recogniser: Recogniser) -> Iterator[Candidate]:
    for turn, word in enumerate(KEYWORDS + OTHER_WORDS):
        for engine in engines:
            voices = engine.voices
            if word in OTHER_WORDS and engine.name == "kokoro":
                voices = [voices[(turn * KOKORO_VOICES_PER_OTHER_WORD + i) % len(voices)] for i in range(KOKORO_VOICES_PER_OTHER_WORD)]
            for voice in voices:
                yield from takes(engine, word, voice, seed, recogniser)


def choose(pool: list[Candidate], count: int, shares: dict[str, int], used: Counter, seed: int) -> list[Candidate]:
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
        made.append(Candidate("_silence_", "_silence_", f"noise-{name}", "noise", {"level_dbfs": level}, samples, heard, chosen=True))
    return made


def save(clips: list[Candidate], out: Path) -> list[dict]:
    """Writes the clips as OUT/WORD/VOICE_nohash_N.flac, in place of those that the manifest there names; returns the manifest's entries."""
    manifest = out / "manifest.json"
    if manifest.exists():
        for old in json.loads(manifest.read_text())["clips"]:
            (out / old["file"]).unlink(missing_ok=True)
    entries, takes_so_far = [], Counter()
    for clip in clips:
        stem = f"{clip.word}/{clip.voice}_nohash_{takes_so_far[clip.word, clip.voice]}"
        takes_so_far[clip.word, clip.voice] += 1
        path = out / f"{stem}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, clip.samples, SAMPLE_RATE, subtype="PCM_16", format="FLAC", compression_level=1.0)
        entries.append(entry(clip, stem, path))
    return entries


def entry(clip: Candidate, stem: str, path: Path) -> dict:
    wave = clip.samples / 32768
    return {
        "name": f"{stem}.wav",
        "file": f"{stem}.flac",
        "label": clip.label,
        "text": "" if clip.engine == "noise" else clip.word,
        "voice": clip.voice,
        "engine": clip.engine,
        "parameters": clip.parameters,
        "heard": clip.heard,
        "samples": len(wave),
        "peak": round(float(np.abs(wave).max()), 4),
        "rms_dbfs": round(float(10 * np.log10(np.square(wave).mean())), 1),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "held_out": True,
    }


def write_candidates(path: Path, tried: list[Candidate]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("word", "voice", "parameters", "heard", "understood", "chosen"))
        for c in tried:
            parameters = " ".join(f"{key}={value}" for key, value in c.parameters.items())
            writer.writerow((c.word, c.voice, parameters, c.heard, int(c.understood), int(c.chosen)))


@click.command(help=__doc__)
@click.option("--kokoro-voices", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, help="Folder of the .bin voices.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=HERE.parent / "speechadv/data/bundled", help="Where the clips go.")
@click.option("--candidates-csv", type=click.Path(dir_okay=False, path_type=Path), default=HERE / "bundled_candidates.csv", help="All that was tried.")
@click.option("--per-label", type=click.IntRange(1, len(SILENCES)), default=9, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(kokoro_voices: Path, out: Path, candidates_csv: Path, per_label: int, seed: int) -> None:
    recogniser = Recogniser()
    engines = (Kokoro(kokoro_voices), Flite(), Festival())
    tried = []
    for candidate in candidates(engines, seed, recogniser):
        tried.append(candidate)
        click.echo(f"{candidate.word:8} {candidate.voice:32} {candidate.parameters} -> {candidate.heard}")
    used, shares, clips = Counter(), {engine.name: engine.share for engine in engines}, []
    for label in (*KEYWORDS, "_unknown_"):
        chosen = choose([c for c in tried if c.label == label], per_label, shares, used, seed)
        if len(chosen) < per_label:
            raise SystemExit(f"{label}: only {len(chosen)} of {per_label} clips were understood")
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
    write_candidates(candidates_csv, tried)
    size = sum((out / e["file"]).stat().st_size for e in document["clips"])
    click.echo(f"{len(clips)} clips, {len({c.voice for c in clips if c.engine != 'noise'})} voices, {size / 1e6:.2f} MB in {out}")


if __name__ == "__main__":
    main()
