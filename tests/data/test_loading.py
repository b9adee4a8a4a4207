"""Decoding and its cache."""
import errno
import io
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechadv import audio
from speechadv.data import background, load, loading, scan
from speechadv.data.speech_commands import Clip
from speechadv.errors import InputError


def clip(path):
    return Clip(path, "yes", "s", f"yes/{path.name}", "train")


@settings(max_examples=15, deadline=None)
@given(have=st.integers(1, 60), length=st.integers(1, 60))
def test_padded_at_the_end_or_cut(tmp_path_factory, have, length):
    samples = np.arange(1, have + 1, dtype=np.int16)
    path = tmp_path_factory.mktemp("clip") / "a.wav"
    audio.write_pcm16(path, audio.from_pcm16(samples))
    out = load([clip(path)], length=length)
    assert out.shape == (1, length) and out.dtype == np.int16
    assert np.array_equal(out[0], audio.fitted(samples, length))


def test_order_rates_and_notices(tmp_path, make):
    paths = [make.put(tmp_path / f"{n}.wav", np.full(8000, n * 1000, np.int16), rate=8000 if n == 2 else 16000) for n in range(1, 5)]
    notices = []
    out = load([clip(p) for p in paths], threads=3, notice=notices.append)
    assert out[:, 4000].tolist() == pytest.approx([1000, 2000, 3000, 4000], abs=2)
    assert len(notices) == 1 and "2.wav" in notices[0] and "resampled" in notices[0]


def cut_short(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    return path


def test_straight_into_a_row_is_what_reading_gives_with_the_same_notices(tmp_path, make):
    """Plain files and all kinds that are not: shorter, longer, empty of sound, cut off, of other rates, depths and channels."""
    pcm = np.random.default_rng(0).integers(-32768, 32767, 12000, dtype=np.int16, endpoint=True)

    def put(name, samples=pcm, **options):
        return make.put(tmp_path / name, samples, **options)

    paths = [put(f"plain{len(x)}.{suffix}", x) for suffix in ("wav", "flac") for x in (pcm, pcm[:8000], pcm[:7999], pcm[:1])]
    paths += [put("big_endian.wav", endian="BIG"), put("aiff.aiff"), put("ogg.ogg", (pcm // 4).astype(np.int16)), put("rf64.rf64")]
    paths += [put("rate.wav", rate=8000), put("stereo.flac", np.stack([pcm, pcm // 2], 1)), put("zeros.wav", np.zeros(7900, np.int16))]
    paths += [put("float.wav", pcm[:6400] / 20000, subtype="FLOAT"), put("deep.flac", pcm[:6400] / 32768, subtype="PCM_24"), put("bytes.wav", subtype="PCM_U8")]
    paths += [cut_short(put("short.wav", pcm[:7900]), 8000), cut_short(put("short.flac", pcm[:7900]), 12000), cut_short(put("odd.wav", pcm[:7900]), 8001)]
    expected, told, notices = [], [], []
    for path in paths:
        expected.append(audio.to_pcm16(audio.fitted(audio.read(path, 16000, 0.5, told.append), 8000)))
    assert np.array_equal(load([clip(p) for p in paths], length=8000, threads=2, notice=notices.append), expected)
    assert sorted(notices) == sorted(told) and len(told) >= 10
    assert [p.name for p in paths if loading._read_plain(p, 16000, np.empty(8000, np.int16))] == [
        "plain8000.wav", "plain7999.wav", "plain1.wav", "plain8000.flac", "plain7999.flac", "plain1.flac"]


def test_bad_clip_is_named(tmp_path, make):
    make.put(tmp_path / "good.wav")
    (tmp_path / "bad.wav").write_text("text")
    with pytest.raises(InputError, match="bad.wav"):
        load([clip(tmp_path / "good.wav"), clip(tmp_path / "bad.wav")])


def test_background_is_the_training_part(made_tree):
    noise = background([made_tree])
    assert [len(n) for n in noise] == [round(12 * 16000 * 0.8)] and noise[0].dtype == np.float32
    assert len(background([made_tree], "test")[0]) == 12 * 1600


@pytest.fixture
def cached(monkeypatch):
    """The cache used from the first clip on; gives its folder's files."""
    monkeypatch.setattr(loading, "CACHE_FROM", 1)
    return lambda: sorted(p.name for p in loading.cache_folder().glob("*"))


def test_cache_gives_the_same_and_is_used(made_tree, cached, monkeypatch):
    clips = [c for c in scan(made_tree) if c.split == "train"]
    first = load(clips)
    assert len(cached()) == 1 and isinstance(first, np.memmap)
    monkeypatch.setattr(audio, "read", None)  # not decoded again
    assert np.array_equal(load(clips), first)
    first[0] = 7  # copy on write: the file stays
    assert not (load(clips)[0] == 7).all()


def test_changed_file_is_decoded_again(made_tree, cached, make):
    clips = [c for c in scan(made_tree) if c.split == "train"]
    before = load(clips).copy()
    make.put(clips[0].path, np.full(1600, 5, np.int16))
    os.utime(clips[0].path, ns=(1, 1))
    assert load(clips)[0][0] == 5 != before[0][0] and len(cached()) == 2


def test_cache_is_bounded(made_tree, cached):
    clips = [c for c in scan(made_tree) if c.split == "train"]
    bound = 3 * 32128
    for c in clips[:6]:
        load([c], cache_bytes=bound)
    assert 1 <= len(cached()) <= 3
    load(clips, cache_bytes=1000)
    assert len(cached()) <= 3


def test_bound_of_the_cache_from_the_environment(made_tree, cached, monkeypatch):
    clips = scan([made_tree])
    monkeypatch.setenv("SPEECHADV_CACHE_BYTES", "0")
    assert not isinstance(load(clips), np.memmap) and not cached()
    monkeypatch.setenv("SPEECHADV_CACHE_BYTES", str(10**9))
    assert isinstance(load(clips), np.memmap) and len(cached()) == 1
    monkeypatch.setenv("SPEECHADV_CACHE_BYTES", "2G")
    with pytest.raises(InputError, match="^SPEECHADV_CACHE_BYTES: expected a number of bytes, 0 for no cache, got '2G'"):
        load(clips)


def test_broken_cache_and_failed_decoding_leave_nothing(made_tree, cached, tmp_path):
    clips = [c for c in scan(made_tree) if c.split == "train"][:2]
    good = load(clips).copy()
    (loading.cache_folder() / cached()[0]).write_bytes(b"broken")
    assert np.array_equal(load(clips), good)
    (tmp_path / "bad.wav").write_text("text")
    with pytest.raises(InputError):
        load([*clips, clip(tmp_path / "bad.wav")])
    assert len(cached()) == 1


def test_full_disk_while_decoding_means_no_cache(made_tree, cached, monkeypatch):
    clips = [c for c in scan(made_tree) if c.split == "train"]
    expected = load(clips).copy()
    (loading.cache_folder() / cached()[0]).unlink()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(loading, "BLOCK", 5)
    assert np.array_equal(load(clips), expected) and not cached()


def test_blocks_do_not_change_the_cache(made_tree, cached, monkeypatch):
    clips = [c for c in scan(made_tree) if c.split == "train"]
    contents = []
    for block, threads in ((1, 1), (3, 2), (1000, 4)):
        monkeypatch.setattr(loading, "BLOCK", block)
        load(clips, threads=threads)
        path = loading.cache_folder() / cached()[0]
        contents.append(path.read_bytes())
        path.unlink()
    stored = io.BytesIO()
    np.save(stored, load(clips, cache_bytes=0))
    assert contents == [stored.getvalue()] * 3


def test_no_cache_where_the_folder_cannot_be_made(made_tree, cached, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPEECHADV_CACHE", str(tmp_path / "file" / "below"))
    assert load([c for c in scan(made_tree) if c.split == "train"]).shape[1] == 16000
