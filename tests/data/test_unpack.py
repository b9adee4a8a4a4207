"""Archives that strangers could build: refused whole, with nothing left behind."""
import io
import tarfile

import pytest

from speechadv.data import unpack as module
from speechadv.data.unpack import unpack
from speechadv.errors import DataError


def archive(path, *entries, mode="w:gz"):
    """A tar of (name, content) or (TarInfo, content)."""
    with tarfile.open(path, mode) as tar:
        for name, content in entries:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if content is not None:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if content is not None else None)
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_good_archives(tmp_path):
    for mode in ("w:gz", "w"):
        path = archive(tmp_path / f"{mode[1:]}.tar", (special("./", tarfile.DIRTYPE), None), ("./yes/a.wav", b"abc"), ("no/b.wav", b""), mode=mode)
        target = tmp_path / f"out{mode[1:]}"
        assert unpack(path, target) == (2, 3)
        assert (target / "yes/a.wav").read_bytes() == b"abc" and (target / "no/b.wav").read_bytes() == b""


def test_modes_and_owners_are_not_taken_over(tmp_path):
    info = tarfile.TarInfo("a.wav")
    info.mode, info.uid = 0o6777, 0
    unpack(archive(tmp_path / "a.tar", (info, b"x")), tmp_path / "out")
    assert (tmp_path / "out/a.wav").stat().st_mode & 0o7111 == 0


BAD = {
    "absolute": (("/etc/evil", b"x"), "absolute"),
    "parent": (("yes/../../evil", b"x"), "leaves the target"),
    "parent alone": (("..", b"x"), "leaves the target"),
    "backslash": (("..\\evil", b"x"), "absolute"),
    "drive": (("C:/evil", b"x"), "absolute"),
    "symlink": ((special("yes", tarfile.SYMTYPE, "/etc"), None), "is a link"),
    "hard link": ((special("yes/b", tarfile.LNKTYPE, "yes/a.wav"), None), "is a link"),
    "device": ((special("null", tarfile.CHRTYPE), None), "neither a file nor a folder"),
    "pipe": ((special("pipe", tarfile.FIFOTYPE), None), "neither a file nor a folder"),
    "twice": (("good.wav", b"y"), "twice"),
    "file as folder": (("good.wav/inside", b"y"), "twice"),
    "control characters": (("../a\nb\x1b[2J", b"x"), r"\.\./a\\nb\\x1b"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_and_nothing_stays(tmp_path, name):
    entry, expected = BAD[name]
    path = archive(tmp_path / "bad.tar", ("good.wav", b"x"), entry)
    with pytest.raises(DataError, match=expected) as caught:
        unpack(path, tmp_path / "out")
    assert "\n" not in str(caught.value) and sorted(p.name for p in tmp_path.iterdir()) == ["bad.tar"]


@pytest.mark.parametrize("limit, value, expected", [
    ("MAX_FILE", 1999, "has 2000 bytes"), ("MAX_ENTRIES", 2, "more than 2 files"), ("MAX_TOTAL", 5999, "more than"),
])
def test_bounds(tmp_path, monkeypatch, limit, value, expected):
    noise = bytes(range(250)) * 8
    path = archive(tmp_path / "big.tar", *((f"{n}.wav", noise) for n in range(3)), mode="w")
    unpack(path, tmp_path / "fits")
    monkeypatch.setattr(module, limit, value)
    with pytest.raises(DataError, match=expected):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_fifty_times_its_own_size(tmp_path):
    path = archive(tmp_path / "bomb.tar", ("zeros.wav", bytes(10**6)))
    assert path.stat().st_size * 50 < 10**6
    with pytest.raises(DataError, match="50 times its own size"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bomb_in_a_header(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HEADERS", 0)
    info = tarfile.TarInfo("a.wav")
    info.pax_headers = {"comment": "0" * 10**6}
    with pytest.raises(DataError, match="50 times its own size"):
        unpack(archive(tmp_path / "bomb.tar", (info, b"x")), tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"words, not an archive", b"\x1f\x8bnot gzip", b"\0" * 20480])
def test_no_archive(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match="archive refused"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_cut_archive(tmp_path, mode):
    path = archive(tmp_path / "a.tar", ("a.wav", bytes(range(256)) * 100), mode=mode)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if mode == "w:gz" else 10000])
    with pytest.raises(DataError, match="archive refused"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
