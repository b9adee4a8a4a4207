"""Reading what strangers bring, writing bit-exactly, levels."""
import os
import struct

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechadv import audio
from speechadv.errors import InputError, SpeechAdvError

RATE = 16000


def tone(seconds=1.0, rate=RATE, frequency=440.0, level=0.5):
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def read(path, **keywords):
    """The samples and the notices."""
    notices = []
    return audio.read(path, notice=notices.append, **keywords), notices


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_sixteen_bit_round_trip_is_exact(tmp_path, suffix):
    wave = audio.to_grid(tone())
    audio.write_pcm16(tmp_path / f"a.{suffix}", torch.from_numpy(wave))
    again, notices = read(tmp_path / f"a.{suffix}")
    assert again.dtype == np.float32 and np.array_equal(again, wave) and notices == []
    assert soundfile.info(tmp_path / f"a.{suffix}").subtype == "PCM_16"


def test_ogg_is_read(tmp_path):
    soundfile.write(tmp_path / "a.ogg", tone(), RATE)
    wave, _ = read(tmp_path / "a.ogg")
    assert len(wave) == RATE and np.corrcoef(wave, tone())[0, 1] > 0.99


def content(name, folder):
    """A bad or odd file by name."""
    path = folder / f"{name}.wav"
    wave = tone()
    if name == "empty":
        path.write_bytes(b"")
    elif name == "text":
        path.write_text("these are words, not sound\n" * 20)
    elif name == "no samples":
        soundfile.write(path, wave[:0], RATE)
    elif name in ("nan", "inf"):
        wave[100] = float(name)
        soundfile.write(path, wave, RATE, subtype="FLOAT")
    elif name == "integers as float":
        soundfile.write(path, wave * 32768, RATE, subtype="FLOAT")
    elif name == "folder":
        path.mkdir()
    elif name == "header alone":
        soundfile.write(path, wave, RATE)
        path.write_bytes(path.read_bytes()[:44])
    return path


@pytest.mark.parametrize("name, expected", [
    ("empty", "the file is empty"), ("text", "its content is none"), ("no samples", "holds no samples"), ("nan", "NaN"), ("inf", "infinite"),
    ("integers as float", "integers saved as float"), ("folder", "got a folder"), ("missing", "no such file"), ("header alone", "no samples"),
])
def test_refused_in_one_line_that_names_the_file(tmp_path, name, expected):
    with pytest.raises(InputError) as caught:
        audio.read(content(name, tmp_path), seconds=1)
    assert expected in str(caught.value) and f"{name}.wav" in str(caught.value) and "\n" not in str(caught.value)


def test_control_characters_of_a_name_are_escaped(tmp_path):
    with pytest.raises(InputError, match=r"a\\nb\\x1b"):
        audio.read(tmp_path / "a\nb\x1b.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_pipe_is_refused_instead_of_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(InputError, match="special file"):
        audio.read(tmp_path / "pipe.wav")


def test_raw_suffix_and_null_byte_are_one_line(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"12345678")
    for name in ("a.raw", "a\0.wav"):
        with pytest.raises(InputError):
            audio.read(tmp_path / name)


def test_truncated_wav_is_noticed_and_used(tmp_path):
    path = tmp_path / "cut.wav"
    soundfile.write(path, tone(), RATE)
    path.write_bytes(path.read_bytes()[:20044])
    wave, notices = read(path, seconds=1)
    assert wave.shape == (RATE,) and not wave[10000:].any() and wave[:9000].any()
    assert len(notices) == 1 and "ends early, 12000 bytes" in notices[0] and "cut.wav" in notices[0]


def test_truncated_flac_is_noticed(tmp_path):
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE), RATE)
    path.write_bytes(path.read_bytes()[:60000])
    wave, notices = read(path)
    assert 0 < len(wave) < 3 * RATE and any("ends early" in n for n in notices)


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_break_right_after_a_whole_block_loses_nothing(blocks):
    class Broken:
        """Decodes so many whole blocks; at the end of the last one the decoder fails."""

        channels, left = 1, blocks

        def read(self, out):
            out[:] = 0.25
            self.left -= 1
            if not self.left:
                raise soundfile.LibsndfileError(0)
            return out

    wave, early = audio._mono(Broken(), 10 * audio.BLOCK, "cut.flac")
    assert early and len(wave) == blocks * audio.BLOCK and (wave == 0.25).all()


def test_wav_written_into_a_pipe_is_whole(tmp_path):
    path = tmp_path / "stream.wav"
    soundfile.write(path, tone(), RATE)
    whole = bytearray(path.read_bytes())
    whole[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(whole)
    assert not [n for n in read(path)[1] if "early" in n]


def test_rf64_and_odd_chunks(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), RATE, format="RF64")
    assert audio.riff_bytes_missing(tmp_path / "a.wav") == 0
    data = b"abc\0" + b"data" + struct.pack("<I", 100) + b"\0" * 60
    (tmp_path / "b.wav").write_bytes(b"RIFF" + struct.pack("<I", 0) + b"WAVE" + b"odd " + struct.pack("<I", 3) + data)
    assert audio.riff_bytes_missing(tmp_path / "b.wav") == 40


def test_flac_that_claims_100_hours_allocates_what_it_holds(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, tone(), RATE)
    data = bytearray(path.read_bytes())
    claimed = 100 * 3600 * RATE
    data[21] = data[21] & 0xF0 | claimed >> 32
    data[22:26] = struct.pack(">I", claimed & 0xFFFFFFFF)
    path.write_bytes(data)
    assert soundfile.info(path).frames == claimed
    wave, notices = read(path)
    assert len(wave) == RATE and any("ends early" in n for n in notices)


def test_beyond_full_scale_is_clipped_with_a_notice(tmp_path):
    soundfile.write(tmp_path / "loud.wav", tone(level=1.5), RATE, subtype="FLOAT")
    wave, notices = read(tmp_path / "loud.wav")
    assert wave.max() == 1 - 2**-15 and wave.min() == -1
    assert "beyond full scale clipped, the peak was 1.5" in notices[0]


def test_stereo_is_mixed_down(tmp_path):
    soundfile.write(tmp_path / "two.wav", np.stack([tone(), -tone() / 2], axis=1), RATE)
    wave, notices = read(tmp_path / "two.wav")
    assert np.abs(wave - tone() / 4).max() < 1e-4 and "2 channels mixed down" in notices[0]


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_other_rates_are_resampled_without_delay(tmp_path, rate):
    soundfile.write(tmp_path / "r.wav", tone(rate=rate), rate)
    wave, notices = read(tmp_path / "r.wav")
    assert len(wave) == RATE and f"resampled from {rate} Hz to 16000 Hz" in notices[0]
    assert np.abs(wave - tone())[200:-200].max() < 2e-3


def test_24_bit_is_rounded_with_a_notice(tmp_path):
    soundfile.write(tmp_path / "d.wav", tone(), RATE, subtype="PCM_24")
    wave, notices = read(tmp_path / "d.wav")
    assert np.array_equal(wave, audio.to_grid(wave)) and "24-bit samples rounded" in notices[0]


def test_ten_minutes_are_cut_to_what_is_heard(tmp_path):
    soundfile.write(tmp_path / "ten.wav", np.tile(tone(), 600), RATE)
    wave, notices = read(tmp_path / "ten.wav", seconds=1)
    assert wave.shape == (RATE,) and "only the first 1 s" in notices[0] and len(notices) == 1
    assert len(read(tmp_path / "ten.wav")[0]) == 600 * RATE


def test_more_than_half_an_hour_is_refused_in_full(tmp_path):
    soundfile.write(tmp_path / "hour.flac", np.zeros(3600 * 1000 + 1, np.int16), 1000)
    with pytest.raises(InputError, match="at most 30 minutes"):
        audio.read(tmp_path / "hour.flac")


def test_zeros_are_read_with_a_notice(tmp_path):
    soundfile.write(tmp_path / "z.wav", np.zeros(RATE), RATE)
    wave, notices = read(tmp_path / "z.wav")
    assert not wave.any() and "all samples are zero" in notices[0]


def test_short_clip_is_padded_at_the_end(tmp_path):
    soundfile.write(tmp_path / "s.wav", audio.to_pcm16(tone(0.5)), RATE)
    wave, notices = read(tmp_path / "s.wav", seconds=1)
    assert np.array_equal(wave[:8000], audio.to_grid(tone(0.5))) and not wave[8000:].any() and notices == []


def test_name_of_250_letters_and_quotes(tmp_path):
    for name in ("x" * 246 + ".wav", "a'\"\n b.wav", "-dash.wav"):
        audio.write_pcm16(tmp_path / name, np.zeros(4, np.float32))
        assert len(audio.read(tmp_path / name)) == 4
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("wave", [np.full(4, 0.1, np.float32), np.full(4, 1.0, np.float32), np.full(4, np.nan, np.float32), np.zeros((1, 4))])
def test_off_the_grid_is_not_written(tmp_path, wave):
    with pytest.raises(ValueError, match="expected"):
        audio.write_pcm16(tmp_path / "a.wav", wave)
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_the_old_file_and_nothing_beside(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpeechAdvError, match="cannot write .*a.wav.*No space left"):
        audio.write_pcm16(path, np.zeros(4, np.float32))
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=50))
def test_grid_is_idempotent_exact_and_the_same_for_torch(values):
    wave = np.array(values, np.float32)
    grid = audio.to_grid(wave)
    assert np.array_equal(audio.to_grid(grid), grid) and grid.min() >= -1 and grid.max() <= 1 - 2**-15
    assert np.abs(grid - wave.clip(-1, 1 - 2**-15)).max() <= 2**-16
    assert np.array_equal(audio.to_grid(torch.from_numpy(wave)).numpy(), grid)
    assert np.array_equal(audio.from_pcm16(audio.to_pcm16(wave)), grid)


@settings(max_examples=50, deadline=None)
@given(st.floats(-120, 0))
def test_levels_are_inverse_to_each_other(dbfs):
    amplitude = audio.dbfs_to_amplitude(dbfs)
    assert audio.amplitude_to_dbfs(amplitude) == pytest.approx(dbfs, abs=1e-9)
    assert audio.lsb_to_amplitude(audio.amplitude_to_lsb(amplitude)) == pytest.approx(amplitude)


def test_known_levels():
    assert audio.amplitude_to_dbfs(1) == 0 and audio.amplitude_to_dbfs(0) == -np.inf
    assert audio.dbfs_to_amplitude(-20) == pytest.approx(0.1) and audio.lsb_to_amplitude(1) == 2**-15


@settings(max_examples=50, deadline=None)
@given(st.floats(-20, 80), st.integers(0, 9))
def test_snr_is_what_was_mixed(snr, seed):
    draw = torch.Generator().manual_seed(seed)
    clean, noise = torch.randn(3, 500, generator=draw), torch.randn(3, 500, generator=draw)
    scale = clean.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True) * 10 ** (-snr / 20)
    assert torch.allclose(audio.snr_db(clean, noise * scale), torch.full((3,), snr, dtype=torch.float64), atol=1e-4)


def test_snr_of_zeros():
    some, none = torch.ones(1, 4), torch.zeros(1, 4)
    assert audio.snr_db(some, none) == torch.inf and audio.snr_db(none, some) == -torch.inf and audio.snr_db(none, none).isnan()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_fitted_pads_at_the_end_or_cuts(have, want):
    wave = np.arange(1, have + 1, dtype=np.float32)
    out = audio.fitted(wave, want)
    assert len(out) == want and np.array_equal(out[: min(have, want)], wave[: min(have, want)]) and not out[have:].any()
