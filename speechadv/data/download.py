"""Fetching an archive: resumed where it broke off, checked by SHA-256, unpacked safely, there as a whole or not at all."""
import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

from ..audio import ASIDE, Notice, silent, write_bytes
from ..errors import DataError, InputError, shown
from .unpack import MAX_TOTAL, unpack

ADDRESS = "https://storage.googleapis.com/download.tensorflow.org/data/"
MARKER = ".speechadv-download.json"
TIMEOUT = 30  # s without a byte
ATTEMPTS = 5  # in a row that bring nothing new
CHUNK = 2**18
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Archive:
    """An official archive. The hashes are those that torchaudio, TensorFlow Datasets and the SUPERB benchmark publish for it."""

    file: str
    sha256: str
    size: int  # bytes

    @property
    def url(self) -> str:
        return ADDRESS + self.file


ARCHIVES = {
    "v0.02": Archive("speech_commands_v0.02.tar.gz", "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58", 2428923189),
    "v0.01": Archive("speech_commands_v0.01.tar.gz", "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d", 1489096277),
    "test-v0.02": Archive("speech_commands_test_set_v0.02.tar.gz", "cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df", 112563277),
    "test-v0.01": Archive("speech_commands_test_set_v0.01.tar.gz", "baa084f6b62c91de660ff0588ae4dfc4e4d534aa99ac0e5f406cba75836cbd00", 71271436),
}


def download(url: str, sha256: str, out: Path, *, progress: Progress = lambda done, total: None, notice: Notice = silent) -> bool:
    """Fetch an archive and unpack it as the folder `out`.

    While it runs, everything lies in a hidden folder beside `out`; a broken download stays there and the next call goes on with it.

    Args:
        url: https, or http on this machine (loopback).
        sha256: 64 hexadecimal digits.
        out: a new or empty folder, or one that an earlier call with the same hash made.
        progress: called with bytes so far and in all (None where the server does not say).
        notice: called with a line when the download is taken up again or started afresh.

    Returns:
        False where it was there already (nothing is fetched then).

    Raises:
        InputError: url, hash or folder of another kind. DataError: unreachable, another hash, or an archive that is refused.
    """
    _check_address(url)
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InputError(f"--sha256 '{shown(sha256)[:80]}': expected 64 hexadecimal digits")
    out = out.absolute()
    work = out.parent / f"{ASIDE}{hashlib.sha256(os.fsencode(out)).hexdigest()[:12]}"
    if _is_there(out, sha256.lower()):
        if work.is_dir():  # a call was killed right before its end
            with contextlib.suppress(InputError, OSError), _alone(work, out):
                shutil.rmtree(work)
        return False
    try:
        with _folders_for(work, out), _alone(work, out):
            for leftover in work.glob(f"{ASIDE}*"):  # not whole when a call was killed
                leftover.unlink()
            archive = _verified(url, sha256.lower(), work, progress, notice)
            _install(archive, work, out, url, sha256.lower())
    except OSError as problem:
        raise DataError(f"--out '{shown(out)}': {problem.strerror or problem}") from None
    return True


@contextlib.contextmanager
def _folders_for(work: Path, out: Path) -> Iterator[None]:
    """The work folder and its missing parents; those that end up empty are taken away again."""
    made = [folder for folder in work.parents if not folder.exists()]
    work.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty: a broken download stays to be taken up again
            for folder in [work, *made]:
                folder.rmdir()


def _is_there(out: Path, sha256: str) -> bool:
    """Whether `out` is the whole result of an earlier call. Raises InputError where it holds something else."""
    if not out.exists() or out.is_dir() and not any(out.iterdir()):
        return False
    named = f"--out '{shown(out)}'"
    if not out.is_dir():
        raise InputError(f"{named}: expected a folder, got a file")
    try:
        marker = json.loads((out / MARKER).read_bytes())
        had, files, size = marker["sha256"], marker["files"], marker["bytes"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{named}: expected an empty or new folder, got one with other files") from None
    if had != sha256:
        raise InputError(f"{named}: holds another archive (SHA-256 {shown(had)[:12]}…); name another folder")
    found = [p.stat().st_size for p in out.rglob("*") if p.is_file() and p != out / MARKER]
    if (len(found), sum(found)) != (files, size):
        raise InputError(f"{named}: expected the {files} files of the archive as unpacked, found {len(found)}; remove the folder and download again")
    return True


@contextlib.contextmanager
def _alone(work: Path, out: Path) -> Iterator[None]:
    """One process at a time downloads into a folder; the lock goes with the process."""
    lock = work / "lock"
    with lock.open("wb") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # not on Windows
            pass
        except OSError:
            raise InputError(f"--out '{shown(out)}': another process is downloading into it") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _verified(url: str, sha256: str, work: Path, progress: Progress, notice: Notice) -> Path:
    """The archive with the wanted hash. A resumed one that has another hash is fetched once more from its beginning."""
    partial = work / "archive"
    resumed = partial.exists() and partial.stat().st_size > 0
    while True:
        _fetch(url, partial, work / "origin.json", progress, notice)
        with partial.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found == sha256:
            return partial
        _forget(work)
        if not resumed:
            raise DataError(f"'{shown(url)}': expected SHA-256 {sha256}, got {found}; the file was removed")
        notice("the parts do not make the expected file, starting afresh")
        resumed = False


def _forget(work: Path) -> None:
    for name in ("archive", "origin.json"):
        (work / name).unlink(missing_ok=True)


def _fetch(url: str, partial: Path, origin: Path, progress: Progress, notice: Notice) -> None:
    """Bring the file to its full length, going on after each break, until several attempts in a row bring nothing."""
    failures = 0
    while failures < ATTEMPTS:
        had = partial.stat().st_size if partial.exists() else 0
        try:
            if _fetch_rest(url, partial, origin, progress, notice):
                return
            problem = "the connection broke off"
        except urllib.error.HTTPError as refusal:
            if refusal.code < 500:
                raise DataError(f"'{shown(url)}': the server answers {refusal.code} {shown(refusal.reason)}") from None
            problem = f"the server answers {refusal.code}"
        except (http.client.HTTPException, urllib.error.URLError, ssl.SSLError, ConnectionError, TimeoutError) as broken:
            cause = getattr(broken, "reason", None) or broken
            problem = f"{shown(getattr(cause, 'strerror', None) or cause)} (offline?)"
        got = partial.stat().st_size if partial.exists() else 0
        failures = 0 if got > had else failures + 1
        if had == got == 0:
            raise DataError(f"cannot download '{shown(url)}': {problem}")
        time.sleep(0.1 * 2**failures)
    raise DataError(f"'{shown(url)}': {problem} after {got} bytes; run the same command again to go on from there")


def _fetch_rest(url: str, partial: Path, origin: Path, progress: Progress, notice: Notice) -> bool:
    """One request for what is missing. True when the file has the length that the server says."""
    had = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "speechadv", "Accept-Encoding": "identity"}
    validator = _validator(origin, url) if had else None
    if had:
        headers["Range"] = f"bytes={had}-"
        headers |= {"If-Range": validator} if validator else {}
    try:
        answer = _opener(url).open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as refusal:
        if refusal.code != 416:
            raise
        return _whole_already(refusal, had, partial)
    with answer:
        try:
            start, total = _extent(answer, had)
        except http.client.HTTPException:
            partial.unlink()  # the next request asks for the whole file
            raise
        if had:
            notice(f"going on after {had} bytes" if start else "the server sends the file from its beginning, starting afresh")
        if total is not None and total > MAX_TOTAL:
            raise DataError(f"'{shown(url)}': {total} bytes, at most {MAX_TOTAL // 10**9} GB are fetched")
        if not start:
            write_bytes(origin, json.dumps({"url": url, "validator": _strong_validator(answer)}).encode())
        with partial.open("r+b" if partial.exists() else "wb") as file:
            file.truncate(start)
            file.seek(start)
            return _copy(answer, file, start, total, progress)


def _copy(answer, file, start: int, total: int | None, progress: Progress) -> bool:
    done = start
    progress(done, total)
    while chunk := answer.read(CHUNK):
        done += len(chunk)
        if done > (MAX_TOTAL if total is None else total):
            raise DataError(f"the server sends more than the {total if total is not None else MAX_TOTAL} bytes that were expected")
        file.write(chunk)
        progress(done, total)
    return total is None or done == total


def _extent(answer, had: int) -> tuple[int, int | None]:
    """Where the answer's bytes belong and how many the whole file has. A server that ignores the range sends the file from 0."""
    length = answer.headers.get("Content-Length", "")
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        if found and int(found[1]) == had:
            return had, int(found[2]) if found[2] != "*" else None
        raise http.client.HTTPException(f"the server sent another part than bytes {had}-")
    return 0, int(length) if length.isdigit() else None


def _whole_already(refusal: urllib.error.HTTPError, had: int, partial: Path) -> bool:
    """Status 416: nothing comes after what is here. The part is dropped where it is longer than the file; the hash judges the rest."""
    found = re.fullmatch(r"bytes \*/(\d+)", refusal.headers.get("Content-Range", "").strip())
    if found and int(found[1]) != had:
        partial.unlink()
        return False
    return True


def _strong_validator(answer) -> str | None:
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else None


def _validator(origin: Path, url: str) -> str | None:
    """The ETag under which the part was fetched, so that a changed file is sent anew."""
    try:
        content = json.loads(origin.read_bytes())
        return content["validator"] if content["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _install(archive: Path, work: Path, out: Path, url: str, sha256: str) -> None:
    """Unpack beside and move into place in one step."""
    unpacked = work / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        files, size = unpack(archive, unpacked)
    except DataError:
        _forget(work)
        raise
    write_bytes(unpacked / MARKER, json.dumps({"url": url, "sha256": sha256, "files": files, "bytes": size}).encode())
    if out.is_dir():
        out.rmdir()  # empty, as was checked
    os.replace(unpacked, out)
    _forget(work)


def _check_address(url: str) -> None:
    """https everywhere, plain http on this machine alone. Raises InputError."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        parts.port
    except ValueError:
        raise InputError(f"--url '{shown(url)}': expected an address such as {ADDRESS}…") from None
    if not host or parts.scheme not in ("https", "http"):
        raise InputError(f"--url '{shown(url)}': expected an https address")
    if parts.scheme == "http" and not is_loopback(host):
        raise InputError(f"--url '{shown(url)}': expected https, plain http is for this machine (loopback) alone")


def is_loopback(host: str) -> bool:
    """Whether a host name is this machine: localhost, 127.x.y.z or ::1."""
    import ipaddress

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _CarefulRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect has to keep to the rule for addresses, and may not lead from elsewhere to this machine."""

    def redirect_request(self, request, file, code, message, headers, new_url):
        _check_address(new_url)
        if is_loopback(urllib.parse.urlsplit(new_url).hostname) and not is_loopback(urllib.parse.urlsplit(request.full_url).hostname):
            raise InputError(f"'{shown(request.full_url)}': redirects to this machine")
        return super().redirect_request(request, file, code, message, headers, new_url)


def _opener(url: str) -> urllib.request.OpenerDirector:
    direct = [urllib.request.ProxyHandler({})] if is_loopback(urllib.parse.urlsplit(url).hostname) else []
    return urllib.request.build_opener(_CarefulRedirects, *direct)
