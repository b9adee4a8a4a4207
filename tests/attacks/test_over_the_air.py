"""Over the air: what it costs, that it holds where a plain attack does not, and that the rooms differ from those it is judged in."""
import pytest
import torch

from speechadv import rooms
from speechadv.attacks.base import heard_in_parts
from speechadv.attacks.over_the_air import OverTheAir
from speechadv.attacks.pgd import PGD
from speechadv.defenses import Defended, parse_defense
from speechadv.defenses.air import UNSEEN
from speechadv.errors import ConfigError
from speechadv.goals import Target
from speechadv.randomness import clip_generators


def test_it_works_in_rooms_that_it_never_saw_where_a_plain_attack_does_not(tiny, heard, attacked):
    clips, target = heard.waveforms[:6], (heard.classes[:6] + 1) % 4
    air = Defended(tiny, *parse_defense("air:1000-1005")).eval()
    rate = []
    for attack in (PGD(steps=24, full=True), OverTheAir(steps=24, rooms="0-9", copies=3)):
        result = attacked(attack, tiny, clips, target, "snr:14", goal=Target)
        generators = clip_generators(7, "rooms", [str(i) for i in range(6)])
        with torch.no_grad():
            rate.append(torch.stack([heard_in_parts(air, result.adversarial, generators).argmax(1) == target for _ in range(4)]).float().mean())
    assert rate[1] > rate[0] + 0.1 and rate[1] > 0.6, rate


def test_each_draw_is_a_pass(bent, attacked):
    model, clean, labels = bent
    result = attacked(OverTheAir(steps=4, rooms="0", copies=3), model, clean, labels, "snr:20")
    assert (result.passes[~result.already] == 12).all() and not result.queries.any()


def test_its_rooms_are_not_those_it_is_judged_in():
    assert not rooms.overlapping(OverTheAir().rooms, UNSEEN)


@pytest.mark.parametrize("options", [{"steps": 0}, {"copies": 0}, {"shift": -1}, {"momentum": -1}, {"loss": "mse"}, {"gain_db": -1}, {"rooms": "9-2"}, {"rooms": "nowhere"}])
def test_wrong_options_are_named(options):
    word = {"gain_db": "gain", "rooms": "FIRST-LAST|folder"}.get(next(iter(options)), next(iter(options)))
    with pytest.raises(ConfigError, match=word):
        OverTheAir(**options)
