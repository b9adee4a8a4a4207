"""Clips into memory: decoded in parallel once, kept as int16 in a memory-mapped file (32 KB a clip)."""
import contextlib
import hashlib
import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Callable, Iterator, Sequence

import numpy as np
import soundfile

from .. import audio
from ..errors import InputError, shown
from .speech_commands import Clip, scan
from .tasks import background_part

CACHE_VARIABLE, BYTES_VARIABLE = "SPEECHADV_CACHE", "SPEECHADV_CACHE_BYTES"
CACHE_FROM = 1000  # clips; fewer are decoded faster than a cache is worth
CACHE_BYTES = 4 * 2**30
KEEP_UP = 0.1  # seconds between two writings of a cache file to the disk
BLOCK = 32  # clips that a thread decodes before it asks for more
LOSSLESS = ("FLAC", "WAV", "WAVEX")


def load(
    clips: Sequence[Clip], sample_rate: int = 16000, length: int = 16000, *,
    threads: int | None = None, cache_bytes: int | None = None, notice: audio.Notice = audio.silent,
) -> np.ndarray:
    """Decode clips: short ones padded with zeros at the end, longer ones cut.

    Args:
        clips: what `select` gave (without the labels).
        sample_rate: Hz.
        length: samples a clip.
        threads: decoding threads; None: as many as there are processors, eight at most.
        cache_bytes: bound on all cache files together; 0 turns the cache off; None: SPEECHADV_CACHE_BYTES, else 4 GiB. They lie in SPEECHADV_CACHE, else in the
            user's cache folder. From 1,000 clips on, if they fit, clips are read from such a file as they are needed, else held in memory.
        notice: called with what `audio.read` had to change, where files are decoded.

    Returns:
        int16 (len(clips), length), values in [-32768, 32767]; from a cache a copy-on-write memory map.

    Raises:
        InputError: a file that cannot be read, named; SPEECHADV_CACHE_BYTES is no number of bytes.
    """
    wanted = len(clips) * length * 2
    cache_bytes = cache_bound() if cache_bytes is None else cache_bytes
    if len(clips) < CACHE_FROM or wanted > cache_bytes:
        return _decode_into_memory(clips, sample_rate, length, threads, notice)
    path = cache_folder() / f"clips-{_key(clips, sample_rate, length)}.npy"
    try:
        os.utime(path)  # the last use, for the bound
        return np.load(path, mmap_mode="c")
    except (OSError, ValueError):
        return _decode_into_cache(path, clips, sample_rate, length, threads, notice, cache_bytes - wanted)


def background(roots: Sequence[str | Path], split: str = "train", sample_rate: int = 16000) -> list[np.ndarray]:
    """float32 arrays (time,), one a background recording of the roots: a split's part of each (training has the first 80 %)."""
    return [background_part(clip.path, split, sample_rate) for clip in scan(roots) if clip.split == "background"]


def cache_folder() -> Path:
    """SPEECHADV_CACHE, else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("speechadv"))


def cache_bound() -> int:
    """SPEECHADV_CACHE_BYTES, else CACHE_BYTES. Raises InputError: it is no number of bytes."""
    word = os.environ.get(BYTES_VARIABLE) or str(CACHE_BYTES)
    if not (word.isascii() and word.isdigit() and len(word) < 19):
        raise InputError(f"{BYTES_VARIABLE}: expected a number of bytes, 0 for no cache, got '{shown(word)}'")
    return int(word)


def _key(clips: Sequence[Clip], sample_rate: int, length: int) -> str:
    """A hash of everything that the decoded samples depend on: names, places, sizes, times, cuts."""
    digest = hashlib.blake2b(f"1 {sample_rate} {length}".encode(), digest_size=16)
    for clip in clips:
        try:
            status = os.stat(clip.path)
            digest.update(f"\0{clip.path}\0{status.st_size}\0{status.st_mtime_ns}\0{clip.start}\0{clip.gain!r}".encode("utf-8", "surrogateescape"))
        except OSError:
            digest.update(b"\0missing")  # decoding says which file it is
    return digest.hexdigest()


def _decode_into_cache(path: Path, clips, sample_rate, length, threads, notice, room: int) -> np.ndarray:
    """Decode into a file aside and rename it; without a cache where that cannot be written."""
    aside = path.with_name(f".{secrets.token_hex(8)}.npy")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(path.parent, room)
        with open(aside, "xb") as file, _kept_up(file):
            form = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.int16)), "fortran_order": False, "shape": (len(clips), length)}
            np.lib.format.write_array_header_1_0(file, form)
            start, turn = file.tell(), threading.Lock()

            def keep(first: int, rows: np.ndarray) -> None:
                with turn:
                    file.seek(start + first * length * rows.itemsize)
                    file.write(rows.data)

            _decode(clips, sample_rate, length, threads, notice, keep)
        os.replace(aside, path)
        return np.load(path, mmap_mode="c")
    except BaseException as problem:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        if not isinstance(problem, OSError):
            raise
    return _decode_into_memory(clips, sample_rate, length, threads, notice)


@contextlib.contextmanager
def _kept_up(file: BinaryIO) -> Iterator[None]:
    """What is written meanwhile goes to the disk meanwhile, so that there is little left to wait for at the end."""
    over = threading.Event()

    def keep_up() -> None:
        with contextlib.suppress(OSError):  # the last one meets it again
            while not over.wait(KEEP_UP):
                os.fsync(file.fileno())

    thread = threading.Thread(target=keep_up, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    file.flush()
    os.fsync(file.fileno())


def _make_room(folder: Path, room: int) -> None:
    """Remove the cache files used longest ago until the others take at most `room` bytes."""
    files = sorted(((p.stat().st_mtime, p.stat().st_size, p) for p in folder.glob("clips-*.npy")), reverse=True)
    for _, size, path in files:
        room -= size
        if room < 0:
            path.unlink(missing_ok=True)


def _decode_into_memory(clips, sample_rate, length, threads, notice) -> np.ndarray:
    array = np.empty((len(clips), length), np.int16)

    def keep(first: int, rows: np.ndarray) -> None:
        array[first : first + len(rows)] = rows

    _decode(clips, sample_rate, length, threads, notice, keep)
    return array


def _decode(clips: Sequence[Clip], sample_rate: int, length: int, threads: int | None, notice, keep: Callable[[int, np.ndarray], None]) -> None:
    """Hand blocks of rows to `keep`, with the index of their first clip. libsndfile works without the interpreter's lock, so threads help."""
    recordings = {clip.path: audio.read(clip.path, sample_rate) for clip in _first_of_each(clips)}
    own = threading.local()  # a block a thread, used again: fresh memory is dear, and so is a memory map that is written to

    def decode(first: int) -> None:
        if not hasattr(own, "rows"):
            own.rows = np.empty((BLOCK, length), np.int16)
        part = clips[first : first + BLOCK]
        for clip, row in zip(part, own.rows):
            if clip.start is not None:
                row[:] = _cut(recordings[clip.path], clip, sample_rate, length)
            elif not _read_plain(clip.path, sample_rate, row):
                row[:] = audio.to_pcm16(audio.read(clip.path, sample_rate, length / sample_rate, notice))
        keep(first, own.rows[: len(part)])

    with ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(decode, range(0, len(clips), BLOCK)):
            pass


def _cut(recording: np.ndarray, clip: Clip, sample_rate: int, length: int) -> np.ndarray:
    """A clip of silence out of its background recording, int16 (length,)."""
    start = round(clip.start * sample_rate / 16000)
    samples = recording[start : start + length] * np.float32(clip.gain)
    if not len(samples):
        raise InputError(f"'{shown(clip.path)}': the recording ends before the length that its header promises")
    return audio.to_pcm16(audio.fitted(samples, length))


def _read_plain(path: Path, sample_rate: int, row: np.ndarray) -> bool:
    """Decode a file straight into its row where `audio.read` would change and say nothing: whole, one channel, 16 bit without loss, at the wanted
    rate, no longer than the row and not all zeros. False: read it with `audio.read`.

    Raises:
        InputError: as `audio.read`, where the file cannot be opened.
    """
    with audio.opened(path) as file:
        frames, form = file.frames, file.format
        if (form not in LOSSLESS or file.subtype != "PCM_16" or file.channels != 1 or file.samplerate != sample_rate or not 0 < frames <= len(row)):
            return False
        file.seekable = lambda: False  # else soundfile seeks where it has just read to, for which FLAC decodes a block again
        try:
            got = len(file.read(out=row[:frames]))
        except soundfile.SoundFileError:
            return False
    row[frames:] = 0
    return got == frames and row.any() and (form == "FLAC" or not audio.riff_bytes_missing(path))


def _first_of_each(clips: Sequence[Clip]) -> list[Clip]:
    """One clip of each background recording that silence is cut from."""
    return list({clip.path: clip for clip in clips if clip.start is not None}.values())
