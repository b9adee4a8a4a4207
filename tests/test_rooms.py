"""Rooms and the way through the air: what a response is, what is drawn, and what a clip keeps."""
import sys

import numpy as np
import pytest
import soundfile
import torch

from speechadv import rooms
from speechadv.defenses import Defended, parse_defense
from speechadv.errors import ConfigError, SpeechAdvError
from speechadv.randomness import clip_generators, drawing


def generators(count, seed=0):
    return clip_generators(seed, "air", [str(i) for i in range(count)])


def test_a_room_is_its_number():
    response = rooms.simulated(3)
    assert np.abs(response).argmax() == 0 and np.square(response).sum() == pytest.approx(1) and len(response) <= 6400
    assert np.array_equal(rooms.simulated.__wrapped__(3), response) and not np.array_equal(rooms.simulated(4)[:50], response[:50])
    assert rooms.responses("3-5").shape[0] == 3 and torch.equal(rooms.responses("4")[0, :50], torch.from_numpy(rooms.simulated(4)[:50]))


@pytest.mark.parametrize("word, rate", [("measured", 16000), ("faster", 44100)])
def test_measured_responses_are_aligned_and_resampled(word, rate, tmp_path):
    response = np.zeros(rate // 10)
    response[rate // 50], response[rate // 20] = 0.5, -0.25  # after 20 ms, and its echo after 50 ms
    soundfile.write(tmp_path / "room.wav", response, rate)
    (tmp_path / "notes.txt").write_text("the kitchen")
    found = rooms.responses(str(tmp_path))
    assert found.shape[0] == 1 and int(found[0].abs().argmax()) == 0 and int(found[0, 100:].abs().argmax()) + 100 == pytest.approx(480, abs=1)


def test_air_convolves_moves_and_adds_noise():
    impulse, response = torch.zeros(2, 4000), torch.zeros(1, 50, dtype=torch.float64)
    impulse[:, 1000], response[0, 0], response[0, 40] = 0.5, 0.8, 0.6
    still = rooms.Air(response, gain_db=0, shift=0, noise_db=None)(impulse, generators(2))
    assert still[0, 1000] == pytest.approx(0.4) and still[0, 1040] == pytest.approx(0.3) and int((still.abs() > 1e-6).sum()) == 4
    draws = [rooms.Air(response, gain_db=6, shift=300, noise_db=None)(impulse[:1], generators(1, seed)) for seed in range(30)]
    places, levels = [int(heard.argmax()) for heard in draws], [float(heard.max()) for heard in draws]
    assert min(places) < 800 and max(places) > 1200 and all(700 <= place <= 1300 for place in places)
    assert min(levels) < 0.25 and max(levels) > 0.6 and all(0.2 <= level <= 0.8 for level in levels)
    noisy = rooms.Air(response, gain_db=0, shift=0, noise_db=20)(impulse, generators(2)) - still
    snr = 20 * torch.log10(still.norm(dim=1) / noisy.norm(dim=1))
    assert (snr > 20).all() and (snr < 40).all()


def test_a_draw_is_the_clips_own_and_has_a_gradient(heard):
    (air,), clips = parse_defense("air:0-3"), heard.waveforms[:3].clone().requires_grad_()
    with drawing(air, generators(3)):
        together = air(clips)
    with drawing(air, generators(3)[1:2]):
        assert torch.equal(air(clips[1:2].detach())[0], together[1])
    (slope,) = torch.autograd.grad(together.square().sum(), clips)
    assert slope.isfinite().all() and slope.abs().amax(1).min() > 0
    with drawing(air, generators(3, seed=1)):
        assert not torch.equal(air(clips), together)


def test_it_stands_in_front_of_a_classifier(tiny, heard):
    defended = Defended(tiny, *parse_defense("air:0-3"), draws=5)
    assert defended.stochastic and defended.draws == 5


@pytest.mark.parametrize("some, others, shared", [("0-29", "29-40", True), ("0-29", "30-40", False), ("7", "0-9", True), ("0-29", "folder", False), ("here", "./here", True)])
def test_sets_of_rooms_that_share_one(some, others, shared):
    assert rooms.overlapping(some, others) == rooms.overlapping(others, some) == shared


def test_bad_rooms(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 16000)
    for word, message in (("9-3", "FIRST-LAST"), ("0-9999", "at most"), ("no/such", "folder of impulse responses"), (str(tmp_path), "all samples are zero")):
        with pytest.raises(ConfigError, match=message):
            parse_defense(f"air:{word}")
    with pytest.raises(ConfigError, match="gain"):
        rooms.Air(torch.ones(1, 1), gain_db=-1)
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(SpeechAdvError, match=r"pip install 'speechadv\[rooms\]'"):
        parse_defense("air:900000")
