"""How good an adversarial clip sounds beside its clean one: measures from signals, and PESQ, STOI and ESTOI by the packages of the extra `quality`."""
import importlib.util
import warnings
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Sequence

import numpy as np

from ..audio import resample
from ..errors import ConfigError, shown
from ..registry import closest

FRAME_SECONDS, OVERLAP = 0.030, 4  # of the segmental SNR: frames of 30 ms, each a quarter further
SEGMENT_DB = (-10.0, 35.0)  # a frame's SNR is held within: beyond, a difference is not heard
FLOOR_DB = -100.0  # of a spectrum, full-scale sine at 0 dB: near the noise that 16 bit leave in a bin
PESQ_RATE = 16000  # Hz, of its wide band
TOO_FEW_FRAMES = "fewer than 30 sounding frames (0.4 s of speech)"
NO_UTTERANCE = "no utterance found"
SILENT = "the clip is silent"

Value = tuple[float | None, str | None]  # a measure, or None and why there is none


def segmental_snr_db(clean: np.ndarray, adversarial: np.ndarray, rate: int) -> Value:
    """The mean over Hann-windowed frames of 30 ms, every 7.5 ms, of the frame's SNR in dB, held within -10 and 35 dB.

    Frames in which the clean clip is digital silence are left out: they have no signal to compare with. Source: Hansen and Pellom 1998, "An
    effective quality evaluation protocol for speech enhancement algorithms", with the frames of Loizou 2013, section 11.

    Args:
        clean: (time,), fraction of full scale.
        adversarial: (time,)
        rate: Hz.
    """
    length = round(FRAME_SECONDS * rate)
    signal, noise = ((_frames(wave, length, length // OVERLAP) ** 2).sum(1) for wave in (clean, adversarial - clean))
    heard = signal > 0
    if not heard.any():
        return None, SILENT
    with np.errstate(divide="ignore"):
        ratios = 10 * np.log10(signal[heard]) - 10 * np.log10(noise[heard])
    return float(ratios.clip(*SEGMENT_DB).mean()), None


def log_spectral_distance_db(clean: np.ndarray, adversarial: np.ndarray, rate: int) -> Value:
    """The mean over frames of the root mean square over frequencies of the difference of levels in dB.

    Frames of 32 ms under a Hann window, every 8 ms; levels below -100 dB (a full-scale sine has 0 dB) count as -100 dB, so that digital silence
    is no infinite distance. Source: Gray and Markel 1976, "Distance measures for speech processing".

    Args:
        clean: (time,), fraction of full scale.
        adversarial: (time,)
        rate: Hz.
    """
    length = round(0.032 * rate)
    levels = [_levels(wave, length) for wave in (clean, adversarial)]
    return float(np.sqrt(((levels[0] - levels[1]) ** 2).mean(1)).mean()), None


def _levels(wave: np.ndarray, length: int) -> np.ndarray:
    """(frames, bins) in dB, a full-scale sine at a bin's centre at 0 dB."""
    magnitude = np.abs(np.fft.rfft(_frames(wave, length, length // OVERLAP))) * (4 / length)
    return 20 * np.log10(magnitude.clip(10 ** (FLOOR_DB / 20)))


def _frames(wave: np.ndarray, length: int, hop: int) -> np.ndarray:
    """(frames, length), windowed; a clip that is shorter than a frame is filled with zeros."""
    padded = np.pad(wave.astype(np.float64), (0, max(0, length - len(wave))))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop] * np.hanning(length + 1)[:-1]


def pesq(clean: np.ndarray, adversarial: np.ndarray, rate: int) -> Value:
    """Wide-band PESQ, a listening-quality score from 1 (bad) to 4.64 (no difference): ITU-T P.862.2 by the package `pesq`, at 16 kHz."""
    from pesq import NoUtterancesError, PesqError
    from pesq import pesq as score

    if not clean.any() or not adversarial.any():
        return None, NO_UTTERANCE
    try:
        return float(score(PESQ_RATE, *(resample(wave, rate, PESQ_RATE) for wave in (clean, adversarial)), "wb")), None
    except NoUtterancesError:
        return None, NO_UTTERANCE
    except PesqError as problem:
        return None, shown(problem)


def stoi(clean: np.ndarray, adversarial: np.ndarray, rate: int, extended: bool = False) -> Value:
    """Short-time objective intelligibility (Taal et al. 2011), up to 1, by the package `pystoi`.

    It compares stretches of 30 frames that sound (within 40 dB of the loudest). A single word between silences has fewer; the package then warns and
    answers 1e-5, which is no score: here it is None.
    """
    from pystoi import stoi as score

    if not clean.any():
        return None, SILENT
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        value = float(score(clean.astype(np.float64), adversarial.astype(np.float64), rate, extended=extended))
    if any("Not enough STFT frames" in str(warning.message) for warning in told) or not np.isfinite(value):
        return None, TOO_FEW_FRAMES
    return value, None


def estoi(clean: np.ndarray, adversarial: np.ndarray, rate: int) -> Value:
    """Extended STOI (Jensen and Taal 2016), up to 1, which also follows maskers that fluctuate; None where STOI is."""
    return stoi(clean, adversarial, rate, extended=True)


@dataclass(frozen=True)
class Measure:
    """A column of rows: its function, name and unit, the format of its median in tables, and the package that it needs beside our own."""

    of: Callable[[np.ndarray, np.ndarray, int], Value]
    name: str
    unit: str = ""
    form: str = ".2f"
    package: str | None = None

    @property
    def head(self) -> str:
        """Of its column in tables."""
        return f"{self.name} {self.unit}".rstrip()

    def in_words(self, value: float) -> str:
        """A value with name and unit: "segmental SNR 12.3 dB"."""
        return f"{self.name} {value:{self.form}} {self.unit}".rstrip()


MEASURES = {
    "segmental_snr_db": Measure(segmental_snr_db, "segmental SNR", "dB", ".1f"),
    "log_spectral_distance_db": Measure(log_spectral_distance_db, "log-spectral distance", "dB", ".1f"),
    "pesq": Measure(pesq, "PESQ", package="pesq"),
    "stoi": Measure(stoi, "STOI", package="pystoi"),
    "estoi": Measure(estoi, "ESTOI", package="pystoi"),
}
DEFAULT = tuple(name for name, measure in MEASURES.items() if measure.package is None)
GAPS = "quality_gaps"  # the row's key that says why a measure is null


def check(names: Iterable[str], where: str = "config: quality") -> None:
    """Raise ConfigError for a measure that is unknown, named twice, or whose package is not installed."""
    names = list(names)
    for name in names:
        if name not in MEASURES:
            raise ConfigError(f"{where}: unknown measure '{shown(name)}'{closest(name, MEASURES)} (known: {', '.join(MEASURES)})")
        if names.count(name) > 1:
            raise ConfigError(f"{where}: expected each one once, got '{name}' twice")
        package = MEASURES[name].package
        if package and importlib.util.find_spec(package) is None:
            raise ConfigError(f"{where}: '{name}' needs the package {package}: pip install 'speechadv[quality]'")


def measure(names: Iterable[str], clean: Any, adversarial: Any, rate: int) -> dict[str, list]:
    """The columns of rows that the chosen measures give.

    Args:
        names: of measures.
        clean: tensor or array (batch, time), fraction of full scale, as read back from the files.
        adversarial: (batch, time)
        rate: Hz.

    Returns:
        For each measure, in the order of `MEASURES`, a list of numbers or None, and for any measure at all `quality_gaps`: None, or a text that
        says for each measure that is None why. Nothing where no measure is chosen.
    """
    chosen = [name for name in MEASURES if name in set(names)]
    if not chosen:
        return {}
    columns: dict[str, list] = {name: [] for name in (*chosen, GAPS)}
    for before, after in zip(np.asarray(clean), np.asarray(adversarial)):
        values = {name: MEASURES[name].of(before, after, rate) for name in chosen}
        for name, (value, _) in values.items():
            columns[name].append(value)
        columns[GAPS].append("; ".join(f"{name}: {why}" for name, (_, why) in values.items() if why) or None)
    return columns


def columns_of(row: dict[str, Any]) -> tuple[str, ...]:
    """The measures that a row has, in their order."""
    return tuple(name for name in MEASURES if name in row)


def part_of(row: dict[str, Any]) -> dict[str, Any]:
    """The measures of a row and why some are None; empty where it has none."""
    return {name: row[name] for name in (*columns_of(row), GAPS) if name in row}


def in_words(row: dict[str, Any]) -> list[str]:
    """A row's measures for people: a line, and one for each reason why one is missing."""
    told = [MEASURES[name].in_words(row[name]) for name in columns_of(row) if row[name] is not None]
    return [line for line in (", ".join(told), *(row.get(GAPS) or "").split("; ")) if line]


def gaps(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many rows lack a measure, by measure and reason ("stoi: fewer than 30 …"); each in the order of first appearance."""
    found: dict[str, int] = {}
    for row in rows:
        for why in (row.get(GAPS) or "").split("; "):
            if why:
                found[why] = found.get(why, 0) + 1
    return found
