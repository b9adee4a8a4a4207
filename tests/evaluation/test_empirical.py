"""What an attack reaches in the ball of a certificate: against a network whose smoothed answer is known it reaches exactly what lies beyond the radius."""
from math import sqrt

import pytest
import torch
from torch import nn

from speechadv.attacks.pgd import PGD
from speechadv.evaluation.certificates import encode as encode_certificate
from speechadv.evaluation.empirical import EMPIRICAL, Ball, Trial, beside_certificates, certified_share, encode, points, read, tried
from speechadv.randomness import clip_generators

TIME, SIGMA = 1600, 0.01


class HalfSpace(nn.Module):
    """Label 1 where the mean of the samples is above zero: an L2 distance of |sum| / sqrt(time) from the plane, under symmetric noise too."""

    labels, sample_rate = ("no", "yes"), 16000

    def forward(self, waveforms):
        total = waveforms.sum(1, keepdim=True)
        return torch.cat([-total, total], 1)


def clip(distance):
    """One clip this far from the plane, in units of sigma."""
    return torch.full((1, TIME), distance * SIGMA / sqrt(TIME)).mul(32768).round().div(32768)


@pytest.fixture
def trial():
    return lambda radius, seed=0: Trial(PGD(steps=4, loss="margin"), "pgd steps=4", SIGMA, radius, draws=4, votes=200, seed=seed)


@pytest.mark.parametrize("radius, falls", [(2.0, False), (8.0, True)])
def test_the_vote_falls_beyond_the_distance_and_not_before(trial, radius, falls):
    heard = clip(4.0)
    (line,) = tried(HalfSpace(), "plane", trial(radius * SIGMA), heard, ["yes"], ["yes/a"])
    assert line["before"] == "yes" and (line["after"] == "no") == falls
    assert 0.9 * radius * SIGMA < line["l2"] <= radius * SIGMA * (1 + 1e-6)
    assert line["snr_db"] == pytest.approx(20 * torch.log10(heard.norm() / line["l2"]).item(), abs=1e-3)


def test_the_same_seed_gives_the_same_lines_whatever_the_company(trial):
    alone = [tried(HalfSpace(), "plane", trial(0.04), clip(d), ["yes"], [name])[0] for d, name in ((3.0, "a"), (3.5, "b"))]
    together = tried(HalfSpace(), "plane", trial(0.04), torch.cat([clip(3.0), clip(3.5)]), ["yes", "yes"], ["a", "b"])
    assert alone == together and tried(HalfSpace(), "plane", trial(0.04), clip(3.0), ["yes"], ["a"])[0] == alone[0]


def test_the_ball_is_absolute_and_what_is_rounded_stays_inside():
    clips = torch.zeros(2, 1000)
    clips[1] = 0.25
    bound = Ball(0.01).bind(clips)
    start = bound.random_start(clip_generators(0, "x", ["a", "b"]))
    assert torch.allclose(start.norm(dim=1), torch.tensor(0.01), rtol=1e-4)
    rounded = bound.quantise(torch.randn(2, 1000, generator=torch.Generator().manual_seed(1)))
    assert (rounded.norm(dim=1) <= 0.01).all() and (rounded.norm(dim=1) > 0.009).all() and bound.satisfied(rounded).all()
    assert torch.equal((rounded * 32768).round(), rounded * 32768) and Ball(0.01).distance(clips, clips + rounded)[0] == pytest.approx(rounded[0].norm().item())


def test_lines_survive_a_torn_file_and_add_up(trial, tmp_path):
    lines = [line for radius in (0.02, 0.08) for line in tried(HalfSpace(), "plane", trial(radius), torch.cat([clip(4.0), clip(-4.0)]), ["yes", "yes"], ["a", "b"])]
    path = tmp_path / EMPIRICAL
    path.write_text("".join(map(encode, lines)) + encode(lines[0])[:40])
    assert read(path) == lines and read(tmp_path / "none") == []
    found = points(read(path))
    assert [(point["radius"], point["accuracy"], point["clips"]) for point in found] == [(0.02, 0.5, 2), (0.08, 0.0, 2)]


def test_attacked_clips_are_counted_within_and_beyond_their_certificates():
    certificates = [{"clip": "a", "label": "yes", "predicted": "yes", "radius": 0.02}, {"clip": "b", "label": "yes", "predicted": "yes", "radius": 0.05},
                    {"clip": "heard wrong", "label": "yes", "predicted": "no", "radius": 0.09}, {"clip": "abstained", "label": "yes", "predicted": None, "radius": 0.0}]
    lines = [{"clip": clip, "label": "yes", "l2": l2, "after": after} for clip, l2, after in
             (("a", 0.02, "yes"), ("a", 0.021, "no"), ("b", 0.04, "no"), ("b", 0.06, "yes"), ("heard wrong", 0.01, "yes"), ("abstained", 0.01, "no"), ("not certified", 0.01, "no"))]
    assert beside_certificates(lines, certificates) == {"within": 2, "within_changed": 1, "beyond": 2, "beyond_changed": 1}


def test_the_certified_share_is_of_the_attacked_clips():
    certificates = [{"clip": clip, "label": "yes", "predicted": "yes", "radius": radius, "ceiling": 0.05} for clip, radius in (("a", 0.02), ("b", 0.05), ("c", 0.05))]
    lines = lambda radius: [{"clip": clip, "radius": radius} for clip in "ab"]
    assert [certified_share(lines(radius), certificates) for radius in (0.01, 0.0200004, 0.03, 0.0500001, 0.06)] == [1.0, 1.0, 0.5, 0.5, None]


def test_the_figure_has_the_curve_of_the_attacked_clips(trial, tmp_path):
    from speechadv.report.figures import draw

    line = {"clip": "a", "label": "yes", "model": "plane", "predicted": "yes", "radius": 0.02, "sigma": SIGMA, "n": 1000, "n0": 100, "alpha": 0.001, "ceiling": 0.025,
            "votes": 990, "snr_db": 40.0}
    (tmp_path / "certificates.jsonl").write_text(encode_certificate(line) + encode_certificate(line | {"clip": "b", "predicted": "no"}))
    (tmp_path / EMPIRICAL).write_text("".join(map(encode, tried(HalfSpace(), "plane", trial(0.02), clip(4.0), ["yes"], ["a"]))))
    axis = draw("certified", tmp_path).axes[0]
    (curve,) = (each for each in axis.get_lines() if each.get_label() == "certified, the 1 attacked clips")
    assert curve.get_ydata()[0] == 1.0 and next(each for each in axis.get_lines() if "2 clips" in each.get_label()).get_ydata()[0] == 0.5


def test_the_figure_has_both_and_radii_as_snr(trial, tmp_path):
    from speechadv.report.figures import draw

    line = {"clip": "a", "label": "yes", "model": "plane", "predicted": "yes", "radius": 0.02, "sigma": SIGMA, "n": 1000, "n0": 100, "alpha": 0.001, "ceiling": 0.025,
            "votes": 990, "snr_db": 40.0}
    (tmp_path / "certificates.jsonl").write_text(encode_certificate(line))
    bare = draw("certified", tmp_path)
    (tmp_path / EMPIRICAL).write_text("".join(map(encode, tried(HalfSpace(), "plane", trial(0.08), clip(4.0), ["yes"], ["a"]))))
    figure = draw("certified", tmp_path)
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any(word.startswith("under attack: pgd steps=4, 1 clips") for word in said) and len(bare.legends[0].get_texts()) == len(said) - 1
    upper = next(child for child in figure.axes[0].child_axes)
    right = figure.axes[0].get_xlim()[1]
    assert float(upper.get_xticklabels()[-1].get_text()) == pytest.approx(40 - 20 * torch.log10(torch.tensor(right / 0.02)).item(), abs=0.51)
