"""Every defense by its specification: names that make it again, copies, edges of what a clip may be, and words that are refused with what was expected."""
import copy

import pytest
import torch

from speechadv import registry
from speechadv.defenses import defense_name, parse_defense
from speechadv.errors import ConfigError
from speechadv.randomness import clip_generators, drawing

WORDS = ["vorbis:0", "vorbis:10", "opus:12", "opus:64", "resample:4000", "resample:6000", "bits:2", "bits:8", "bits:15", "bits:8:dither", "median:3", "median:31", "wiener",
         "wiener:12.5", "gate", "gate:0", "lowpass:20", "lowpass:3400", "highpass:300", "highpass:62.5", "notch:1000", "notch:50:20", "mel:10", "mel:100", "noise:0",
         "noise:35.5", "shift:1", "shift:500", "randfilter", "randfilter:3", "randcodec", "randcodec:mp3:32,vorbis:5", "psychoacoustic", "psychoacoustic:-6"]
WRONG = [
    ("vorbis", "0 to 10"), ("vorbis:11", "0 to 10"), ("vorbis:-1", "0 to 10"), ("opus:", "12, 16, 20"), ("opus:8", "12, 16, 20"), ("opus:16k", "12, 16, 20"),
    ("resample", "resample:HZ"), ("resample:8001", "multiple of 500"), ("resample:16000", "below 16000"), ("resample:500", "from 1000"), ("resample:-8000", "resample:HZ"),
    ("bits", "bits:N or bits:N:dither"), ("bits:1", "2 to 15"), ("bits:16", "2 to 15"), ("bits:8:noise", "bits:N:dither"), ("median:4", "odd"), ("median:33", "odd"), ("median", "odd"),
    ("wiener:0", "1 to 60 dB"), ("wiener:loud", "wiener:DB"), ("wiener:nan", "wiener:DB"), ("gate:-1", "0 to 40 dB"), ("gate:1e3", "gate:DB"), ("lowpass", "lowpass:HZ"),
    ("lowpass:7990", "20 to 7980"), ("lowpass:0", "20 to 7980"), ("highpass:10", "20 to 7980"), ("highpass:300-400", "highpass:HZ"), ("notch:", "notch:HZ:WIDTH"),
    ("notch:50:200", "between 0 and 8000"), ("notch:1000:5", "at least 20"), ("notch:1000:200:3", "notch:HZ:WIDTH"), ("mel:9", "10 to 100"), ("mel:101", "10 to 100"), ("mel:forty", "10 to 100"),
    ("noise:-1", "0 to 80 dB"), ("noise:inf", "noise:DB"), ("shift:0", "1 to 500"), ("shift:501", "1 to 500"), ("shift:1.5", "1 to 500"), ("randfilter:0", "1 to 40 dB"),
    ("randfilter:9dB", "randfilter:DB"), ("randcodec:mp3:32", "2 to 16 codecs"), ("randcodec:mp3:32,mp3:32", "each one once"), ("randcodec:mp3:32,bits:8", "'bits:8' is no codec"),
    ("randcodec:mp3:32,", "unknown defense ''"), ("randcodec:mp3:32,opus:7", "12, 16, 20"), ("psychoacoustic:13", "-40 to 12 dB"), ("psychoacoustic:12:3", "psychoacoustic:DB"),
]


def noise(count, time, level=0.1, seed=0):
    clips = level * torch.randn(count, time, generator=torch.Generator().manual_seed(seed))
    return (clips.clamp(-1, 1 - 2**-15) * 32768).round() / 32768


def drawn(defense, clips, first=0):
    with drawing(defense, clip_generators(0, "test", [str(first + i) for i in range(len(clips))])):
        return defense(clips)


@pytest.fixture(params=WORDS)
def made(request):
    (defense,) = parse_defense(request.param)
    assert defense.name == request.param and defense_name(parse_defense(defense.name)) == request.param
    return defense.eval()


def test_the_list_is_whole():
    assert {word.partition(":")[0] for word in WORDS} == set(registry.names("defense")) - {"air", "bandpass", "mp3"}


@pytest.mark.parametrize("time", [1, 2, 3, 130, 511, 513, 5000])
def test_any_length(made, time):
    clips = noise(3, time)
    heard = drawn(made, clips)
    assert heard.shape == clips.shape and heard.isfinite().all() and torch.equal((heard * 32768).round().clamp(-32768, 32767), heard * 32768)
    assert torch.equal(drawn(made, clips), heard), "the same generators, the same samples"
    assert torch.equal(drawn(made, clips[2:], first=2)[0], heard[2]), "alone as in the batch"
    stand_in = clips.requires_grad_()
    with drawing(made, clip_generators(0, "test", "abc")):
        slope, = torch.autograd.grad(made.surrogate(stand_in).sum(), stand_in)
    assert slope.isfinite().all()


def test_silence_and_full_scale(made):
    silent = drawn(made, torch.zeros(1, 700))
    assert silent.abs().max() <= (2.0 ** (1 - made.bits) if "dither" in made.name else 2**-15)
    square = torch.sign(torch.sin(torch.arange(700) * 0.3))[None].clamp(max=1 - 2**-15)
    loud = drawn(made, square)
    assert loud.isfinite().all() and loud.min() >= -1 and loud.max() <= 1 - 2**-15
    off_grid = made(noise(1, 700) + 0.3 / 32768)
    assert torch.equal((off_grid * 32768).round(), off_grid * 32768)


def test_a_copy_does_the_same(made):
    clips = noise(2, 900)
    assert torch.equal(drawn(copy.deepcopy(made), clips), drawn(made, clips))


@pytest.mark.parametrize("word, expected", WRONG)
def test_a_wrong_word_is_told_what_was_expected(word, expected):
    with pytest.raises(ConfigError, match=f"defense {word.partition(':')[0]}: expected") as raised:
        parse_defense(word)
    assert expected in str(raised.value) and "\n" not in str(raised.value)


def test_they_compose():
    chain = parse_defense("lowpass:3400+bits:8+opus:16")
    clip = noise(1, 3000)
    heard = clip
    for part in chain:
        heard = part(heard)
    assert defense_name(chain) == "lowpass:3400+bits:8+opus:16" and heard.shape == clip.shape and not torch.equal(heard, clip)
