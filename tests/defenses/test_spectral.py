"""Wiener filter, gate, psychoacoustic filter, mel inversion: what they keep, what they take, and their gradients."""
import pytest
import torch

from speechadv.defenses import parse_defense
from speechadv.defenses.spectral import Weighted, quiet_power
from speechadv.masking import MaskingModel
from speechadv.masking.spectrum import Spectrum, power


def tone_in_noise(time=8000, level=0.001):
    """A tone of half a second in the middle of white noise."""
    place = torch.arange(time)
    tone = 0.2 * torch.sin(place * 2 * torch.pi * 1000 / 16000) * ((place > time // 4) & (place < 3 * time // 4))
    return (tone + level * torch.randn(1, time, generator=torch.Generator().manual_seed(0))), tone[None]


def test_weights_of_one_change_nothing():
    class Everything(Weighted):
        def weights(self, waveforms, spectra):
            return torch.ones_like(spectra.real)

    clip = (tone_in_noise()[0] * 32768).round() / 32768
    assert torch.equal(Everything("everything", 16000)(clip), clip)


@pytest.mark.parametrize("word, taken_db, lost", [("wiener", 5, 0.02), ("gate", 12, 0.15), ("gate:10", 12, 0.15)])
def test_noise_between_the_words_goes_and_the_tone_stays(word, taken_db, lost):
    clip, tone = tone_in_noise()
    heard = parse_defense(word)[0](clip)
    pause, sound = slice(200, 1500), slice(2600, 5400)
    assert 20 * torch.log10(clip[:, pause].norm() / heard[:, pause].norm()) > taken_db
    assert (heard[:, sound] - tone[:, sound]).norm() < lost * tone[:, sound].norm()


def test_the_floor_of_the_wiener_filter_and_what_is_quiet():
    clip, _ = tone_in_noise()
    defense = parse_defense("wiener:6")[0]
    spectra = defense.spectrum.analyse(clip.double())
    weights = defense.weights(clip.double(), spectra)
    assert weights.min() == pytest.approx(10 ** (-6 / 20)) and weights.max() <= 1
    powers = power(spectra)
    quiet = quiet_power(powers, defense.spectrum)
    assert quiet.shape == (1, 1, 257) and quiet.sum() < 0.001 * powers.mean(1).sum()
    assert torch.equal(quiet_power(powers[:, :2], defense.spectrum), powers[:, :2][:, powers[0, :2].sum(1).argmin()][:, None])


def test_what_nobody_hears_is_gone_and_the_rest_untouched():
    clip, _ = tone_in_noise(level=0.0001)
    defense, spectrum = parse_defense("psychoacoustic")[0], Spectrum()
    weights = defense.weights(clip.double(), spectrum.analyse(clip.double()))
    threshold = MaskingModel().threshold_db(clip.double())
    assert set(weights.unique().tolist()) == {0, 1} and torch.equal(weights == 1, spectrum.level_db(clip.double()) > threshold)
    middle = weights[0, weights.shape[1] // 2]
    assert middle[32] == 1 and middle[60:].mean() < 0.05  # 1 kHz is bin 32; most of the noise far above lies below the threshold in quiet
    fewer = parse_defense("psychoacoustic:4")[0].weights(clip.double(), spectrum.analyse(clip.double()))
    assert fewer.sum() < weights.sum() and (fewer <= weights).all()


def test_mel_keeps_the_power_of_bands_and_loses_what_is_within():
    pitch = sum(torch.sin(torch.arange(8000) * 2 * torch.pi * 220 * k / 16000 + k) for k in range(1, 30))[None] * 0.01
    coarse, fine = (parse_defense(word)[0](pitch) for word in ("mel:20", "mel:100"))
    assert (coarse - pitch).norm() > 1.3 * (fine - pitch).norm()
    smoothing = parse_defense("mel:40")[0].smoothing
    assert torch.allclose(smoothing[1:-1].sum(0)[1:-1].mean(), torch.tensor(1.0, dtype=torch.float64), atol=0.1) and (smoothing >= 0).all()
    flat = torch.ones(1, 257, dtype=torch.float64) @ smoothing
    assert torch.allclose(flat[:, 1:-1], torch.ones(1, 255, dtype=torch.float64)), "what is flat stays flat"
    assert not flat[:, [0, -1]].any()


@pytest.mark.parametrize("word", ["wiener", "mel:20"])
def test_exact_gradients(word):
    defense = parse_defense(word)[0]
    clip = 0.1 * torch.randn(1, 700, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    direction, weights = (torch.randn(1, 700, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    there = clip.clone().requires_grad_()
    slope, = torch.autograd.grad((defense.weighted(there) * weights).sum(), there)
    step = 1e-7
    measured = ((defense.weighted(clip + step * direction) - defense.weighted(clip - step * direction)) * weights).sum() / (2 * step)
    assert float((slope * direction).sum()) == pytest.approx(float(measured), rel=1e-3)


@pytest.mark.parametrize("word", ["gate", "psychoacoustic"])
def test_thresholds_are_taken_as_they_stand(word):
    defense, clip = parse_defense(word)[0], tone_in_noise()[0].double().requires_grad_()
    weights = torch.randn(clip.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    slope, = torch.autograd.grad((defense.weighted(clip) * weights).sum(), clip)
    fixed = defense.weights(clip, defense.spectrum.analyse(clip.detach()))
    held = defense.spectrum.synthesise(defense.spectrum.analyse(clip) * fixed, clip.shape[1])
    assert torch.allclose(slope, torch.autograd.grad((held * weights).sum(), clip)[0])
