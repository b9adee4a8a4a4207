"""The readers of foreign bytes, each with good files to begin from."""
import contextlib
import hashlib
import importlib.util
import io
import json
import shutil
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import numpy as np
import safetensors.torch
import soundfile
import torch

from speechadv import audio, config as configs
from speechadv.budgets import parse_budget
from speechadv.data import download as downloads, speech_commands, unpack as archives
from speechadv.defenses import parse_defense
from speechadv.errors import InputError
from speechadv.evaluation import clips, folder as runs, rows
from speechadv.evaluation.settings import EvaluationConfig
from speechadv.evaluation.verify.sounds import read_wav
from speechadv.models import pretrained
from speechadv.report import saved
from speechadv.training.loop import Trainer
from speechadv.training.processes import ALONE
from speechadv.training.settings import TrainingConfig

ROW = {"model": "m", "defense": "none", "attack": "pgd", "threat": "adaptive", "adaptive": True, "budget": "linf:0.002", "seed": 0, "clip": "yes/a_nohash_0.wav",
       "label": "yes", "target": "no", "clean_prediction": "yes", "adversarial_prediction": "no", "linf": 0.002, "snr_db": 30.5, "masking_excess_db": None, "passes": 3,
       "queries": 1, "clean_audio": "audio/a.wav", "adversarial_audio": "audio/b.wav", "perturbation_audio": None, "defended_audio": None, "perturbation_gain_db": None,
       "reached": True, "clean_probabilities": {"yes": 0.9, "no": 0.1}, "adversarial_probabilities": {"no": 0.8, "yes": 0.2}}


@dataclass
class Target:
    """A reader: `read(path)` of a file with the bytes. `good` files are read without an error; at least one must be."""

    name: str
    good: list[bytes]
    read: Callable[[Path], Any]
    share: float = 1.0  # of the inputs, beside the others


def sound(samples: int = 400, rate: int = 16000, channels: int = 1, **options) -> bytes:
    """A short sound file."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).normal(0, 0.1, (samples, channels))
    soundfile.write(buffer, noise, rate, **{"format": "WAV", "subtype": "PCM_16"} | options)
    return buffer.getvalue()


def tar(kind: str, names: dict[str, bytes], **fields) -> bytes:
    """An archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=kind) as archive:
        for name, content in names.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in fields.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def toml(content: Any) -> bytes:
    """A config."""
    import tomli_w

    return tomli_w.dumps(content).encode()


def targets(weights: Path) -> list[Target]:
    """All readers.

    Args:
        weights: of a small network, its card beside it.
    """
    waves = [sound(), sound(channels=2), sound(rate=8000), sound(subtype="FLOAT"), sound(subtype="PCM_24"), sound(subtype="ULAW"), sound(format="RF64"), sound(format="AIFF")]
    packed = [sound(format="FLAC"), sound(2000, format="FLAC"), sound(4000, format="OGG", subtype="VORBIS"), hundred_hours()]
    grid = toml({"attacks": ["pgd", {"name": "pgd", "steps": 3}], "budgets": ["linf:0.002", "snr:30+masking:-6"], "models": ["resnet"], "seeds": [0, 1], "clips": 10})
    training = toml({"name": "a", "epochs": 3, "augmentation": {"gain_db": [-3.0, 3.0]}, "adversary": {"steps": [[0, 2]], "budgets": [[0, "snr:30"]]}, "task": ["yes", "no"]})
    lines = rows.encode(ROW) + rows.encode(ROW | {"seed": 1})
    card = pretrained.card_path(weights).read_bytes()
    texts = [b"linf:0.002", b"snr:30", b"masking:-6:clip-peak", b"linf:66lsb+snr:30db", b"masking+linf:-54dbfs"]
    found = [
        Target("sound files, first second", waves + packed, lambda path: audio.read(path, 16000, 1.0), 3),
        Target("sound files, whole", waves + packed, lambda path: audio.read(path), 2),
        Target("WAV files of a run (verify)", waves[:1], read_wav, 2),
        Target("config of evaluate", [grid], lambda path: configs.load(EvaluationConfig, path), 2),
        Target("config of train", [training], lambda path: configs.load(TrainingConfig, path), 2),
        Target("overrides (--set)", [b"steps=3", b'budgets=["snr:30"]', b"a.b.c=[1, 2]"], lambda path: configs.parse_override(text(path))),
        Target("budgets", texts, lambda path: parse_budget(text(path)), 2),
        Target("defenses", [b"mp3:32", b"bandpass:100-4000+mp3:16", b"none"], lambda path: parse_defense(text(path)), 1),
        Target("rows", [lines.encode(), lines.encode()[:-9]], read_rows, 3),
        Target("clip lists", [b"yes/a_nohash_0.wav\n# no\n\nno/b_nohash_1.wav\n"], lambda path: clips.chosen(["yes/a_nohash_0.wav"], ["yes"], listing(path)), 2),
        Target("split lists", [b"yes/004ae714_nohash_0.wav\nno/beb458a4_nohash_1.wav\n"], speech_commands.listed_names, 2),
        Target("results and probes", [b'{"cells": [], "flags": []}', b"[1, 2.5, null]"], read_result, 2),
        Target("marker of a download", [json.dumps({"sha256": "0" * 64, "files": 1, "bytes": 9}).encode()], read_marker, 1),
        Target("archives", [tar("w:gz", {"a/b.wav": b"x" * 99, "c": b""}), tar("w", {"a/b.wav": b"x" * 99}), tar("w:gz", {"x" * 200: b"y"}, pax_headers={"comment": "z" * 99}),
                            tar("w", {"a": b"1"}, mode=0o777)], read_archive, 2),
        Target("weights", [weights.read_bytes(), safetensors.torch.save({"a": torch.zeros(2)})], read_weights(card), 1),
        Target("model cards", [card], read_card(weights), 1),
        Target("checkpoints of training", [checkpoint()], read_checkpoint, 1),
    ]
    return found + of_others()


def of_others() -> list[Target]:
    """Readers of files and answers that are not ours, where their extras are installed."""
    from speechadv.models import card as cards
    from speechadv.models.remote import answers

    found = [Target("answers of black boxes", [b'{"labels": ["yes", "no"], "scores": [0.9, 0.1]}', b'{"scores": {"yes": 1}}', b'[{"label": "yes", "score": 0.5}]', b"yes"],
                    lambda path: answers.logits(answers.parse(path.read_bytes(), "box"), ("yes", "no"), "box"), 2)]
    if not all(importlib.util.find_spec(name) for name in ("onnx", "flatbuffers", "tflite")):
        return found
    from speechadv.models.imported.onnx_file import read_onnx
    from speechadv.models.imported.tflite_file import read_tflite

    from tests.models import deployed_files

    def read_beside(path: Path) -> Any:
        shutil.copy(path, path.with_name("kws.tflite.toml"))
        return cards.read_card(path.with_name("kws.tflite"), b"")

    return [*found,
            Target("cards of files of others", [toml(deployed_files.CARD), toml(deployed_files.RAW_CARD)], read_beside, 2),
            Target("TensorFlow Lite files", [deployed_files.spotter()], lambda path: read_tflite(path.read_bytes(), "x.tflite"), 1),
            Target("ONNX files", [deployed_files.raw_onnx("Relu", samples=8), deployed_files.raw_onnx("Softmax", "Identity", samples=4)],
                   lambda path: read_onnx(path.read_bytes(), "x.onnx"), 1)]


def hundred_hours() -> bytes:
    """A FLAC header that claims 100 hours over 25 ms of sound."""
    content = bytearray(sound(format="FLAC"))
    frames = 100 * 3600 * 16000
    (low,) = struct.unpack(">I", content[22:26])
    content[21] = content[21] & 0xF0 | frames >> 32
    content[22:26] = struct.pack(">I", frames & 0xFFFFFFFF)
    assert low == 400
    return bytes(content)


def text(path: Path) -> str:
    """A word of a command line: any bytes but NUL."""
    return path.read_bytes().replace(b"\0", b"").decode("utf-8", "surrogateescape")


def listing(path: Path) -> Any:
    """What `chosen` looks at of a config."""
    return SimpleNamespace(clip_list=str(path), clips=None)


def read_rows(path: Path) -> None:
    """As `evaluate` goes on, and as reports read."""
    rows.read(path)
    rows.read_finished(path)


def read_result(path: Path) -> None:
    """As JSON of a run, and as the result that pages are made from."""
    runs.read_json(path)
    shutil.copy(path, path.with_name("result.json"))
    path.with_name("rows.jsonl").touch()
    saved.SavedRun(path.parent).result


def read_marker(path: Path) -> None:
    """Whether a download is there already."""
    shutil.copy(path, path.with_name(downloads.MARKER))
    with contextlib.suppress(InputError):
        downloads._is_there(path.parent, "0" * 64)


def read_archive(path: Path) -> None:
    """Unpacked, and nothing beside the target."""
    target = path.with_name("unpacked")
    try:
        archives.unpack(path, target)
    finally:
        shutil.rmtree(target, ignore_errors=True)
    assert {file.name for file in path.parent.iterdir()} <= {path.name, "unpacked"}, "something was written beside the target"


def read_weights(card: bytes) -> Callable[[Path], None]:
    """With a card that fits the bytes, so that the parser sees them."""
    def read(path: Path) -> None:
        where = path.with_name("w.safetensors")
        shutil.copy(path, where)
        where.with_suffix(".json").write_text(json.dumps(json.loads(card) | {"sha256": hashlib.sha256(where.read_bytes()).hexdigest()}))
        pretrained.load_checkpoint(where)

    return read


def read_card(weights: Path) -> Callable[[Path], None]:
    """Beside good weights."""
    def read(path: Path) -> None:
        where = path.with_name("w.safetensors")
        if not where.exists():
            shutil.copy(weights, where)
        shutil.copy(path, where.with_suffix(".json"))
        pretrained.load_checkpoint(where)

    return read


def checkpoint() -> bytes:
    """What training saves, small."""
    buffer = io.BytesIO()
    torch.save({"model": {"w": torch.zeros(3)}, "average": {}, "optimizer": {}, "best": {}, "epoch": 1, "best_score": 0.5, "best_epoch": 1, "history": "[]",
                "data": "the same"}, buffer)
    return buffer.getvalue()


class Loads:
    """Takes any state, as a network does that the state fits."""

    def load_state_dict(self, state: Any) -> None:
        """Nothing."""


def read_checkpoint(path: Path) -> None:
    """As a training run goes on."""
    trainer = SimpleNamespace(checkpoint=path, folder=path.parent, device="cpu", data="the same", model=Loads(), average=None, optimizer=Loads(), say=lambda line: None,
                              write_history=lambda: None, group=ALONE)
    Trainer.resume(trainer)
