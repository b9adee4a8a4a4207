"""The Speech Commands data set (Warden 2018, arXiv:1804.03209): official layout, versions 0.01 and 0.02, splits and lists.

A root holds `WORD/SPEAKER_nohash_N.wav` (or .flac, .ogg), optionally `validation_list.txt`, `testing_list.txt` and `_background_noise_/`.
The official separate test archives are roots too: words as folders with `_unknown_` and `_silence_` among them, files named `*.wav.wav` included.
"""
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Sequence

from ..audio import SUFFIXES
from ..errors import DataError, shown

SPLITS = ("train", "validation", "test")
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
BACKGROUND = "_background_noise_"
UNKNOWN = "_unknown_"
SILENCE = "_silence_"
BUCKETS = 2**27 - 1  # of the official hash rule
VARIABLE = "SPEECHADV_DATA"


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip: where it is, what is said, by whom, its official name and its split.

    `start` and `gain` belong to silence clips, which are cut out of a background recording at sample `start` (at 16 kHz) and scaled.
    A whole background recording is a Clip too: word "_background_noise_", split "background".
    """

    path: Path
    word: str
    speaker: str
    name: str  # "WORD/SPEAKER_nohash_N.wav", whatever the file's own suffix
    split: str
    start: int | None = None
    gain: float = 1.0


def official_split(name: str | Path) -> str:
    """The split of a clip by the official rule: a hash of the speaker, about 80/10/10 in a hundred.

    Warden 2018, section 7: SHA-1 of the name up to `_nohash_`, modulo 2^27, as a percentage: below 10 validation, below 20 test, else training.

    Args:
        name: "WORD/SPEAKER_nohash_N.wav" or the file name alone; any suffix.

    Returns:
        "train", "validation" or "test".

    Example:
        >>> official_split("yes/004ae714_nohash_0.wav")
        'train'
    """
    base = normal_name(Path(name).name).split("_nohash_")[0]
    bucket = int(hashlib.sha1(base.encode("utf-8", "surrogateescape")).hexdigest(), 16) % (BUCKETS + 1)
    percentage = bucket * (100.0 / BUCKETS)
    return "validation" if percentage < 10 else "test" if percentage < 20 else "train"


def normal_name(file_name: str) -> str:
    """The official form of a file name: `x.flac`, `x.ogg` and `x.wav.wav` are all `x.wav`."""
    stem = file_name
    while stem.lower().endswith(SUFFIXES):
        stem = stem[: stem.rindex(".")]
    return stem + ".wav"


def data_roots(configured: Sequence[str | Path] | str | None = None) -> list[Path]:
    """The data roots: those configured, else those of SPEECHADV_DATA (separated like PATH), else none (the bundled clips are used)."""
    if configured:
        return [Path(configured)] if isinstance(configured, (str, Path)) else [Path(root) for root in configured]
    return [Path(root) for root in os.environ.get(VARIABLE, "").split(os.pathsep) if root]


def scan(roots: str | Path | Sequence[str | Path], train_only: Sequence[str | Path] = ()) -> list[Clip]:
    """All clips and background recordings of the roots, sorted by name within a root.

    Args:
        roots: one root or several. A name that stands in two of them is taken from the first.
        train_only: further roots whose clips serve training alone (resynthesised or synthetic ones). Their clips are kept beside real ones of
            the same name.

    Raises:
        DataError: a root is missing or holds no clips, or a clip of a `train_only` root belongs to a validation or test speaker.
    """
    roots = [roots] if isinstance(roots, (str, Path)) else list(roots)
    clips: dict[str, Clip] = {}
    for root in roots:
        for clip in scan_root(Path(root)):
            clips.setdefault(clip.name, clip)
    held = {clip.speaker: clip.split for clip in clips.values() if clip.split in ("validation", "test")}  # by the lists of a root, whatever the hash says
    extra = [clip for root in train_only for clip in _scan_training_root(Path(root), held)]
    return [*clips.values(), *extra]


def scan_root(root: Path) -> list[Clip]:
    """The clips and background recordings of one root, see `scan`."""
    words = _words(root)
    listed = read_lists(root)
    test_archive = not listed and BACKGROUND not in words and bool({UNKNOWN, SILENCE} & set(words))
    clips = []
    for word in words:
        for path in _sound_files(root / word):
            name = f"{word}/{normal_name(path.name)}"
            clips.append(Clip(path, word, speaker_of(name), name, _split(name, word, listed, test_archive)))
    if not any(clip.split in SPLITS for clip in clips):
        raise DataError(f"data folder '{shown(root)}': expected clips as WORD/SPEAKER_nohash_N.wav (or .flac, .ogg), found none")
    return clips


def _scan_training_root(root: Path, held: dict[str, str]) -> list[Clip]:
    clips = []
    for word in _words(root):
        for path in _sound_files(root / word) if word != BACKGROUND else ():
            name = f"{word}/{normal_name(path.name)}"
            speaker = speaker_of(name)
            split = held.get(speaker, split_of_speaker(speaker))
            if split != "train":
                raise DataError(f"'{shown(path)}': a folder for training only may not hold it, its speaker belongs to {split}")
            clips.append(Clip(path, word, speaker, name, "train"))
    if not clips:
        raise DataError(f"data folder '{shown(root)}': expected clips as WORD/SPEAKER_nohash_N.wav (or .flac, .ogg), found none")
    return clips


def _split(name: str, word: str, listed: dict[str, str] | None, test_archive: bool) -> str:
    """The official lists where a root has them, else the hash; everything of a test archive is test."""
    if word == BACKGROUND:
        return "background"
    if test_archive:
        return "test"
    return listed.get(name, "train") if listed is not None else split_of_speaker(speaker_of(name))


def read_lists(root: Path) -> dict[str, str] | None:
    """Name -> "validation" or "test" from the official lists of a root; None unless both are there.

    Raises DataError: only one of the two is there, or one cannot be read.
    """
    present = {split: root / file for split, file in LISTS.items() if (root / file).exists()}
    if not present:
        return None
    if len(present) < len(LISTS):
        raise DataError(f"data folder '{shown(root)}': expected both {' and '.join(LISTS.values())}, or neither")
    return {name: split for split, path in present.items() for name in listed_names(path)}


def listed_names(path: Path) -> list[str]:
    """The names in one official list, as `WORD/SPEAKER_nohash_N.wav`. Raises DataError where it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError as problem:
        raise DataError(f"'{shown(path)}': {problem.strerror}") from None
    parts = [line.strip().rpartition("/") for line in lines if line.strip()]
    return [f"{word}/{normal_name(file_name)}" for word, _, file_name in parts]


def speaker_of(name: str) -> str:
    """The speaker in a clip's name: what stands before `_nohash_`, in `_unknown_` without a word in front of it."""
    word, _, file_name = name.rpartition("/")
    speaker = file_name.split("_nohash_")[0].removesuffix(".wav")
    return speaker.rpartition("_")[2] if word == UNKNOWN else speaker


def split_of_speaker(speaker: str) -> str:
    """The split by the official rule, where the speaker's name is known already."""
    return official_split(f"{speaker}_nohash_0.wav")


def _words(root: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    except FileNotFoundError:
        raise DataError(f"data folder '{shown(root)}': no such folder") from None
    except OSError as problem:
        raise DataError(f"data folder '{shown(root)}': {problem.strerror}") from None


def _sound_files(folder: Path) -> Iterable[Path]:
    names = sorted(e.name for e in os.scandir(folder) if e.name.lower().endswith(SUFFIXES) and not e.name.startswith("."))
    return (folder / name for name in names)
