"""What a model file says of itself, and the first card that follows from it: what the file cannot say is left as "?"."""
import hashlib
import math
from collections import Counter
from pathlib import Path
from typing import Any

from ..errors import ConfigError, SpeechAdvError, shown
from .card import UNKNOWN, card_path, read_file
from .imported.graph import Graph, Port

RAW = 2000  # an input of at least so many numbers in one axis is sound itself
READERS = {"tflite": ".imported.tflite_file:read_tflite", "onnx": ".imported.onnx_file:read_onnx"}
SPECTRAL = ("frame_length", "hop_length", "n_fft", "window", "framing", "spectrum", "n_mels", "f_min", "f_max", "mel", "triangles", "log", "offset", "layout")


def file_of(word: str) -> tuple[str, Path] | None:
    """(kind, path) where the word names a TensorFlow Lite or ONNX file, as `tflite:FILE` or by its ending; else None."""
    kind, colon, rest = word.partition(":")
    if colon and kind in READERS:
        return kind, Path(rest)
    ending = Path(word).suffix.lstrip(".")
    return (ending, Path(word)) if ending in READERS else None


def facts(kind: str, path: Path) -> tuple[dict[str, Any], Graph]:
    """What a file says, ready for JSON, and its graph. Raises InputError."""
    import importlib

    named = f"'{shown(path)}'"
    content = read_file(path, named)
    module, _, function = READERS[kind].partition(":")
    graph = getattr(importlib.import_module(module, __package__), function)(content, named)
    return {"file": shown(path), "format": kind, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "input": _port(graph.input),
            "output": _port(graph.output), "labels": _count(graph.output), "outputs": outputs(graph), "weights": graph.weights,
            "operators": dict(Counter(graph.operators)), "gradient": graph.missing or "of the float rebuilding"}, graph


def _port(port: Port) -> dict[str, Any]:
    scale = {"scale": port.scale, "zero_point": port.zero_point} if port.scale else {}
    return {"shape": list(port.shape), "dtype": port.dtype, **scale}


def _count(port: Port) -> int | None:
    """Number of labels; None where the file leaves it open."""
    return None if -1 in port.shape[1:] else math.prod(port.shape[1:])


def outputs(graph: Graph) -> str:
    """What the outputs are, by the last operator that is more than a change of storage."""
    names = [name.upper() for name in graph.operators if name.upper() not in ("QUANTIZE", "DEQUANTIZE", "QUANTIZELINEAR", "DEQUANTIZELINEAR", "IDENTITY")]
    return "probabilities" if names and names[-1] in ("SOFTMAX", "LOGISTIC", "SIGMOID") else "logits"


def first_card(about: dict[str, Any], graph: Graph) -> str:
    """The text of a card. The reader refuses it until the last "?" is gone."""
    sizes, count = graph.input.sizes, about["labels"]
    raw = len(sizes) == 1 and (sizes[0] >= RAW or sizes[0] == -1)
    stored = f" of {graph.input.dtype}" + (f", round(value / {graph.input.scale:g}) + {graph.input.zero_point}" if graph.input.scale else "")
    lines = [f'# Every "{UNKNOWN}" is for you: the file does not say it. docs/your-own-model.md explains each line.',
             f"labels = [{', '.join([_quoted(UNKNOWN)] * (count or 1))}]  # in the order of the {count or 'unknown number of'} outputs",
             f"sample_rate = {_quoted(UNKNOWN)}  # Hz",
             f"samples = {sizes[0] if raw and sizes[0] > 0 else _quoted(UNKNOWN)}  # of a clip",
             f"outputs = {_quoted(about['outputs'])}  # {graph.operators[-1]} is the file's last operator",
             f"sha256 = {_quoted(about['sha256'])}"]
    for which, port in (("input", graph.input), ("output", graph.output)):
        if port.integer and not port.scale:
            lines += [f"{which}_scale = {_quoted(UNKNOWN)}  # the {which} is {port.dtype} and the file gives no scale",
                      f"{which}_zero_point = {_quoted(UNKNOWN)}"]
    lines += ["", f"# The input is {' x '.join(map(str, sizes)) or '1'} numbers{stored}.", "[front_end]"]
    if raw:
        return "\n".join([*lines, 'kind = "raw"', 'level = "none"  # or maximum, peak, rms, mean-variance',
                          "gain = 1.0  # 32768.0 for networks that hear 16-bit integers", ""])
    lines += [f"kind = {_quoted(UNKNOWN)}  # log-mel or mfcc", 'level = "none"  # or maximum, peak, rms, mean-variance']
    lines += [f"{key} = {_quoted(UNKNOWN)}" for key in SPECTRAL]
    return "\n".join([*lines, f"n_mfcc = {_quoted(UNKNOWN)}  # this and dct: only for mfcc", f"dct = {_quoted(UNKNOWN)}", ""])


def _quoted(text: str) -> str:
    return f'"{text}"'


def describe_file(kind: str, path: Path, out: Path | None) -> dict[str, Any]:
    """The facts of a file; a first card is written beside it, or to `out`, where none is there.

    Returns:
        The facts, then `card`, its path, and `card_is`: "written", or "there" for one that was there before and fits.

    Raises:
        SpeechAdvError: the file or the card that is there cannot be used, or no card can be written.
    """
    from ..audio import write_bytes
    from .card import read_card

    about, graph = facts(kind, path)
    where = out or card_path(path)
    if where.exists():
        if out:
            raise ConfigError(f"--out '{shown(out)}': exists; name another file")
        read_card(path, path.read_bytes())
        return about | {"card": shown(where), "card_is": "there"}
    try:
        write_bytes(where, first_card(about, graph).encode("utf-8"))
    except SpeechAdvError as problem:
        raise ConfigError(f"{problem}; name another file for the card with --out") from None
    return about | {"card": shown(where), "card_is": "written"}
