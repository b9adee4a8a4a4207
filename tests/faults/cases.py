"""The five commands that are killed, each small, with what they need."""
import hashlib
import http.server
import io
import os
import shutil
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile
import tomli_w

from speechadv.audio import write_bytes

from .harness import Case, Harness

CHUNK, PAUSE = 16384, 0.01  # bytes and seconds: a line of 1.6 MB a second


def cases(weights: Path, data: Path, folder: Path) -> dict[str, Case]:
    """The cases by name; `report` is made of the finished `evaluate`.

    Args:
        weights: of a small network.
        data: a small folder in Speech Commands' layout.
        folder: for what the cases need.
    """
    folder.mkdir(parents=True, exist_ok=True)
    task = ["yes", "no", "stop", "go", "_silence_"]
    grid = {"task": task, "models": [str(weights)], "data": [str(data)], "defenses": ["none", "bandpass:200-3000"], "goal": "targeted", "clips": 4,
            "attacks": [{"name": "pgd", "steps": 3}, "noise"], "budgets": ["linf:0.005"], "batch_size": 2}
    training = {"name": "small", "task": task[:3], "model": "tc_resnet8", "data": [str(data)], "epochs": 3, "batch_size": 8, "validation_clips": 2,
                "model_options": {"widths": [6, 8], "n_mels": 16, "n_fft": 512, "hop_length": 512}, "adversary": {"steps": [[0, 1]]}}
    for name, content in (("grid", grid), ("training", training)):
        (folder / f"{name}.toml").write_text(tomli_w.dumps(content))
    files = sorted(map(str, data.glob("[gn]o/*.wav")))[:4]
    found = [evaluate(folder), Case("train", ["train", str(folder / "training.toml"), "--out", "out", "--quiet"]),
             Case("attack", ["attack", *files, "--target", "stop", "--budget", "snr:20", "--steps", "10", "--full", "--defense", "bandpass:100-4000",
                             "--model", str(weights), "--out", "out", "--quiet"]),
             download(folder),
             Case("defend", ["defend", *files, "--defense", "bandpass:100-4000", "--out", "out", "--quiet"]),
             Case("certify", ["certify", "--model", str(weights), "--sigma", "0.01", "--n", "200", "--n0", "10", "--task", ",".join(task), "--clips", "4",
                              "--out", "out", "--quiet"], within=lambda: os.environ.update(SPEECHADV_DATA=str(data)))]
    return {case.name: case for case in found}


def evaluate(folder: Path) -> Case:
    """A grid of six cells, without the page that `report` makes: drawing it would take most of the time."""
    return Case("evaluate", ["evaluate", str(folder / "grid.toml"), "--out", "out", "--quiet"], within=without_page)


def without_page() -> None:
    """From here on, in this process, a run's page is its table alone."""
    from speechadv.report import page

    page.write_page = small_page


def small_page(run: Path) -> None:
    """In place of `write_page`."""
    write_bytes(Path(run) / "index.html", (Path(run) / "table.md").read_bytes())


def report(finished: Harness, page: bool = True) -> Case:
    """Tables and page of a finished evaluation made again, over old ones of which one is missing; page=False: as `without_page`."""
    source = finished.whole / "out"
    before = dict(finished.expected)
    before.pop("table.csv", None)

    def prepare(place: Path) -> None:
        shutil.copytree(source, place / "out")
        (place / "out" / "table.csv").unlink()

    return Case("report", ["report", "out", "--quiet"], prepare, before=before, within=(lambda: None) if page else without_page)


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
