"""Unpacking a tar archive from a stranger: what could leave the target, point elsewhere or fill the disk is refused, whole."""
import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from ..errors import DataError, shown

MAX_FILE = 256 * 10**6  # bytes
MAX_ENTRIES = 200_000  # files and folders
MAX_TOTAL = 20 * 10**9  # bytes
MAX_RATIO = 50  # of the archive's own size
HEADERS = 2**26  # bytes of headers and padding that the stream may hold beside the files
CHUNK = 2**20


def unpack(archive: Path, target: Path) -> tuple[int, int]:
    """Unpack a `.tar` or `.tar.gz` into a new folder.

    Refused, not skipped: absolute names, `..`, links, devices, sparse files, a name twice, a file over 256 MB, more than 200,000 entries, more than
    20 GB or 50 times the archive's own size in all. Permissions and owners of the archive are not taken over.

    Args:
        archive: the file.
        target: a folder that does not exist yet; nothing stays of it when the archive is refused.

    Returns:
        Number of files and their bytes.

    Raises:
        DataError: refused, or no tar archive. OSError: the disk is full and the like.
    """
    target.mkdir(parents=True)
    try:
        with archive.open("rb") as file:
            return _unpack_stream(_Bounded(_decompressed(file), _total_limit(archive) + HEADERS), target, _total_limit(archive))
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as problem:
        shutil.rmtree(target)
        raise DataError(f"archive refused: expected a tar or tar.gz archive: {shown(problem) or 'it ends early'}") from None
    except BaseException:
        shutil.rmtree(target)
        raise


def _total_limit(archive: Path) -> int:
    return min(MAX_TOTAL, MAX_RATIO * archive.stat().st_size)


def _decompressed(file):
    gzipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if gzipped else file


class _Bounded:
    """Reads at most `limit` bytes in all: tarfile itself believes a header's size before we see the entry."""

    def __init__(self, file, limit: int):
        self.file, self.left = file, limit

    def read(self, size: int) -> bytes:
        content = self.file.read(min(size, self.left + 1))
        self.left -= len(content)
        if self.left < 0:
            raise DataError(f"archive refused: it holds more than {MAX_TOTAL // 10**9} GB or {MAX_RATIO} times its own size")
        return content


def _unpack_stream(stream: _Bounded, target: Path, limit: int) -> tuple[int, int]:
    files = total = 0
    with tarfile.open(fileobj=stream, mode="r|") as entries:
        for number, entry in enumerate(entries, start=1):
            entries.members.clear()  # tarfile keeps each entry it has seen
            total += entry.size if entry.isreg() else 0
            place = target / _checked_name(entry)
            _check_size(entry, number, total, limit)
            try:
                if entry.isdir():
                    place.mkdir(parents=True, exist_ok=True)
                else:
                    _write(entries.extractfile(entry), place)
                    files += 1
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise DataError(f"archive refused: it holds '{shown(entry.name)}' twice") from None
    if not files:
        raise DataError("archive refused: it holds no files")
    return files, total


def _checked_name(entry: tarfile.TarInfo) -> PurePosixPath:
    named = f"archive refused: '{shown(entry.name)[:200]}'"
    path = PurePosixPath(entry.name)
    if path.is_absolute() or "\\" in entry.name or ":" in entry.name.split("/")[0] or "\0" in entry.name:
        raise DataError(f"{named} is an absolute name")
    if ".." in path.parts:
        raise DataError(f"{named} leaves the target folder")
    if entry.issym() or entry.islnk():
        raise DataError(f"{named} is a link")
    if not (entry.isdir() or entry.isreg()) or entry.sparse is not None:
        raise DataError(f"{named} is neither a file nor a folder")
    if entry.isreg() and not path.parts:
        raise DataError(f"{named} is a file without a name")
    return path


def _check_size(entry: tarfile.TarInfo, number: int, total: int, limit: int) -> None:
    if entry.size > MAX_FILE:
        raise DataError(f"archive refused: '{shown(entry.name)[:200]}' has {entry.size} bytes, at most {MAX_FILE // 10**6} MB are allowed")
    if number > MAX_ENTRIES:
        raise DataError(f"archive refused: it holds more than {MAX_ENTRIES:,} files")
    if total > limit:
        raise DataError(f"archive refused: it holds more than {MAX_TOTAL // 10**9} GB or {MAX_RATIO} times its own size")


def _write(source, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with source, place.open("xb") as file:
        shutil.copyfileobj(source, file, CHUNK)
