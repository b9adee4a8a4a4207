"""MP3 round trips beside the other ways to do them."""
import shutil
import subprocess
import tempfile
from pathlib import Path

import click

from ..clips import waveforms
from ..mp3_codecs import sndfile_alone
from ..timing import Comparison, seconds


def mp3(quick: bool) -> Comparison:
    """The MP3 defense on a batch, against libsndfile's encoder and decoder on one thread."""
    from speechadv.audio import to_pcm16
    from speechadv.defenses.mp3 import MP3

    size = 8 if quick else 128
    clips, _, source = waveforms(size, "cpu")
    samples, defense, peer = to_pcm16(clips.numpy()), MP3(32), sndfile_alone(32)

    def theirs():
        for clip in samples:
            peer(clip)

    def slower_qualities() -> list[str]:
        ratios = {quality: sorted(seconds(theirs) / seconds(lambda: MP3(32, quality=quality)(clips)) for _ in range(1 if quick else 5)) for quality in (5, 2)}
        return [f"at LAME's quality {quality} the ratio is {each[len(each) // 2]:.2f}" for quality, each in ratios.items()]

    return Comparison("mp3", lambda: defense(clips), theirs, "clips a second", "soundfile on one thread, as it encodes by default", 5, work=size,
                      notes=[f"{size} {source}, 32 kbit/s; LAME at quality {defense.quality}, its fastest, on {defense.threads} threads"], after=slower_qualities)


def mp3_ffmpeg(quick: bool) -> Comparison:
    """The MP3 defense on a batch, against two ffmpeg processes and three files a clip."""
    from speechadv.audio import to_pcm16, write_pcm16
    from speechadv.defenses.mp3 import MP3

    if shutil.which("ffmpeg") is None:
        raise click.ClickException("mp3_ffmpeg: ffmpeg is not installed")
    size, few = (8, 1) if quick else (128, 8)
    clips, _, source = waveforms(size, "cpu")
    defense, pcm = MP3(32), to_pcm16(clips.numpy())

    def theirs():
        with tempfile.TemporaryDirectory() as folder:
            paths = [str(Path(folder) / name) for name in ("in.wav", "middle.mp3", "out.wav")]
            for clip in pcm[:few]:
                write_pcm16(paths[0], clip.astype("float32") / 32768, 16000)
                for source_path, target in zip(paths, paths[1:]):
                    rate = ["-b:a", "32k"] if target.endswith("mp3") else []
                    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", "-i", source_path, *rate, target], check=True)

    return Comparison("mp3_ffmpeg", lambda: defense(clips), theirs, "clips a second", "two ffmpeg processes a clip", 90, work=size, their_work=few,
                      notes=[f"{size} {source} for ours, {few} for ffmpeg"])
