"""Randomised smoothing: its bounds, its votes against a network whose answer is known, and runs that go on."""
import json
from math import sqrt

import pytest
import torch
from click.testing import CliRunner
from scipy.stats import binom, norm
from torch import nn

from speechadv.cli import group
from speechadv.evaluation.certificates import decode, encode, read
from speechadv.evaluation.certification import CERTIFICATES, CertificationConfig, certify
from speechadv.evaluation.smoothing import Smoothed, ceiling, lower_bound, radius, snr_of_radius
from speechadv.evaluation.verify import verify


class HalfSpace(nn.Module):
    """Label 1 where the mean of the samples is above zero: its smoothed radius is the distance to that plane, |sum| / sqrt(time)."""

    labels, sample_rate = ("no", "yes"), 16000

    def forward(self, waveforms):
        total = waveforms.sum(1, keepdim=True)
        return torch.cat([-total, total], 1)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("successes, trials", [(100, 100), (990, 1000), (60, 100), (1, 10)])
def test_lower_bound_is_where_the_binomial_tail_is_alpha(successes, trials):
    bound = lower_bound(successes, trials, 0.01)
    assert binom.sf(successes - 1, trials, bound) == pytest.approx(0.01, rel=1e-6)
    assert lower_bound(0, trials, 0.01) == 0


def test_bound_covers_the_truth_as_often_as_it_says():
    draws = binom.rvs(200, 0.8, size=4000, random_state=0)
    missed = sum(lower_bound(int(k), 200, 0.05) > 0.8 for k in draws)
    assert missed / 4000 <= 0.06


def test_ceiling_of_published_settings():
    assert ceiling(10_000, 0.001, 0.0025) == pytest.approx(0.007996, abs=1e-6)  # the median that arXiv:2606.04210 reports is this ceiling
    assert radius(10_000, 10_000, 0.001, 0.0025) == ceiling(10_000, 0.001, 0.0025)
    assert radius(5_000, 10_000, 0.001, 0.0025) is None


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
def test_radius_of_a_half_space_is_the_distance_to_its_plane(distance, generator):
    """In units of sigma; never more than the truth but for one case in a thousand, and close to it."""
    time, sigma = 1600, 0.01
    clip = torch.full((time,), distance * sigma / sqrt(time))
    (found,) = Smoothed(HalfSpace(), sigma).certify(clip[None], n0=50, n=20_000, alpha=0.001, seed=0)
    assert found.predicted == 1 and 0.9 * distance * sigma < found.radius <= distance * sigma
    assert found.votes / 20_000 == pytest.approx(norm.cdf(distance), abs=0.01)


def test_abstains_on_the_plane():
    (found,) = Smoothed(HalfSpace(), 0.01).certify(torch.zeros(1, 1600), n0=50, n=1000, alpha=0.001, seed=0)
    assert found.predicted is None and found.radius is None


def test_votes_do_not_depend_on_the_batch_size():
    clip = torch.full((1, 1600), 1e-4)
    votes = [Smoothed(HalfSpace(), 0.01, size).votes(clip, 700, torch.Generator().manual_seed(3)) for size in (1, 32, 256)]
    assert votes[0].sum() == 700 and all(torch.equal(votes[0], other) for other in votes)


def test_certificates_do_not_depend_on_the_company():
    clips = torch.tensor([0.0, 1e-4, -3e-4])[:, None].expand(-1, 1600)
    smoothed = Smoothed(HalfSpace(), 0.01)
    together = smoothed.certify(clips, n0=20, n=300, alpha=0.01, seed=5)
    assert together == [smoothed.certify(clip[None], n0=20, n=300, alpha=0.01, seed=5)[0] for clip in clips] and together[1] != together[2]


def test_snr_of_a_radius():
    clip = torch.full((1600,), 0.1)  # energy 16
    assert snr_of_radius(clip, 0.4) == pytest.approx(20) and snr_of_radius(torch.zeros(4), 0.1) is None


def test_lines_survive_and_changes_show():
    line = dict.fromkeys(("clip", "label", "model"), "a") | {"predicted": None, "radius": None, "sigma": 0.1, "n": 9, "n0": 1, "alpha": 0.1,
                                                             "ceiling": 0.2, "votes": 4, "snr_db": None}
    assert decode(encode(line)) == line
    assert decode(encode(line).replace('"votes": 4', '"votes": 9')) is None and decode(encode(line)[:-9]) is None


@pytest.fixture
def small():
    return CertificationConfig(sigma=0.002, n=60, n0=10, alpha=0.01, data=["bundled"], clips=4)


def test_a_stopped_run_ends_as_if_it_had_not_been(small, tmp_path):
    certify(small, tmp_path / "whole", batch_size=64)
    lines = (tmp_path / "whole" / CERTIFICATES).read_bytes().splitlines(keepends=True)
    certify(small, tmp_path / "torn", batch_size=16)
    (tmp_path / "torn" / CERTIFICATES).write_bytes(lines[2] + lines[0][:-7])  # killed while a line was written
    told = []
    certify(small, tmp_path / "torn", batch_size=16, notice=told.append)
    assert told == ["broken certificates are made again"]
    for name in (CERTIFICATES, "result.json", "certified.csv", "config.toml"):
        assert (tmp_path / "torn" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_command(tmp_path):
    words = ["certify", "--sigma", "0.002", "-n", "60", "--n0", "10", "--alpha", "0.01", "--clips", "3", "--out", str(tmp_path / "run"), "--quiet"]
    result = CliRunner().invoke(group, [*words, "--json"], env={"SPEECHADV_DATA": ""})
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["clips"] == 3 and found["curve"][0]["certified"] == found["accuracy"] and found["curve"][-1]["radius"] == found["ceiling"]
    assert [line["clip"] for line in read(tmp_path / "run" / CERTIFICATES)] == sorted(line["clip"] for line in read(tmp_path / "run" / CERTIFICATES))
    other = CliRunner().invoke(group, [*words, "--seed", "1"], env={"SPEECHADV_DATA": ""}, standalone_mode=False)
    assert "another config ('seed' differs)" in str(other.exception)


@pytest.fixture
def certified(small, tmp_path):
    """A finished run."""
    certify(small, tmp_path / "run")
    return tmp_path / "run"


def changed(run, place, **values):
    lines = read(run / CERTIFICATES)
    lines[place] |= values
    (run / CERTIFICATES).write_text("".join(map(encode, lines)))


def test_certificates_are_judged_anew(certified, run):
    status, out, err = run("verify", certified)
    assert status == 0 and "4 rows, the sound of 4 judged: all the same" in out and err == ""
    status, out, err = run("report", certified)
    assert (status, out) == (2, "") and "`speechadv plot certified` draws them" in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("values, message", [
    ({"votes": 20}, "votes: the network gives"), ({"radius": 0.009}, "radius: expected"), ({"ceiling": 1.0}, "ceiling: expected"), ({"label": "unknown"}, "label: expected"),
    ({"predicted": "no one"}, "predicted: the vote is for"), ({"snr_db": 3.0}, "snr_db: expected"), ({"sigma": 0.5}, "sigma: expected"), ({"clip": "yes/other.wav"}, "asks for no clip")])
def test_a_changed_certificate_is_found(certified, values, message):
    changed(certified, 1, **values)
    found = verify(certified).differences
    assert any(line.startswith(f"{CERTIFICATES}:2:") and message in line for line in found)


def test_changed_tables_of_certificates_are_found(certified):
    result = json.loads((certified / "result.json").read_text())
    result["curve"][3]["certified"], result["abstained"] = 0.123, 77
    (certified / "result.json").write_text(json.dumps(result))
    (certified / "certified.csv").write_text((certified / "certified.csv").read_text()[:-30])
    found = verify(certified).differences
    assert [line.partition(" the ")[0] for line in found[:1]] == ["result.json: abstained:"] and any("certified: the lines give" in line for line in found)
    assert any(line.startswith("certified.csv:") for line in found)
    (certified / "certified.csv").unlink()
    lines = (certified / CERTIFICATES).read_text().splitlines(keepends=True)
    (certified / CERTIFICATES).write_text("".join(lines[:3]))
    verdict = verify(certified)
    assert "the run is not finished: 3 of 4 certificates are there" in verdict.unchecked and any("certified.csv: is not there" in line for line in verdict.differences)


def test_without_its_clips_nothing_is_judged(certified, run):
    environment = json.loads((certified / "environment.json").read_text())
    environment["clips"]["sha256"] = "0" * 64
    (certified / "environment.json").write_text(json.dumps(environment))
    status, out, err = run("verify", certified)
    assert (status, out) == (2, "") and "expected the 4 clips that the run was begun with" in err and len(err.strip().splitlines()) == 1


def test_few_of_many_votes_are_counted_again(certified, monkeypatch):
    from speechadv.evaluation.verify import certified as module

    monkeypatch.setattr(module, "PASSES", 150)
    verdict = verify(certified)
    assert verdict.same and verdict.scored == 2 and "the network heard 2 of 4 clips again" in verdict.unchecked[0]
