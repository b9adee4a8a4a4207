"""Random numbers depend on seed, cell and clip alone."""
import torch

from speechadv.randomness import clip_generators, derived_seed, normal, uniform

NAMES = ["yes/a_nohash_0.wav", "no/b_nohash_0.wav", "stop/c_nohash_0.wav"]


def test_seeds_are_the_same_on_every_machine():
    assert derived_seed(0) == 4761921975702974394
    assert derived_seed(0, "cell", "yes/a.wav") == derived_seed(0, "cell", "yes/a.wav") != derived_seed(1, "cell", "yes/a.wav")
    assert derived_seed(0, "ab", "c") != derived_seed(0, "a", "bc")
    assert all(0 <= derived_seed(0, i) < 2**63 for i in range(100))


def test_a_clips_draws_do_not_depend_on_its_neighbours():
    for draw in (uniform, normal):
        together = draw(clip_generators(0, "cell", NAMES), (50,))
        backwards = draw(clip_generators(0, "cell", NAMES[::-1]), (50,))
        alone = draw(clip_generators(0, "cell", NAMES[1:2]), (50,))
        assert torch.equal(together, backwards.flip(0)) and torch.equal(together[1:2], alone)
        assert not torch.equal(together, draw(clip_generators(0, "other cell", NAMES), (50,)))


def test_ranges():
    generators = clip_generators(3, "cell", NAMES)
    draws = uniform(generators, (20000,))
    assert draws.shape == (3, 20000) and 0 <= draws.min() and draws.max() < 1
    assert abs(normal(generators, (20000,)).std() - 1) < 0.02


def test_odd_names_have_seeds():
    assert len(clip_generators(0, "cell", ["", "\0", "\udcff", "ü" * 500])) == 4


def test_the_global_state_is_left_alone():
    before = torch.random.get_rng_state()
    normal(clip_generators(0, "cell", NAMES), (5,))
    assert torch.equal(torch.random.get_rng_state(), before)
