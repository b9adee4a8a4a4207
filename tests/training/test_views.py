"""Augmented views: fixed by seed and number, and as loud as they say."""
import numpy as np
import pytest
import torch

from speechadv.training.settings import Augmentation
from speechadv.training.views import Views, at_snr, shifted


@pytest.fixture
def clips():
    return np.random.default_rng(0).integers(-8000, 8000, (6, 4000)).astype(np.int16)


@pytest.fixture
def noises():
    return [np.random.default_rng(1).normal(0, 0.01, 20000).astype(np.float32)]


def views(clips, noises, seed=0, silence=None, **settings):
    return Views(clips, noises, np.zeros(6, bool) if silence is None else silence, Augmentation(**settings), seed, 4000)


def test_a_view_is_fixed_by_seed_and_number(clips, noises):
    some, again = views(clips, noises, mix_share=0.5), views(clips, noises, mix_share=0.5)
    indices = np.arange(6)
    first = some(indices, 0)
    assert torch.equal(first, again(indices, 0)) and not torch.equal(first, some(indices, 1))
    assert torch.equal(some(indices, 0), first)  # also after another view was asked for
    assert not torch.equal(first, views(clips, noises, seed=1, mix_share=0.5)(indices, 0))


def test_a_clips_view_does_not_depend_on_the_batch(clips, noises):
    some = views(clips, noises, mix_share=0.5)
    assert torch.equal(some(np.array([4, 1]), 3), some(np.arange(6), 3)[[4, 1]])


def test_it_lies_on_the_grid(clips, noises):
    loud = views(clips, noises, gain_db=[20.0, 20.0])(np.arange(6), 0)
    assert loud.dtype == torch.float32 and loud.min() >= -1 and loud.max() <= 1 - 2**-15
    assert torch.equal((loud * 32768).round(), loud * 32768)


def test_without_augmentation_it_is_the_clip(clips):
    same = views(clips, [], shift_ms=0.0, gain_db=[0.0, 0.0], noise_share=0.0)(np.arange(6), 0)
    assert np.array_equal(same.numpy() * 32768, clips)


def test_silence_gets_a_gain_and_nothing_else(clips, noises):
    quiet = views(clips, noises, silence=np.ones(6, bool), gain_db=[-6.0, -6.0], noise_share=1.0, mix_share=1.0)(np.arange(6), 0)
    assert np.abs(quiet.numpy() * 32768 - clips * 10 ** (-6 / 20)).max() <= 0.5 + 1e-3


def test_noise_comes_at_the_ratio_that_was_asked_for(clips, noises):
    noisy = views(clips, noises, shift_ms=0.0, gain_db=[0.0, 0.0], noise_share=1.0, noise_snr_db=[20.0, 20.0])(np.arange(6), 0).numpy() * 32768
    noise = noisy - clips
    ratio = 10 * np.log10((clips.astype(float) ** 2).sum(1) / (noise**2).sum(1))
    assert np.abs(ratio - 20).max() < 0.05


def test_shifted():
    clip = np.array([1.0, 2, 3, 4])
    assert shifted(clip, 1).tolist() == [0, 1, 2, 3] and shifted(clip, -1).tolist() == [2, 3, 4, 0] and shifted(clip, 0).tolist() == clip.tolist()


def test_silence_has_no_ratio():
    assert not at_snr(np.zeros(4, np.float32), np.ones(4, np.float32), 10).any()
    assert not at_snr(np.ones(4, np.float32), np.zeros(4, np.float32), 10).any()
