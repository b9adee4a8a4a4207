"""Random defenses: what is drawn has the spread that is documented, comes from a clip's own generator, and lets gradients through."""
import pytest
import torch

from speechadv.audio import snr_db
from speechadv.defenses import Defended, parse_defense
from speechadv.errors import ConfigError, InputError
from speechadv.randomness import clip_generators, drawing

RANDOM = ["noise:20", "shift:20", "randfilter", "randcodec:mp3:16,vorbis:0", "bits:8:dither"]


def clips(count, time=2000):
    return (0.1 * torch.randn(count, time, generator=torch.Generator().manual_seed(0)) * 32768).round() / 32768


def generators(count, seed=0):
    return clip_generators(seed, "random", [str(i) for i in range(count)])


def through(word, waveforms, seed=0):
    (defense,) = parse_defense(word)
    with drawing(defense, generators(len(waveforms), seed)):
        return defense(waveforms)


@pytest.mark.parametrize("word", RANDOM)
def test_draws_come_from_each_clips_generator_alone(word):
    clip = clips(1).expand(16, -1)
    heard = through(word, clip)
    assert torch.equal(through(word, clip), heard) and not torch.equal(through(word, clip, seed=1), heard)
    assert len({tuple(row.tolist()) for row in heard}) > 1, "equal clips are heard otherwise"
    state = torch.get_rng_state()
    (defense,) = parse_defense(word)
    defense(clip)
    assert torch.equal(torch.get_rng_state(), state), "the global state is left alone"
    with drawing(defense, generators(3)), pytest.raises(InputError, match="expected 16 generators"):
        defense(clip)


def test_noise_has_its_level_whatever_the_clip():
    clip = clips(3) * torch.tensor([[1.0], [0.3], [0.1]])
    for level in (10, 30):
        assert torch.allclose(snr_db(clip, through(f"noise:{level}", clip) - clip), torch.tensor(float(level), dtype=torch.float64), atol=0.1)


def test_shifts_are_uniform_and_silence_moves_in():
    impulse = torch.zeros(400, 101)
    impulse[:, 50] = 0.5
    places = through("shift:2", impulse).argmax(1) - 50  # 32 samples to each side
    assert places.min() == -32 and places.max() == 32 and abs(float(places.double().mean())) < 3 and len(places.unique()) > 55
    assert (through("shift:2", impulse).abs().sum(1) == 0.5).all()
    assert parse_defense("shift:20")[0].moves


def test_filters_stay_within_their_range_and_do_not_delay():
    (defense,) = parse_defense("randfilter:6")
    kernels = defense.kernels(torch.rand(50, 12, generator=torch.Generator().manual_seed(0)))
    level = 20 * torch.log10(torch.fft.rfft(kernels, 2048).abs())
    assert kernels.shape == (50, 511) and torch.allclose(kernels, kernels.flip(1)) and level.abs().max() < 6.1 and level.std(0).min() > 1.5
    flat = defense.kernels(torch.full((1, 12), 0.5))
    assert torch.allclose(flat[0], torch.eye(511, dtype=torch.float64)[255], atol=1e-12), "gains of 0 dB are no filter"
    impulse = torch.zeros(20, 1500)
    impulse[:, 700] = 0.2
    assert (through("randfilter", impulse).abs().argmax(1) == 700).all()


def test_each_clip_has_one_of_the_codecs():
    clip, words = clips(1), ("mp3:16", "vorbis:0", "opus:16")
    heard = through(f"randcodec:{','.join(words)}", clip.expand(24, -1))
    exact = [parse_defense(word)[0](clip)[0] for word in words]
    found = [[torch.equal(row, other) for other in exact].index(True) for row in heard]
    assert {*found} == {0, 1, 2}


@pytest.mark.parametrize("word", RANDOM)
def test_a_gradient_reaches_the_clip(word):
    class Ear(torch.nn.Module):
        labels, sample_rate = ("a", "b"), 16000

        def forward(self, waveforms):
            return waveforms[:, 900:902]

    clip = clips(8).requires_grad_()
    defended = Defended(Ear(), *parse_defense(word), draws=4)
    assert defended.stochastic and defended.draws == 4
    with drawing(defended, generators(8)):
        slope, = torch.autograd.grad(defended(clip)[:, 0].sum(), clip)
    assert (slope.abs().amax(1) > 0).all() and (word.startswith("shift") or (slope.abs().argmax(1) - 900).abs().max() < 300)


def test_the_shift_takes_the_gradient_back():
    clip = clips(8).requires_grad_()
    slope, = torch.autograd.grad(through("shift:20", clip)[:, 900].sum(), clip)
    with torch.no_grad():
        heard = through("shift:20", clip)
    assert torch.equal(clip.detach()[slope == 1], heard[:, 900])


@pytest.mark.parametrize("name, wrong", [("noise", "20"), ("noise", float("nan")), ("shift", 2.5), ("shift", True), ("randfilter", None)])
def test_other_values_are_refused(name, wrong):
    from speechadv.registry import keywords, lookup

    with pytest.raises(ConfigError, match=f"defense {name}: expected"):
        lookup("defense", name)(**{keywords("defense", name)[0]: wrong})
