"""Sound without labels, for teachers to label: any folder of sound files, or a data root whose words are not believed."""
import math
from pathlib import Path
from typing import Sequence

from .. import audio
from ..data import Clip
from ..data.speech_commands import BACKGROUND, normal_name, speaker_of, split_of_speaker
from ..data.tasks import RATE
from ..errors import DataError, shown

LONG = 1.5  # seconds from which a file is cut into clips of one second


def unlabelled_clips(roots: Sequence[str | Path], labelled: Sequence[Clip] = ()) -> list[Clip]:
    """One-second clips of all sound below the roots, sorted by place; long files give one a second.

    A file whose name says who speaks (SPEAKER_nohash_N) is left out where that speaker validates or tests, by the official rule or in the data of this run. Other
    names say nothing: whose voices they are is for the user to know.

    Args:
        roots: folders, searched to any depth; `_background_noise_` and hidden ones aside.
        labelled: the clips of this run, whose validation and test speakers are held out.

    Raises:
        DataError: a root is no folder, or holds no sound that training may hear.
        InputError: a file that cannot be opened.
    """
    held = {clip.speaker for clip in labelled if clip.split in ("validation", "test")}
    return [piece for root in roots for path in _files(Path(root), held) for piece in _pieces(path)]


def _files(root: Path, held: set[str]) -> list[Path]:
    if not root.is_dir():
        raise DataError(f"unlabelled: '{shown(root)}': no such folder")
    inside = sorted(path for path in root.rglob("*") if path.name.lower().endswith(audio.SUFFIXES) and path.is_file())
    parts = [(path, path.relative_to(root).parts) for path in inside]
    heard = [path for path, names in parts if BACKGROUND not in names and not any(name.startswith(".") for name in names) and not _held_out(path, held)]
    if not heard:
        raise DataError(f"unlabelled: '{shown(root)}': expected sound files ({', '.join(audio.SUFFIXES)}) that training may hear, found none")
    return heard


def _held_out(path: Path, held: set[str]) -> bool:
    """Whether the name says that a speaker of validation or test is heard."""
    speaker = speaker_of(f"{path.parent.name}/{normal_name(path.name)}")
    return "_nohash_" in path.name and (speaker in held or split_of_speaker(speaker) != "train")


def _pieces(path: Path) -> list[Clip]:
    with audio.opened(path) as file:
        seconds = file.frames / file.samplerate
    starts = [None] if seconds < LONG else [RATE * second for second in range(math.floor(seconds))]
    return [Clip(path, "", "", str(path), "train", start) for start in starts]
