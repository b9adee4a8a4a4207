"""The readers of what other people's runs, listeners, servers and folders hold."""
import contextlib
import importlib.util
import json
import shutil
import socket
import threading
from pathlib import Path
from typing import Any, Callable

from speechadv.errors import InputError
from speechadv.evaluation import certificates, corrupted, rows
from speechadv.models.remote import answers
from speechadv.models.remote.transports import Http, Unanswered
from speechadv.registry import lookup
from speechadv.report import abx, saved, tables

from .targets import ROW, Target, toml

CONFIG = {"attacks": ["pgd"], "budgets": ["linf:0.002"], "models": ["m"], "defenses": ["none"], "goal": "targeted", "task": ["yes", "no"]}
ENVIRONMENT = {"speechadv": "1", "seeds": [0], "clips": {"number": 1, "sha256": "0"}, "models": {"m": "0"}}
PROBES = [{"model": "m", "defense": "none", "clips": 1, "largest_difference": 0.0, "sums": [1.0, 1.0], "lowest_output": 0.0, "zero_gradients": 0, "unbounded_tried": 1,
           "unbounded_reached": 1}]
DAMAGED = {"model": "m", "defense": "none", "corruption": "white", "strength": 1, "value": 20.0, "seed": 0, "clip": "yes/a_nohash_0.wav", "label": "yes", "prediction": "yes",
           "audio": None}
CERTIFICATE = dict(zip(certificates.KEYS, ("yes/a.wav", "yes", "m", "yes", 0.01, 0.0025, 100, 10, 0.001, 0.02, 99, 30.0)))
QUESTION = b"RIFF"  # the body of a request; its headers come before it, often by themselves
LISTENER = b"trial,a,b,x,answer,correct\n1,clean,adversarial,a,a,true\n2,clean,adversarial,b,a,false\n"
DEFENDED = {"file": "a.wav", "defense": "mp3:32", "clean_audio": "clean/a.wav", "defended_audio": "a.wav", "seconds": 1.0, "snr_db": 20.0}


def of_runs() -> list[Target]:
    """All of them."""
    lookup("corruption", DAMAGED["corruption"])  # loads them all, which is not the reader's time
    sealed = [rows.sealed(DAMAGED | {"strength": strength}).encode() for strength in (1, 2)]
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 43\r\n\r\n{\"labels\": [\"yes\", \"no\"], \"scores\": [0.9, 0]}"
    return [
        Target("rows with new checksums, into tables", [json.dumps(ROW).encode()], into_tables("rows.jsonl", resealed), 2),
        Target("environment of a run, into tables", [json.dumps(ENVIRONMENT).encode()], into_tables("environment.json", bytes), 1),
        Target("probes of a run, into tables", [json.dumps(PROBES).encode()], into_tables("probes.json", bytes), 1),
        Target("corruptions with new checksums, into tables", [json.dumps(DAMAGED).encode()], into_tables("corruptions.jsonl", resealed), 1),
        Target("certificates with new checksums, into figures", [json.dumps(CERTIFICATE).encode()], into_curve, 1),
        Target("corruptions", [b"".join(sealed), sealed[0][:-5]], corrupted.read, 1),
        Target("certificates", [2 * certificates.encode(CERTIFICATE).encode()], certificates.read, 1),
        Target("files of defend", [2 * (json.dumps(DEFENDED).encode() + b"\n")], read_defended, 1),
        Target("listening tests", [LISTENER], abx.read_listener, 1),
        Target("HTTP answers", [answer, answer.replace(b"Content-Length: 43", b"Transfer-Encoding: chunked").replace(b"\r\n\r\n", b"\r\n\r\n2e\r\n") + b"\r\n0\r\n\r\n"], Box().ask, 0.5),
    ]


def of_folders(folder: Path) -> list[Target]:
    """A Hugging Face folder of which one file is broken, where `transformers` is installed."""
    if not importlib.util.find_spec("transformers"):
        return []
    from speechadv import load_model
    from tests.models.test_hf import saved as small

    small("ast", folder)
    load_model(f"hf:{folder}")  # loads what takes time once

    def read(name: str) -> Callable[[Path], None]:
        def hear(path: Path) -> None:
            copy = path.with_name("hf")
            shutil.copytree(folder, copy, dirs_exist_ok=True)
            shutil.copy(path, copy / name)
            load_model(f"hf:{copy}")

        return hear

    return [Target(f"hf: {name}", [(folder / name).read_bytes()], read(name), 0.1) for name in ("config.json", "preprocessor_config.json")]


def resealed(content: bytes) -> bytes:
    """Rows of someone who knows how checksums are made. Raises InputError where there is no object of JSON."""
    try:
        row = json.loads(content)
        return rows.sealed(row).encode()
    except (ValueError, TypeError, RecursionError, AttributeError):
        raise InputError("no row") from None


def into_tables(name: str, prepared: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """As `report` reads a run of which one file is a stranger's."""
    def read(path: Path) -> None:
        run = path.with_name("run")
        run.mkdir(exist_ok=True)
        files = {"config.toml": toml(CONFIG), "rows.jsonl": rows.encode(ROW).encode(), "environment.json": json.dumps(ENVIRONMENT).encode(),
                 "probes.json": json.dumps(PROBES).encode(), name: prepared(path.read_bytes())}
        for each, content in files.items():
            (run / each).write_bytes(content)
        tables.write_tables(run)

    return read


def into_curve(path: Path) -> None:
    """As figures read certificates. Raises InputError where there are none."""
    path.with_name("certificates").write_bytes(resealed(path.read_bytes()))
    lines = certificates.read(path.with_name("certificates"))
    if not lines:
        raise InputError("no certificates")
    certificates.summary(lines)
    certificates.certified_curve(lines)


def read_defended(path: Path) -> Any:
    """As `report` reads the folder that `defend` left."""
    shutil.copy(path, path.with_name(saved.DEFENDED))
    return saved.SavedDefense(path.parent).rows


class Box:
    """A server on this machine that answers with a file's bytes, whatever they are."""

    def __init__(self):
        self.content, self.port = b"", 0

    def ask(self, path: Path) -> None:
        """One question. Raises InputError: no answer that makes sense."""
        if not self.port:
            self._begin()
        self.content = path.read_bytes()
        try:
            answers.parse(Http(f"http://127.0.0.1:{self.port}/", "box").ask(QUESTION, 1.0), "box")
        except Unanswered as problem:
            raise InputError(ascii(str(problem))) from None

    def _begin(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        threading.Thread(target=self._serve, args=(listening,), daemon=True).start()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            line, _ = listening.accept()
            with line, contextlib.suppress(OSError):
                heard = b""
                while not heard.endswith(QUESTION) and (part := line.recv(65536)):  # hanging up on a body that is still to come would reset the line
                    heard += part
                line.sendall(self.content)
