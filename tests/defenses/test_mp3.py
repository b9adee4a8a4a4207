"""MP3 keeps length and time at every bitrate, and repeats itself exactly."""
import numpy as np
import pytest
import torch

from speechadv.defenses.mp3 import BITRATES, DELAY, MP3
from speechadv.errors import ConfigError, InputError


def speechlike(clips=3, time=16000, seed=0):
    """Harmonics of a gliding pitch under a slow envelope plus noise, on the 16-bit grid."""
    generator = np.random.default_rng(seed)
    t = np.arange(time) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 2 * t)) / 16000
    voice = sum(np.sin(k * phase) / k for k in range(1, 20)) * np.hanning(time)
    waves = np.stack([0.1 * voice + 0.002 * generator.standard_normal(time) for _ in range(clips)])
    return torch.from_numpy(np.round(waves * 32768).astype(np.float32) / 32768)


def header_kbps(stream):
    """The bitrates in the frame headers of an MPEG-2 layer III stream, read with this table of ISO/IEC 13818-3, and the sampling rates."""
    table, rates, at, found = (0, *BITRATES), (22050, 24000, 16000), 0, set()
    while at < len(stream):
        sync, version, layer = stream[at] << 3 | stream[at + 1] >> 5, stream[at + 1] >> 3 & 3, stream[at + 1] >> 1 & 3
        assert (sync, version, layer) == (0x7FF, 2, 1)
        kbps, rate, padding = table[stream[at + 2] >> 4], rates[stream[at + 2] >> 2 & 3], stream[at + 2] >> 1 & 1
        found.add((kbps, rate))
        at += 72 * kbps * 1000 // rate + padding
    return found


@pytest.mark.parametrize("kbps", BITRATES)
def test_the_stream_is_constant_bitrate_at_16_khz(kbps):
    stream = MP3(kbps).encode((speechlike(1)[0].numpy() * 32768).astype(np.int16))
    assert header_kbps(stream) == {(kbps, 16000)}


@pytest.mark.parametrize("kbps", BITRATES)
def test_an_impulse_stays_where_it_is(kbps):
    for time, at in ((16000, 8000), (16000, 1), (16000, 15900), (9000, 4321), (577, 300)):
        waveform = torch.zeros(1, time)
        waveform[0, at] = 0.6
        heard = MP3(kbps)(waveform)
        assert heard.shape == waveform.shape
        assert int(heard[0].abs().argmax()) == at


@pytest.mark.parametrize("kbps", BITRATES)
def test_speech_lines_up_with_itself(kbps):
    waveform = speechlike(1)
    heard = MP3(kbps)(waveform)
    spectrum = torch.fft.rfft(heard, 32768) * torch.fft.rfft(waveform, 32768).conj()
    assert int(torch.fft.irfft(spectrum, 32768).argmax()) == 0
    assert float((heard - waveform).square().sum() / waveform.square().sum()) < (0.2 if kbps < 32 else 0.02)


@pytest.mark.parametrize("time", [1, 100, 575, 576, 577, 1104, 1105, 1106, 15999, 16001, 16575, 16576, 16577, 40000])
def test_every_length_is_kept(time):
    for kbps in (8, 32, 160):
        assert MP3(kbps)(speechlike(1, time)).shape == (1, time)


def test_the_decoder_always_returns_enough():
    """The cut never runs past the end, whatever part of a frame the clip ends in."""
    codec = MP3(32)
    for time in range(1000, 1000 + 576, 5):
        assert len(codec.roundtrip(np.zeros(time, np.int16))) == time
    assert DELAY == 576 + 529


def test_bytes_repeat_and_threads_do_not_matter():
    waveforms = speechlike(5)
    samples = (waveforms[0].numpy() * 32768).astype(np.int16)
    assert MP3(32).encode(samples) == MP3(32).encode(samples)
    expected = MP3(32, threads=1)(waveforms)
    for threads in (2, 3):
        assert torch.equal(MP3(32, threads=threads)(waveforms), expected)
    for i in range(5):
        assert torch.equal(MP3(32)(waveforms[i : i + 1])[0], expected[i])


def test_higher_bitrates_are_closer():
    waveform = speechlike(1)
    errors = [float((MP3(kbps)(waveform) - waveform).square().mean()) for kbps in (8, 32, 160)]
    assert errors[0] > errors[1] > errors[2]


def test_full_scale_does_not_wrap():
    waveform = torch.sign(torch.sin(torch.arange(16000) * 0.05))[None].clamp(max=1 - 2**-15)
    heard = MP3(32)(waveform)
    assert heard.max() <= 1 - 2**-15 and heard.min() >= -1
    assert float((heard * waveform > 0).float().mean()) > 0.95
    assert torch.equal(MP3(32)(torch.ones(1, 2000) * 3), MP3(32)(torch.ones(1, 2000)))


def test_input_off_the_grid_is_rounded_as_saving_would():
    waveform = speechlike(1)
    nudged = waveform + 0.3 / 32768
    assert torch.equal(MP3(32)(nudged), MP3(32)(waveform))


@pytest.mark.parametrize("kbps", [16, 32])
def test_the_surrogate_is_nearer_to_the_codec_than_the_clip_is(kbps):
    clip, codec = speechlike(2, 8000), MP3(kbps)
    heard = codec(clip)
    assert ((codec.surrogate(clip) - heard).norm(dim=1) < 0.9 * (clip - heard).norm(dim=1)).all()


def test_the_gradient_of_the_surrogate_leaves_out_what_the_codec_discards():
    clip = speechlike(2, 8000).requires_grad_()
    gradient, = torch.autograd.grad((MP3(16).surrogate(clip) * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))).sum(), clip)
    power = torch.fft.rfft(gradient).abs().square()  # 2 Hz a bin
    assert power[:, 2900:].sum() < 0.05 * power[:, :2000].sum()  # LAME's low-pass at 16 kbit/s lies below 5.8 kHz


def test_silence_has_a_finite_gradient_and_an_empty_batch_is_fine():
    silence = torch.zeros(1, 2000, requires_grad=True)
    assert torch.autograd.grad(MP3(32).surrogate(silence).sum(), silence)[0].isfinite().all()
    assert MP3(32)(torch.zeros(0, 500)).shape == (0, 500)


def test_errors():
    with pytest.raises(InputError, match="NaN"):
        MP3(32)(torch.full((1, 100), float("nan")))
    with pytest.raises(ConfigError, match="quality from 0 to 9"):
        MP3(32, quality=10)
    with pytest.raises(ConfigError, match="at least 1 thread"):
        MP3(32, threads=0)
    with pytest.raises(ConfigError, match="16000 Hz, got 8000"):
        MP3(32, sample_rate=8000)
