"""The five commands that are killed, each small, with what they need."""
import hashlib
import http.server
import io
import shutil
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile
import tomli_w

from .harness import Case, Harness

CHUNK, PAUSE = 16384, 0.01  # bytes and seconds: a line of 1.6 MB a second


def cases(weights: Path, data: Path, folder: Path) -> dict[str, Case]:
    """The cases by name.

    Args:
        weights: of a small network.
        data: a small folder in Speech Commands' layout.
        folder: for what the cases need.
    """
    folder.mkdir(parents=True, exist_ok=True)
    task = ["yes", "no", "stop", "go", "_silence_"]
    grid = {"task": task, "models": [str(weights)], "data": [str(data)], "defenses": ["none", "bandpass:200-3000"], "goal": "targeted", "clips": 4,
            "attacks": [{"name": "pgd", "steps": 4}, "noise"], "budgets": ["linf:0.005"], "batch_size": 2}
    training = {"name": "small", "task": task[:3], "model": "tc_resnet8", "data": [str(data)], "epochs": 4, "batch_size": 8, "validation_clips": 4,
                "model_options": {"widths": [6, 8], "n_mels": 16, "n_fft": 512, "hop_length": 512}, "adversary": {"steps": [[0, 2]]}}
    for name, content in (("grid", grid), ("training", training)):
        (folder / f"{name}.toml").write_text(tomli_w.dumps(content))
    files = sorted(map(str, data.glob("[gn]o/*.wav")))[:4]
    found = [evaluate(folder), Case("train", ["train", str(folder / "training.toml"), "--out", "out", "--quiet"]),
             Case("attack", ["attack", *files, "--target", "stop", "--budget", "snr:20", "--steps", "20", "--full", "--defense", "bandpass:100-4000",
                             "--model", str(weights), "--out", "out", "--quiet"]),
             download(folder)]
    return {case.name: case for case in found}


def evaluate(folder: Path) -> Case:
    """A grid of six cells."""
    return Case("evaluate", ["evaluate", str(folder / "grid.toml"), "--out", "out", "--quiet"])


def report(finished: Harness) -> Case:
    """Tables and page of a finished evaluation made again, over old ones of which one is missing."""
    source = finished.folder / f"{finished.case.name}-1" / "out"
    before = dict(finished.expected)
    before.pop("table.csv", None)

    def prepare(place: Path) -> None:
        shutil.copytree(source, place / "out")
        (place / "out" / "table.csv").unlink()

    return Case("report", ["report", "out", "--quiet"], prepare, before=before)


def download(folder: Path) -> Case:
    """An archive from a slow server on this machine."""
    body = archive()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(body))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/speech.tar.gz"
    return Case("download", ["data", "download", "--url", url, "--sha256", hashlib.sha256(body).hexdigest(), "--out", "place/out", "--quiet"],
                lambda place: (place / "place").mkdir(), out="place")


def archive() -> bytes:
    """A tar.gz of 20 clips, 0.6 MB."""
    buffer, generator = io.BytesIO(), np.random.default_rng(0)
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for number in range(20):
            clip = io.BytesIO()
            soundfile.write(clip, generator.integers(-9000, 9000, 16000).astype(np.int16), 16000, format="WAV")
            entry = tarfile.TarInfo(f"yes/{number:08x}_nohash_0.wav")
            entry.size = clip.tell()
            clip.seek(0)
            tar.addfile(entry, clip)
    return buffer.getvalue()


def _handler(body: bytes) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        """Sends the body from the byte that is asked for, in pieces."""

        def log_message(self, *_):
            pass

        def do_GET(self):
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.send_header("ETag", '"1"')
            self.end_headers()
            try:
                for place in range(start, len(body), CHUNK):
                    self.wfile.write(body[place : place + CHUNK])
                    time.sleep(PAUSE)
            except OSError:
                pass  # the other side was killed

    return Handler
