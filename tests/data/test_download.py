"""Downloads from a server on loopback: whole, broken, resumed, changed, hostile."""
import hashlib
import http.server
import io
import json
import re
import tarfile
import threading

import numpy as np
import pytest
from click.testing import CliRunner

from speechadv.cli.data import command
from speechadv.data import download as module
from speechadv.data import scan
from speechadv.data.download import ARCHIVES, MARKER, download
from speechadv.errors import DataError, InputError, SpeechAdvError


class Server(http.server.ThreadingHTTPServer):
    """Serves one body. `ranges`: keeps to Range; `breaks`: bytes after which each answer is cut, in turn; `status` or `location`: answers that."""

    daemon_threads = True
    body = b""
    ranges = True
    status = 200
    location = None

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.breaks, self.asked, self.tag = [], [], '"1"'

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/speech.tar.gz"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append((wanted, self.headers.get("If-Range")))
        if server.location or server.status != 200:
            self.send_response(302 if server.location else server.status)
            self.send_header("Location", server.location or "")
            return self.end_headers()
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
        if self.headers.get("If-Range") not in (None, server.tag):
            start = 0
        if start >= len(server.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.body)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        self.send_header("Content-Length", str(len(server.body) - start))
        self.send_header("ETag", server.tag)
        self.end_headers()
        length = server.breaks.pop(0) if server.breaks else len(server.body)
        self.wfile.write(server.body[start : start + length])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    running = Server()
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    running.body = tar_of({f"yes/{speaker}_nohash_0.wav": wav(n) for n, speaker in enumerate(("004ae714", "ff2b842e", "beb458a4"))})
    yield running
    running.shutdown()
    running.server_close()


def wav(seed):
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(seed).integers(-9000, 9000, 16000).astype(np.int16), 16000, format="WAV")
    return buffer.getvalue()


def tar_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def digest(server):
    return hashlib.sha256(server.body).hexdigest()


def left(folder):
    return sorted(p.name for p in folder.iterdir())


def test_whole_then_left_alone(server, tmp_path):
    seen, out = [], tmp_path / "new" / "data"
    assert download(server.url, digest(server).upper(), out, progress=lambda done, total: seen.append((done, total)))
    assert len(scan(out)) == 3 and seen[0] == (0, len(server.body)) and seen[-1] == (len(server.body),) * 2
    assert left(tmp_path / "new") == ["data"]
    assert not download(server.url, digest(server), out) and len(server.asked) == 1
    marker = json.loads((out / MARKER).read_text())
    assert marker["sha256"] == digest(server) and marker["files"] == 3


def test_broken_connection_goes_on(server, tmp_path):
    server.breaks = [20000, 30000]
    assert download(server.url, digest(server), tmp_path / "out")
    assert server.asked == [(None, None), ("bytes=20000-", '"1"'), ("bytes=50000-", '"1"')]


def test_killed_download_is_taken_up_by_the_next_call(server, tmp_path):
    server.breaks = [20000]

    def killed(done, total):
        if done == 20000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(server.url, digest(server), tmp_path / "out", progress=killed)
    assert not (tmp_path / "out").exists() and len(left(tmp_path)) == 1
    notices = []
    download(server.url, digest(server), tmp_path / "out", notice=notices.append)
    assert server.asked[1][0] == "bytes=20000-" and notices == ["going on after 20000 bytes"] and left(tmp_path) == ["out"]


def test_server_that_ignores_ranges(server, tmp_path):
    server.ranges, server.breaks = False, [20000]
    notices = []
    assert download(server.url, digest(server), tmp_path / "out", notice=notices.append)
    assert "from its beginning" in notices[0] and len(scan(tmp_path / "out")) == 3


def test_file_that_changed_meanwhile(server, tmp_path):
    new, old = server.body, tar_of({"old.wav": wav(9)})
    server.body, server.breaks, server.tag = old, [20000] + [0] * 9, '"old"'
    with pytest.raises(DataError, match="run the same command again"):
        download(server.url, hashlib.sha256(new).hexdigest(), tmp_path / "out")
    server.body, server.breaks, server.tag = new, [], '"new"'
    assert download(server.url, digest(server), tmp_path / "out")


def test_part_of_another_file_without_validator(server, tmp_path):
    server.breaks = [20000] + [0] * 9
    with pytest.raises(DataError):
        download(server.url, digest(server), tmp_path / "out")
    work, server.breaks = next(tmp_path.iterdir()), []
    (work / "archive").write_bytes(b"x" * 20000)
    notices = []
    assert download(server.url, digest(server), tmp_path / "out", notice=notices.append)
    assert any("starting afresh" in n for n in notices)


@pytest.mark.parametrize("size", [0, 5])
def test_part_that_is_whole_or_longer_already(server, tmp_path, size):
    server.breaks = [20000] + [0] * 9
    with pytest.raises(DataError):
        download(server.url, digest(server), tmp_path / "out")
    server.breaks = []
    (next(tmp_path.iterdir()) / "archive").write_bytes(server.body + b"x" * size)
    assert download(server.url, digest(server), tmp_path / "out")


def test_wrong_hash_leaves_nothing(server, tmp_path):
    with pytest.raises(DataError, match="expected SHA-256 0000.*, got " + digest(server)):
        download(server.url, "0" * 64, tmp_path / "below" / "out")
    assert left(tmp_path) == []


def test_hostile_archive_leaves_nothing(server, tmp_path):
    server.body = tar_of({"good.wav": b"x", "../evil.wav": b"x"})
    with pytest.raises(DataError, match="leaves the target"):
        download(server.url, digest(server), tmp_path / "out")
    assert left(tmp_path) == []


def test_offline_is_one_line(tmp_path):
    with pytest.raises(DataError, match="cannot download .*offline") as caught:
        download("http://127.0.0.1:9/a.tar.gz", "0" * 64, tmp_path / "x" / "out")
    assert "\n" not in str(caught.value) and left(tmp_path) == []


@pytest.mark.parametrize("status", [404, 403, 503])
def test_refusing_server_is_named(server, tmp_path, status):
    server.status = status
    with pytest.raises(DataError, match=str(status)):
        download(server.url, "0" * 64, tmp_path / "out")
    assert left(tmp_path) == []


@pytest.mark.parametrize("location", ["http://example.com/a", "file:///etc/passwd", "ftp://127.0.0.1/a"])
def test_redirect_keeps_to_the_rule(server, tmp_path, location):
    server.location = location
    with pytest.raises(SpeechAdvError):
        download(server.url, "0" * 64, tmp_path / "out")
    assert left(tmp_path) == []


@pytest.mark.parametrize("url", ["http://example.com/a.tar", "ftp://127.0.0.1/a", "file:///etc/passwd", "a.tar", "http://127.0.0.1@example.com/a", "http://[::1/a"])
def test_addresses_that_are_refused(tmp_path, url):
    with pytest.raises(InputError, match="--url"):
        download(url, "0" * 64, tmp_path / "out")


def test_bad_hash_and_foreign_folder(server, tmp_path):
    with pytest.raises(InputError, match="64 hexadecimal"):
        download(server.url, "123", tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(InputError, match="mine.*other files"):
        download(server.url, digest(server), tmp_path / "mine")
    with pytest.raises(InputError, match="got a file"):
        download(server.url, digest(server), tmp_path / "mine/letter.txt")
    assert left(tmp_path) == ["mine"] and server.asked == []


def test_folder_of_another_archive_or_with_a_clip_lost(server, tmp_path):
    download(server.url, digest(server), tmp_path / "out")
    with pytest.raises(InputError, match="holds another archive"):
        download(server.url, "0" * 64, tmp_path / "out")
    next((tmp_path / "out/yes").iterdir()).unlink()
    with pytest.raises(InputError, match="expected the 3 files.*found 2"):
        download(server.url, digest(server), tmp_path / "out")


def test_server_that_sends_without_end(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_TOTAL", 1000)
    with pytest.raises(DataError, match="at most"):
        download(server.url, digest(server), tmp_path / "out")


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


def test_command(server, tmp_path):
    first = run("download", "--url", server.url, "--sha256", digest(server), "--out", tmp_path / "out")
    again = run("download", "--url", server.url, "--sha256", digest(server), "--out", tmp_path / "out")
    assert first.exit_code == again.exit_code == 0
    assert "downloaded, checked and unpacked" in first.output and "already there" in again.output
    assert f"SPEECHADV_DATA={tmp_path / 'out'}" in first.output


@pytest.mark.parametrize("arguments, expected", [
    ((), "either an archive"), (("v0.02", "--url", "https://x"), "either an archive"), (("v0.2",), "did you mean 'v0.02'"),
    (("--url", "https://x/y"), "needs --sha256"),
])
def test_command_refuses(tmp_path, arguments, expected):
    result = run("download", *arguments, "--out", tmp_path / "out")
    assert isinstance(result.exception, SpeechAdvError) and expected in str(result.exception)


def test_official_archives_are_complete():
    assert set(ARCHIVES) == {"v0.01", "v0.02", "test-v0.01", "test-v0.02"}
    assert len({a.sha256 for a in ARCHIVES.values()}) == 4
    for archive in ARCHIVES.values():
        assert re.fullmatch("[0-9a-f]{64}", archive.sha256) and archive.url.startswith("https://storage.googleapis.com/download.tensorflow.org/data/")


@pytest.mark.parametrize("when", ["before the end", "before it was written"])
def test_nothing_of_a_killed_call_stays_in_the_end(when, server, tmp_path):
    def fetched():
        return download(server.url, hashlib.sha256(server.body).hexdigest(), tmp_path / "out")

    assert when == "before it was written" or fetched()
    work = tmp_path / f".speechadv-{hashlib.sha256(bytes(tmp_path / 'out')).hexdigest()[:12]}"
    work.mkdir()
    for name in ("lock", ".speechadv-0123456789abcdef"):
        (work / name).write_bytes(b"half")
    if when == "before the end":
        (work / "archive").write_bytes(server.body)
    assert fetched() == (when == "before it was written")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_second_process_is_refused(server, tmp_path):
    work = tmp_path / f".speechadv-{hashlib.sha256(bytes(tmp_path / 'out')).hexdigest()[:12]}"
    work.mkdir()
    with module._alone(work, tmp_path / "out"), pytest.raises(InputError, match="another process is downloading into it"):
        download(server.url, hashlib.sha256(server.body).hexdigest(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
