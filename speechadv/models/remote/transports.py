"""How a WAV file gets to a black box and its answer back: a command without a shell, or one HTTP request."""
import contextlib
import http.client
import ipaddress
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Iterator
from urllib.parse import urlsplit

from ...errors import ConfigError, InputError, shown
from .answers import LONGEST

PLACE = "{wav}"  # in a command: the path of the file to hear
TRY_AGAIN = (408, 425, 429)  # HTTP statuses after which the same question may be asked again; so are all from 500 on


class Unanswered(Exception):
    """A question that was asked in vain and may be asked again; the message says why."""


class Command:
    """A program that is called with the path of a WAV file and prints its answer.

    Args:
        text: the command as one would type it; `{wav}` stands for the path. It is split into words by the shell's rules of quoting; no shell runs it.
        where: names the model in messages.

    Raises:
        ConfigError: the command cannot be split, or does not name `{wav}`.
    """

    def __init__(self, text: str, where: str):
        self.where = where
        try:
            self.words = shlex.split(text)
        except ValueError as problem:
            raise ConfigError(f"{where}: expected a command, its quotes do not match ({problem})") from None
        if not any(PLACE in word for word in self.words[1:]):
            raise ConfigError(f"{where}: expected a command with {PLACE} where the path of the file goes, such as command:'./recognise {PLACE}'")

    def ask(self, wav: bytes, timeout: float) -> bytes:
        """What the program prints. Raises Unanswered: time-out, exit status above 0. InputError: it cannot be started."""
        with tempfile.TemporaryDirectory(prefix="speechadv-") as folder, tempfile.TemporaryFile() as printed:
            path = Path(folder) / "clip.wav"
            path.write_bytes(wav)
            words = [word.replace(PLACE, str(path)) for word in self.words]
            try:
                process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.DEVNULL, start_new_session=True)
            except OSError as problem:
                raise InputError(f"{self.where}: cannot run '{shown(words[0])}': {problem.strerror}") from None
            with _ended(process):
                try:
                    status = process.wait(timeout)
                except subprocess.TimeoutExpired:
                    raise Unanswered(f"no answer within {timeout:g} s") from None
            if status:
                raise Unanswered(f"the command ended with status {status}")
            printed.seek(0)
            return _whole(printed.read(LONGEST + 1), self.where)


@contextlib.contextmanager
def _ended(process: subprocess.Popen) -> Iterator[None]:
    """Nothing of a process is left afterwards, its children included."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Http:
    """An address that is sent a WAV file (POST, audio/wav) and answers with JSON or a label. Redirects are not followed, proxies not used.

    Args:
        address: https, or plain http where the host is this machine or a private address.
        where: names the model in messages.

    Raises:
        ConfigError: no such address.
    """

    def __init__(self, address: str, where: str):
        self.where = where
        try:
            parts = urlsplit(address)
            self.host, self.port = parts.hostname, parts.port
        except ValueError as problem:
            raise ConfigError(f"{where}: expected an address: {problem}") from None
        if not self.host or parts.username is not None:
            raise ConfigError(f"{where}: expected http://HOST:PORT/PATH or https://HOST/PATH, without a user name")
        if parts.scheme == "http" and not _is_near(self.host):
            raise ConfigError(f"{where}: expected https:// (plain http is for this machine and private addresses)")
        if not address.isascii() or not address.isprintable() or " " in address:
            raise ConfigError(f"{where}: expected an address of printable ASCII letters; write others as %XX")
        self.connection = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def ask(self, wav: bytes, timeout: float) -> bytes:
        """The body of the answer. Raises Unanswered: no connection, time-out, busy or failing server. InputError: any other status than 200."""
        connection, late = self.connection(self.host, self.port, timeout=timeout), threading.Event()
        timer = None
        try:
            connection.connect()
            timer = threading.Timer(timeout, _hang_up, (connection.sock, late))  # the socket's own time-out begins anew with each byte
            timer.start()
            connection.request("POST", self.path, wav, {"Content-Type": "audio/wav", "Accept": "application/json", "User-Agent": "speechadv"})
            response = connection.getresponse()
            status, body = response.status, response.read(LONGEST + 1)
        except (OSError, http.client.HTTPException, ValueError) as problem:
            if late.is_set() or isinstance(problem, TimeoutError):
                raise Unanswered(f"no answer within {timeout:g} s") from None
            raise Unanswered(f"{type(problem).__name__}: {getattr(problem, 'strerror', None) or problem}") from None
        finally:
            if timer:
                timer.cancel()
            connection.close()
        if late.is_set():
            raise Unanswered(f"no answer within {timeout:g} s")
        if status in TRY_AGAIN or status >= 500:
            raise Unanswered(f"the server answers with status {status}")
        if status != 200:
            raise InputError(f"{self.where}: expected status 200, the server answers with {status}")
        return _whole(body, self.where)


def _hang_up(line: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):  # closed in between
        line.shutdown(socket.SHUT_RDWR)


def _is_near(host: str) -> bool:
    """Whether a host is this machine or a literal private address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def _whole(content: bytes, where: str) -> bytes:
    if len(content) > LONGEST:
        raise InputError(f"{where}: expected an answer of at most {LONGEST} bytes")
    return content
