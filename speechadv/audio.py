"""Sound files and levels: robust reading, atomic writing, the PCM-16 grid, dBFS, LSB and SNR.

Everything that is read lies on the 16-bit grid k/32768 in [-1, 1 - 2**-15] as float32. What had to be changed on the way (mixing down, resampling,
cutting, rounding) is told through a `notice` callback, one line each, that names the file; nothing is printed here.
"""
import contextlib
import io
import os
import secrets
import stat
import struct
from pathlib import Path
from typing import Callable, Iterable, Iterator

import numpy as np
import soundfile
import soxr

from .errors import InputError, SpeechAdvError, shown

FULL_SCALE = 32768  # LSB of 16 bit in an amplitude of 1
SUFFIXES = (".wav", ".flac", ".ogg")
MAX_SECONDS = 1800  # of a file that is read in full
MAX_FRAMES = 2**27
LOUDEST_FLOAT = 16.0  # beyond it (24 dB over full scale) a float file holds integers by mistake, not headroom
RATES = (1000, 768000)  # Hz
BLOCK = 1 << 15  # frames
ASIDE = ".speechadv-"  # how a file is called that is not whole yet
ROUNDED = {"PCM_24": "24-bit", "PCM_32": "32-bit", "FLOAT": "32-bit float", "DOUBLE": "64-bit float"}
OPEN_ENDED = (0, 0xFFFFFFFF)  # data sizes that programs write when they stream into a pipe
Notice = Callable[[str], None]


def silent(_message: str) -> None:
    """The notice callback that says nothing."""


def read(path: str | Path, sample_rate: int = 16000, seconds: float | None = None, notice: Notice = silent) -> np.ndarray:
    """Read a sound file as mono at `sample_rate`, on the 16-bit grid.

    Args:
        path: WAV, FLAC, Ogg or whatever else libsndfile reads, of any rate and number of channels.
        sample_rate: Hz of what is returned.
        seconds: the length to return: shorter files are padded with zeros at the end, longer ones cut. None: the file's own length.
        notice: called with one line for each of: mixed down, resampled, cut, ends early, clipped, rounded to 16 bit, all zeros.

    Returns:
        float32 (time,), values k/32768 in [-1, 1 - 2**-15].

    Raises:
        InputError: missing, a folder, not sound, empty, NaN or infinite, integers saved as float, longer than 30 minutes with `seconds=None`.
    """
    named = f"'{shown(path)}'"
    with opened(path) as file:
        limit = MAX_SECONDS if seconds is None else seconds + 0.1  # the resampler looks ahead by less than 0.1 s
        frames = min(int(np.ceil(limit * file.samplerate)) + 1, MAX_FRAMES)
        samples, early = _mono(file, frames, named)
        claimed, rate, form = file.frames, file.samplerate, _form(file, sample_rate, named)
    if len(samples) == 0:
        raise InputError(f"{named}: expected sound, the file holds no samples")
    if seconds is None and len(samples) == frames:
        raise InputError(f"{named}: expected at most {MAX_SECONDS // 60} minutes of sound, the file is longer")
    _tell_early_end(path, claimed, rate, len(samples), len(samples) < frames or early, named, notice)
    samples = _within_full_scale(samples, named, notice)
    for line in form:
        notice(line)
    samples = resample(samples, rate, sample_rate)
    if seconds is not None:
        wanted = round(seconds * sample_rate)
        if len(samples) > wanted:
            notice(f"{named}: longer than {seconds:g} s, only the first {seconds:g} s are used")
        samples = fitted(samples, wanted)
    if not samples.any():
        notice(f"{named}: all samples are zero")
    return to_grid(samples)


def stream(path: str | Path, sample_rate: int = 16000, notice: Notice = silent) -> Iterator[np.ndarray]:
    """Read a sound file of any length block by block, as `read` would; memory does not grow with the file.

    Args:
        path, sample_rate: see `read`.
        notice: called with one line for each of: mixed down, resampled, clipped (where that is first met), rounded to 16 bit, ends early, all zeros;
            at the end, once nothing can go wrong any more.

    Yields:
        float32 (any,), values k/32768 in [-1, 1 - 2**-15].

    Raises:
        InputError: as `read`, but for the length; when the first block is asked for, or where the fault is.
    """
    named = f"'{shown(path)}'"

    with opened(path) as file:
        resampler = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="HQ") if file.samplerate != sample_rate else None
        got, early, loud, clipped = 0, False, False, []
        while not early:
            samples, early = _mono(file, BLOCK, named)
            if not len(samples):
                break
            got, loud = got + len(samples), loud or bool(samples.any())
            samples = _within_full_scale(samples, named, clipped.append)
            yield to_grid(resampler.resample_chunk(samples) if resampler else samples)
        if not got:
            raise InputError(f"{named}: expected sound, the file holds no samples")
        if resampler:
            yield to_grid(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        for line in (*_form(file, sample_rate, named), *clipped[:1]):
            notice(line)
        _tell_early_end(path, file.frames, file.samplerate, got, True, named, notice)
        if not loud:
            notice(f"{named}: all samples are zero")


def _form(file: soundfile.SoundFile, sample_rate: int, named: str) -> list[str]:
    """The notices about what a file's form makes necessary."""
    lines = [f"{named}: {file.channels} channels mixed down to one"] if file.channels > 1 else []
    lines += [f"{named}: resampled from {file.samplerate} Hz to {sample_rate} Hz"] if file.samplerate != sample_rate else []
    return lines + ([f"{named}: {ROUNDED[file.subtype]} samples rounded to 16 bit"] if file.subtype in ROUNDED else [])


def seconds_of(path: str | Path) -> float:
    """How long a file is by its header. Raises InputError where it is no sound file."""
    with opened(path) as file:
        return file.frames / file.samplerate


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """A sound file for reading; every reason why it cannot be one is an InputError of one line that names it."""
    named = f"'{shown(path)}'"
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{named}: expected a sound file, got {'a folder' if stat.S_ISDIR(status.st_mode) else 'a special file'}")
        if status.st_size == 0:
            raise InputError(f"{named}: expected a sound file (wav, flac, ogg), the file is empty")
        file = soundfile.SoundFile(os.fsencode(path))  # bytes: a name may be no UTF-8
    except FileNotFoundError:
        raise InputError(f"{named}: no such file") from None
    except (OSError, ValueError) as problem:
        raise InputError(f"{named}: {shown(getattr(problem, 'strerror', None) or problem)}") from None
    except (soundfile.SoundFileError, TypeError):
        raise InputError(f"{named}: expected a sound file (wav, flac, ogg), its content is none") from None
    with file:
        if not RATES[0] <= file.samplerate <= RATES[1]:
            raise InputError(f"{named}: expected a sample rate of {RATES[0]} to {RATES[1]} Hz, the file says {file.samplerate}")
        yield file


def _mono(file: soundfile.SoundFile, frames: int, named: str) -> tuple[np.ndarray, bool]:
    """Up to `frames` frames mixed down, and whether decoding broke off. Block by block: a header may claim any length, memory follows what comes."""
    blocks, got, early = [], 0, False
    while got < frames and not early:
        block = np.full((min(BLOCK, frames - got), file.channels), np.nan, np.float32)
        try:
            block = file.read(out=block)
        except soundfile.SoundFileError:
            early = True
            whole = np.isfinite(block).all(axis=1)
            block = block if whole.all() else block[: whole.argmin()]  # what came before the break is in place, the rest still NaN
        if len(block) == 0:
            break
        if not np.isfinite(block).all():
            raise InputError(f"{named}: expected finite samples, found NaN or infinite ones")
        blocks.append(block.mean(axis=1))
        got += len(block)
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32), early


def _tell_early_end(path, claimed: int, rate: int, got: int, reached_end: bool, named: str, notice: Notice) -> None:
    """Notice when there is less sound than the header says: by decoding, or by the RIFF sizes (libsndfile cuts its frame count silently)."""
    missing = riff_bytes_missing(path)
    if missing:
        notice(f"{named}: the file ends early, {missing} bytes of sound that its header promises are missing")
    elif reached_end and got < claimed:
        notice(f"{named}: the file ends early, {got / rate:.3f} s of the {claimed / rate:.3f} s that its header promises are there")


def riff_bytes_missing(path: str | Path) -> int:
    """Bytes of the data chunk of a WAV file that its header promises and the file lacks; 0 for a whole file and for other formats."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(12)
        if len(head) < 12 or head[:4] not in (b"RIFF", b"RIFX", b"RF64") or head[8:] != b"WAVE":
            return 0
        order = ">" if head[:4] == b"RIFX" else "<"
        long_size = None
        while len(chunk := file.read(8)) == 8:
            name, length = chunk[:4], struct.unpack(order + "I", chunk[4:])[0]
            if name == b"data":
                length = long_size if long_size is not None else length
                return 0 if length in OPEN_ENDED else max(0, file.tell() + length - size)
            if name == b"ds64" and length >= 16:
                long_size = struct.unpack("<8xQ", file.read(16))[0]
                file.seek(length - 16, os.SEEK_CUR)
            else:
                file.seek(length, os.SEEK_CUR)
            file.seek(length % 2, os.SEEK_CUR)
        return 0


def _within_full_scale(samples: np.ndarray, named: str, notice: Notice) -> np.ndarray:
    """Samples beyond full scale cut off with a notice, as a sound card would; integers saved as float refused."""
    peak = float(np.abs(samples).max())
    if peak > LOUDEST_FLOAT:
        raise InputError(f"{named}: expected samples within -1 and 1, the peak is {peak:.6g}: 16-bit integers saved as float?")
    if peak > 1:
        notice(f"{named}: {int((np.abs(samples) > 1).sum())} samples beyond full scale clipped, the peak was {peak:.4g}")
    return samples.clip(-1, 1)


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """float32 (time,) from `rate` to `wanted` Hz, band-limited (libsoxr, high quality), without delay."""
    return samples if rate == wanted else soxr.resample(samples.astype(np.float32), rate, wanted, quality="HQ").astype(np.float32)


def fitted(samples: np.ndarray, length: int) -> np.ndarray:
    """(time,) padded with zeros at the end or cut to `length` samples."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def to_grid(samples):
    """Round a torch tensor or numpy array onto the PCM-16 grid: k/32768 in [-1, 1 - 2**-15], same type and shape."""
    return (samples * FULL_SCALE).round().clip(-FULL_SCALE, FULL_SCALE - 1) / FULL_SCALE


def to_pcm16(samples: np.ndarray) -> np.ndarray:
    """int16 of float samples, rounded and clipped."""
    return (np.asarray(samples) * FULL_SCALE).round().clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def from_pcm16(samples):
    """float32 k/32768 of int16 samples; a torch tensor or numpy array."""
    return samples.astype(np.float32) / FULL_SCALE if isinstance(samples, np.ndarray) else samples.float() / FULL_SCALE


def write_pcm16(path: str | Path, waveform, sample_rate: int = 16000, synced: bool = True) -> None:
    """Write a mono waveform as 16-bit WAV (or FLAC, by the suffix), bit-exactly and all or nothing.

    Args:
        path: where to; an existing file is replaced in one step.
        waveform: (time,) numpy array or torch tensor whose values lie on the grid k/32768 in [-1, 1 - 2**-15].
        sample_rate: Hz.
        synced: see `write_bytes`.

    Raises:
        ValueError: the waveform is not (time,) or a value is off the grid: saving would change it (round with `to_grid` first).
        SpeechAdvError: the file cannot be written.
    """
    samples = np.asarray(waveform.detach().cpu() if hasattr(waveform, "detach") else waveform)
    if samples.ndim != 1:
        raise ValueError(f"expected a waveform of shape (time,), got {samples.shape}")
    pcm = to_pcm16(np.nan_to_num(samples))
    if not np.array_equal(from_pcm16(pcm), samples):
        raise ValueError("expected values k/32768 in [-1, 1 - 2**-15]: round with to_grid before saving")
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, sample_rate, subtype="PCM_16", format="FLAC" if Path(path).suffix.lower() == ".flac" else "WAV")
    write_bytes(path, buffer.getvalue(), synced)


def wav_bytes(pcm: np.ndarray, sample_rate: int) -> bytes:
    """A 16-bit WAV file of int16 samples (time,), in memory."""
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, sample_rate, subtype="PCM_16", format="WAV")
    return buffer.getvalue()


def write_bytes(path: str | Path, content: bytes, synced: bool = True) -> None:
    """Write a file all or nothing: aside in the same folder, synced, renamed. Raises SpeechAdvError where that fails.

    Not `synced` it outlives a process that is killed and may be empty after a power failure: for one of very many files that can be made again, since
    waiting for the disk takes milliseconds each time.
    """
    write_pieces(path, (content,), synced)


def write_pieces(path: str | Path, pieces: Iterable[bytes], synced: bool = True) -> None:
    """The same of a content that is made piece by piece. Raises SpeechAdvError, and whatever making it raises; nothing is written then."""
    path = Path(path)
    aside = path.parent / f"{ASIDE}{secrets.token_hex(8)}"  # short: the wanted name may use all 255 bytes
    try:
        try:
            with open(aside, "xb") as file:
                file.writelines(pieces)
                file.flush()
                if synced:
                    os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise SpeechAdvError(f"cannot write '{shown(path)}': {problem.strerror or problem}") from None


def dbfs_to_amplitude(dbfs: float) -> float:
    """Amplitude (fraction of full scale) of a level in dBFS: 10^(dBFS/20)."""
    return 10.0 ** (dbfs / 20)


def amplitude_to_dbfs(amplitude: float) -> float:
    """Level in dBFS of an amplitude (fraction of full scale); -inf for 0."""
    with np.errstate(divide="ignore"):
        return float(20 * np.log10(np.float64(amplitude)))


def lsb_to_amplitude(lsb: float) -> float:
    """Amplitude (fraction of full scale) of a number of 16-bit steps."""
    return lsb / FULL_SCALE


def amplitude_to_lsb(amplitude: float) -> float:
    """16-bit steps (LSB) in an amplitude (fraction of full scale)."""
    return amplitude * FULL_SCALE


def snr_db(clean, perturbation):
    """Signal-to-noise ratio of each row in dB, 10 log10(sum clean^2 / sum perturbation^2), summed in float64.

    Args:
        clean: torch tensor (batch, time).
        perturbation: torch tensor (batch, time).

    Returns:
        float64 tensor (batch,): inf for a zero perturbation, -inf for a zero clip, nan where both are zero.
    """
    return 10 * (clean.double().square().sum(-1) / perturbation.double().square().sum(-1)).log10()
