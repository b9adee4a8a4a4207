"""MP3 round trips a second: LAME through lameenc at several qualities, and libsndfile alone, on one and two threads.

    python -m benchmarks.mp3_codecs

Five rounds over the bundled clips, ways alternating; prints the median and the range, and the median SNR of the decoded clip. Writes results/mp3_codecs.csv.
"""
import io
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from .rows import keep

QUALITIES = (7, 5, 2)


def sndfile_alone(kbps: int):
    """A round trip by libsndfile's own encoder at a constant bitrate."""
    import soundfile

    level = min((160 - kbps) / 152, 0.999)

    def roundtrip(samples):
        stream = io.BytesIO()
        soundfile.write(stream, samples, 16000, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=level)
        stream.seek(0)
        return soundfile.read(stream, dtype="float32")[0]

    return roundtrip


@click.command()
@click.option("--kbps", default=32, show_default=True)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/mp3_codecs.csv"), show_default=True)
def main(kbps, rounds, out):
    """Time MP3 round trips of one-second clips."""
    import numpy as np

    from speechadv.data.samples import load_bundled
    from speechadv.defenses.mp3 import MP3

    clips = np.round(load_bundled()[0] * 32768).astype(np.int16)
    codecs = {f"lameenc quality {q} + libsndfile": MP3(kbps, quality=q).roundtrip for q in QUALITIES} | {"libsndfile alone": sndfile_alone(kbps)}
    ways = [(name, threads) for name in codecs for threads in (1, 2)]
    seconds = {way: [] for way in ways}
    for _ in range(rounds):
        for name, threads in ways:
            with ThreadPoolExecutor(threads) as pool:
                started = time.perf_counter()
                list(pool.map(codecs[name], clips))
                seconds[name, threads].append(time.perf_counter() - started)
    rows = [{"codec": name, "threads": threads, "clips_per_second": round(len(clips) / statistics.median(times), 1),
             "low": round(len(clips) / max(times), 1), "high": round(len(clips) / min(times), 1),
             "snr_db_median": round(snr(clips, codecs[name]), 1) if name.startswith("lameenc") else ""} for (name, threads), times in seconds.items()]
    keep(rows, out)


def snr(clips, roundtrip) -> float:
    """Median over the clips that are no silence, in dB."""
    import numpy as np

    clean = [clip.astype(np.float64) / 32768 for clip in clips if np.abs(clip).max() > 1000]
    heard = [roundtrip((clip * 32768).astype(np.int16)) for clip in clean]
    return float(np.median([20 * np.log10(np.linalg.norm(c) / np.linalg.norm(c - h)) for c, h in zip(clean, heard)]))


if __name__ == "__main__":
    main()
