"""Proof that a data folder is what it should be: counts, speakers, lists against the hash, no clip under two words."""
import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable, Sequence

import soundfile

from ..audio import opened
from ..errors import shown
from .speech_commands import BACKGROUND, LISTS, SILENCE, SPLITS, UNKNOWN, Clip, listed_names, official_split, scan_root


@dataclass
class Findings:
    """What a check found.

    Attributes:
        words: word -> clips in train, validation and test.
        speakers: split -> number of different speakers.
        recordings: names of the background recordings.
        faults: one line for each speaker in two splits, listed file that is missing, file in both lists, listing against the hash, and clip
            under two words.
    """

    words: dict[str, dict[str, int]] = field(default_factory=dict)
    speakers: dict[str, int] = field(default_factory=dict)
    recordings: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def check(roots: Sequence[Path], progress: Callable[[Sequence[Clip]], Iterable[Clip]] = iter) -> Findings:
    """Check data roots together: a speaker may not cross splits from one root to another either.

    Args:
        roots: see `scan`.
        progress: wraps the clips while their sound is compared.

    Raises:
        DataError: a root is missing or holds no clips. InputError: a clip is no sound.
    """
    scanned = {root: scan_root(root) for root in roots}
    clips = [clip for those in scanned.values() for clip in those if clip.split != "background"]
    findings = Findings(recordings=sorted({c.name for those in scanned.values() for c in those if c.split == "background"}))
    for clip in clips:
        findings.words.setdefault(clip.word, dict.fromkeys(SPLITS, 0))[clip.split] += 1
    findings.words = dict(sorted(findings.words.items()))
    findings.faults += _crossing(clips, findings.speakers)
    for root, those in scanned.items():
        findings.faults += _against_lists(root, those)
    findings.faults += _under_two_words(clips, progress)
    return findings


def _crossing(clips: Sequence[Clip], speakers: dict[str, int]) -> list[str]:
    """A line for each speaker in more than one split; counts speakers by the way."""
    where: dict[str, dict[str, Clip]] = defaultdict(dict)
    for clip in clips:
        if "_nohash_" in clip.name:  # the silence of the official test archives has no speaker
            where[clip.speaker].setdefault(clip.split, clip)
    speakers.update({split: sum(split in splits for splits in where.values()) for split in SPLITS})
    return [
        f"speaker '{shown(speaker)}' stands in {' and '.join(splits)}: {', '.join(shown(clip.path) for clip in splits.values())}"
        for speaker, splits in sorted(where.items()) if len(splits) > 1
    ]


def _against_lists(root: Path, clips: Sequence[Clip]) -> list[str]:
    """Lines for listed files that are missing, in both lists, or listed against the hash; and for clips that should be listed and are not."""
    there = {clip.name for clip in clips}
    lists = {split: listed_names(root / file) for split, file in LISTS.items() if (root / file).exists()}
    faults = [f"'{shown(name)}' is listed in {LISTS[split]} and missing" for split, those in lists.items() for name in those if name not in there]
    faults += [
        f"'{shown(name)}' is listed in {LISTS[split]}, the speaker's hash says {official_split(name)}"
        for split, those in lists.items() for name in those if official_split(name) != split
    ]
    if len(lists) == 2:
        faults += [f"'{shown(name)}' stands in both lists" for name in sorted(set(lists["validation"]) & set(lists["test"]))]
        listed = set().union(*lists.values())
        faults += [
            f"'{shown(c.name)}' is not listed, the speaker's hash says {official_split(c.name)}"
            for c in clips if c.split == "train" and c.name not in listed and official_split(c.name) != "train"
        ]
    return faults


def _under_two_words(clips: Sequence[Clip], progress) -> list[str]:
    """A line for each sound that stands under two words. Twice under one word is no fault: the official data has that."""
    compared = [clip for clip in clips if clip.word not in (UNKNOWN, SILENCE, BACKGROUND)]
    same: dict[bytes, list[Clip]] = defaultdict(list)
    with ThreadPoolExecutor() as pool:
        for clip, mark in zip(progress(compared), pool.map(lambda clip: fingerprint(clip.path), compared)):
            same[mark].append(clip)
    faults = []
    for those in same.values():
        if len({clip.word for clip in those}) > 1 and len({_samples(clip.path) for clip in those}) < len(those):
            faults.append("the same sound stands under two words: " + ", ".join(shown(clip.path) for clip in those))
    return faults


def fingerprint(path: Path) -> bytes:
    """MD5 of a clip's 16-bit samples, the same for WAV and FLAC (which carries it in its header); of the file for Ogg. Cheap, so no proof."""
    with open(path, "rb") as file:
        head = file.read(42)
        if head[:4] == b"fLaC" and len(head) == 42 and any(head[26:]):
            return head[26:]
        content = head + file.read() if head[:4] == b"OggS" else _samples(path)
    return hashlib.md5(content, usedforsecurity=False).digest()


def _samples(path: Path) -> bytes:
    with opened(path) as file:
        try:
            return file.read(2**20, dtype="int16").astype("<i2").tobytes()
        except soundfile.SoundFileError:
            return b""
