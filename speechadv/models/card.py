"""The card of a file that others made: FILE.toml beside FILE says what the file cannot: labels, sample rate, front end.

```toml
labels = ["yes", "no", "stop"]    # in the order of the outputs
sample_rate = 16000               # Hz
samples = 16000                   # of a clip, as the front end hears it: shorter ones are filled up with zeros, longer ones cut
outputs = "logits"                # or "probabilities"

[front_end]
kind = "raw"
```
"""
import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import config
from ..errors import ConfigError, InputError, shown
from .foreign import check_labels
from .frontends import FrontEnd

UNKNOWN = "?"  # what `speechadv models describe` writes where a person must
OUTPUTS = ("logits", "probabilities")
LARGEST_CARD = 1 << 20  # bytes
LARGEST_FILE = 1 << 30
MOST_WORK = 1 << 26
LONGEST = 60.0  # seconds of a clip


@dataclass(frozen=True)
class FileCard:
    """What a card says.

    Attributes:
        labels: words of the outputs in order.
        sample_rate: Hz.
        samples: of a clip, in front of the front end.
        outputs: "logits" or "probabilities"; the logarithm of probabilities is taken.
        front_end: see `FrontEnd`.
        sha256: of the file; where given, another file is refused.
        input_scale, input_zero_point: of an integer input whose file does not say them: stored = round(value / scale) + zero point, clipped.
        output_scale, output_zero_point: of an integer output whose file does not say them.
        about: anything that a reader should know: where the file comes from, its licence.
    """

    labels: list[str]
    sample_rate: int
    samples: int
    outputs: str
    front_end: FrontEnd
    sha256: str = ""
    input_scale: float = 0.0
    input_zero_point: int = 0
    output_scale: float = 0.0
    output_zero_point: int = 0
    about: str = ""

    def identity(self, content: bytes) -> bytes:
        """SHA-256 over the file and everything in the card that a verdict depends on, 32 bytes."""
        values = {key: value for key, value in asdict(self).items() if key not in ("about", "sha256")}
        return hashlib.sha256(hashlib.sha256(content).digest() + json.dumps(values, sort_keys=True).encode()).digest()


def card_path(path: str | Path) -> Path:
    """Where the card of a file is: kws.tflite.toml beside kws.tflite."""
    return Path(f"{path}.toml")


def read_file(path: str | Path, named: str) -> bytes:
    """The content of a model file. Raises InputError: missing, a folder, special, empty or too large."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{named}: expected a file, got {'a folder' if stat.S_ISDIR(status.st_mode) else 'a special file'}")
        if not 0 < status.st_size <= LARGEST_FILE:
            raise InputError(f"{named}: expected a file of at most {LARGEST_FILE} bytes that is not empty, got {status.st_size}")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{named}: no such file") from None
    except (OSError, ValueError) as problem:
        raise InputError(f"{named}: {shown(getattr(problem, 'strerror', None) or problem)}") from None


def read_card(path: str | Path, content: bytes) -> FileCard:
    """The card beside a file.

    Args:
        path: of the file, not of the card.
        content: of the file.

    Raises:
        ConfigError: no card, broken, a line that is still "?", an unknown key, a value that makes no sense, or of another file.
    """
    where = card_path(path)
    named = f"card '{shown(where)}'"
    if not where.exists():
        raise ConfigError(f"'{shown(path)}': expected its card '{shown(where)}' beside it (labels, sample rate, front end); "
                          f"`speechadv models describe {shown(path)}` writes a first one")
    if not where.is_file() or where.stat().st_size > LARGEST_CARD:
        raise ConfigError(f"{named}: expected a file of at most {LARGEST_CARD} bytes")
    try:
        values = config.read(where)
    except ConfigError as problem:
        raise ConfigError(str(problem).replace("config '", "card '", 1)) from None
    refuse_unknown(values, named)
    card = config.from_dict(FileCard, values, named)
    check(card, named)
    if card.sha256 and card.sha256.lower() != hashlib.sha256(content).hexdigest():
        raise ConfigError(f"{named}: sha256: is that of another file than '{shown(path)}'")
    return card


def refuse_unknown(value: Any, named: str, key: str = "") -> None:
    """Raise ConfigError for the first value that is still to be filled in."""
    if value == UNKNOWN:
        raise ConfigError(f"{named}: {shown(key)} is still '{UNKNOWN}': the file does not say it, fill it in")
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        refuse_unknown(part, named, f"{key}[{name}]" if isinstance(value, list) else f"{key}.{name}".lstrip("."))


def check(card: FileCard, named: str) -> None:
    """Raise ConfigError unless the values make sense together."""
    config.require(1 < len(card.labels) <= 100000 and all(card.labels), "labels", "at least two words", card.labels[:5], named)
    check_labels(card.labels, named)
    config.require(1000 <= card.sample_rate <= 192000, "sample_rate", "1000 to 192000 Hz", card.sample_rate, named)
    longest = int(LONGEST * card.sample_rate)
    config.require(1 <= card.samples <= longest, "samples", f"1 to {longest}", card.samples, named)
    config.require(card.outputs in OUTPUTS, "outputs", f"one of {', '.join(OUTPUTS)}", card.outputs, named)
    for key in ("input_scale", "output_scale"):
        config.require(getattr(card, key) >= 0, key, "a number above 0", getattr(card, key), named)
    card.front_end.check(card.sample_rate, f"{named}: front_end")
    if card.front_end.kind != "raw":
        work = (card.samples // card.front_end.hop_length + 1 + card.front_end.n_mels) * card.front_end.n_fft
        config.require(work <= MOST_WORK, "front_end", f"at most {MOST_WORK} samples in all frames together", work, named)
