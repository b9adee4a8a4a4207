"""Black boxes on this machine: programs that print, and a server on the loopback address."""
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

LOUDNESS = '''
import array, json, math, sys, time, wave

with wave.open(sys.argv[-1]) as file:
    assert (file.getsampwidth(), file.getnchannels(), file.getframerate()) == (2, 1, 16000)
    samples = array.array("h", file.readframes(file.getnframes()))
with open("asked.txt", "a") as counter:
    counter.write("x")
loud = math.sqrt(sum(x * x for x in samples) / len(samples)) / 32768
p = 1 / (1 + math.exp(-40 * (loud - 0.05)))
'''
ENDINGS = {
    "scores": 'print(json.dumps({"labels": ["loud", "quiet"], "scores": [p, 1 - p]}))',
    "label": 'print("loud" if p > 0.5 else "quiet")',
    "nonsense": 'print("<html>Hello</html>")',
    "other": 'print(json.dumps({"label": "banana"}))',
    "nan": 'print(\'{"scores": {"loud": NaN, "quiet": 1}}\')',
    "partial": 'print(\'{"scores": {"loud": 1.0}}\')',
    "fails": "sys.exit(3)",
    "sleeps": "time.sleep(60)",
    "floods": 'print("x" * 3_000_000)',
    "nothing": "pass",
    "wavers": 'print("loud" if loud < 0.06 else json.dumps({"scores": {"loud": p, "quiet": 1 - p}}))',
}


@pytest.fixture
def program(tmp_path, monkeypatch):
    """`program("scores", "queries=5")` -> a word of --model; the program notes each call in asked.txt of the working folder."""
    monkeypatch.chdir(tmp_path)

    def write(ending, settings=""):
        (tmp_path / f"{ending}.py").write_text(LOUDNESS + ENDINGS[ending])
        return f"command:'{sys.executable}' -I -S {ending}.py {{wav}}" + (f"#{settings}" if settings else "")

    write.asked = lambda: len((tmp_path / "asked.txt").read_text()) if (tmp_path / "asked.txt").exists() else 0
    return write


@pytest.fixture
def server():
    """A server whose answers a test sets: `reply` is called with the WAV and the number of the question and gives (status, body)."""
    state = SimpleNamespace(asked=0, headers=None, reply=lambda wav, number: (200, json.dumps({"loud": 1})))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            state.asked += 1
            state.headers = dict(self.headers)
            status, body = state.reply(self.rfile.read(int(self.headers["Content-Length"])), state.asked)
            if status is None:
                return
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            for part in [body] if isinstance(body, str) else body:
                self.wfile.write(part.encode())
                self.wfile.flush()

        def handle(self):
            try:
                super().handle()
            except OSError:  # the other side hung up
                pass

        def log_message(self, *arguments):
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    state.address = f"http://127.0.0.1:{listening.server_port}/classify"
    yield state
    listening.shutdown()
    listening.server_close()
