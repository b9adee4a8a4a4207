"""Vorbis and Opus: aligned to the sample at each quality and bitrate, repeatable, nearer with more bits; and the gradient that is fitted to them."""
import numpy as np
import pytest
import torch

from speechadv.defenses import parse_defense
from speechadv.defenses.codec import Codec
from speechadv.defenses.ogg import BLOCK
from speechadv.defenses.opus import BITRATES, Opus
from speechadv.defenses.vorbis import QUALITIES, Vorbis
from speechadv.errors import ConfigError, InputError

WORDS = [*(f"vorbis:{quality}" for quality in QUALITIES), *(f"opus:{kbps}" for kbps in BITRATES)]


def speechlike(count, time=6000):
    """Voiced sound: harmonics that glide, louder and softer, over noise."""
    generator, seconds = torch.Generator().manual_seed(0), torch.arange(time) / 16000
    pitch = torch.linspace(110, 180, count)[:, None] * (1 + 0.1 * torch.sin(12 * seconds))
    voice = sum(torch.sin(2 * torch.pi * k * (pitch / 16000).cumsum(1)) / k for k in range(1, 20))
    clips = 0.06 * voice * (1.2 + torch.sin(25 * seconds)) + 0.002 * torch.randn(count, time, generator=generator)
    return (clips * 32768).round() / 32768


@pytest.mark.parametrize("word", WORDS)
def test_nothing_is_delayed(word):
    (codec,) = parse_defense(word)
    click = torch.zeros(1, 4000)
    click[0, 1777] = 0.6
    assert int(codec(click)[0].abs().argmax()) == 1777
    clip = speechlike(1)
    heard = codec(clip)
    product = torch.fft.rfft(heard, 16384) * torch.fft.rfft(clip, 16384).conj()
    assert int(torch.fft.irfft(product, 16384).argmax()) == 0


def test_more_bits_are_nearer():
    clip = speechlike(1)
    for words in (("vorbis:0", "vorbis:4", "vorbis:10"), ("opus:12", "opus:24", "opus:64")):
        errors = [float((parse_defense(word)[0](clip) - clip).square().mean()) for word in words]
        assert errors[0] > errors[1] > errors[2] > 0


def test_streams_are_smaller_at_lower_bitrates_and_the_sound_repeats():
    samples = (speechlike(1, 16000)[0].numpy() * 32768).astype(np.int16)
    assert len(Opus(12).encode(samples)) < len(Opus(32).encode(samples)) < len(Opus(128).encode(samples))
    assert len(Vorbis(0).encode(samples)) < len(Vorbis(10).encode(samples))
    assert np.array_equal(Vorbis(3).roundtrip(samples), Vorbis(3).roundtrip(samples))


@pytest.mark.parametrize("codec", [Vorbis, Opus])
def test_threads_and_the_batch_do_not_matter(codec):
    clips = speechlike(4, 3000)
    expected = codec(threads=1)(clips)
    assert torch.equal(codec(threads=3)(clips), expected)
    assert torch.equal(torch.cat([codec()(clip[None]) for clip in clips]), expected)


def test_a_clip_longer_than_a_block_comes_back_whole():
    clip = speechlike(1, BLOCK + 500)
    heard = Vorbis(3)(clip)
    assert heard.shape == clip.shape and (heard - clip).square().sum() < 0.1 * clip.square().sum()
    assert (heard[:, BLOCK - 200 : BLOCK + 200] - clip[:, BLOCK - 200 : BLOCK + 200]).norm() < 0.5 * clip[:, BLOCK - 200 : BLOCK + 200].norm()


@pytest.mark.parametrize("word", ["vorbis:0", "opus:12", "opus:24", "randcodec:vorbis:0,opus:12"])
def test_the_surrogate_is_nearer_to_the_codec_than_the_clip_is(word):
    clips, (codec,) = speechlike(2), parse_defense(word)
    heard = codec(clips)
    assert ((codec.fitted_surrogate(clips, heard) - heard).norm(dim=1) < 0.9 * (clips - heard).norm(dim=1)).all()


def test_an_empty_batch_and_what_is_refused():
    assert parse_defense("opus:16")[0](torch.zeros(0, 500)).shape == parse_defense("randcodec")[0](torch.zeros(0, 500)).shape == (0, 500)
    for codec, message in ((Vorbis, "vorbis"), (Opus, "opus")):
        with pytest.raises(InputError, match=f"defense {message}: expected finite"):
            codec()(torch.full((1, 100), float("nan")))
        with pytest.raises(ConfigError, match=f"defense {message}: expected a sample rate of 16000 Hz"):
            codec(sample_rate=8000)
        with pytest.raises(ConfigError, match=f"defense {message}: expected at least 1 thread"):
            codec(threads=0)


def test_every_codec_is_for_randcodec():
    from speechadv import registry

    codecs = {name for name in registry.names("defense") if issubclass(registry.lookup("defense", name), Codec)}
    assert codecs == {"mp3", "opus", "vorbis"}
    assert {word.partition(":")[0] for word in (codec.name for codec in parse_defense("randcodec")[0].codecs)} == codecs
