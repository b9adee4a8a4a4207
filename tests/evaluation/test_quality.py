"""How good a clip sounds: known values of the packages, an independent slow reference, and sanity on white noise and on no change at all."""
import math

import numpy as np
import pytest
import torch

from speechadv.errors import ConfigError, InputError
from speechadv.evaluation import quality
from speechadv.evaluation import rows as row_files
from speechadv.evaluation.aggregate import by_cell, table
from speechadv.evaluation.folder import ROWS
from speechadv.evaluation.quality import DEFAULT, GAPS, MEASURES, check, gaps, in_words, measure
from speechadv.evaluation.run import evaluate
from speechadv.report.tables import as_csv, as_markdown, cells_of_line, heads

RATE = 16000
ALL = tuple(MEASURES)


def value(name, clean, adversarial):
    return MEASURES[name].of(clean, adversarial, RATE)[0]


@pytest.fixture
def speech(speak):
    """Half a second of sound and a little room noise."""
    return speak("yes", 4)


def noise(snr_db, clip, seed=0):
    """White noise at this SNR below a clip."""
    draws = np.random.default_rng(seed).normal(size=len(clip))
    return (draws * np.sqrt((clip**2).sum() / (draws**2).sum() / 10 ** (snr_db / 10))).astype(np.float32)


def white(seed):
    """The two vectors of a published example: torch.randn(8000) twice after this seed, degraded first."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        degraded, clean = torch.randn(8000), torch.randn(8000)
    return clean.numpy(), degraded.numpy()


def test_published_examples():
    """The values that TorchMetrics 1.x prints in its documentation for the same two packages, on noise of seed 42."""
    clean, degraded = white(42)
    assert value("pesq", clean, degraded) == pytest.approx(1.6805, abs=5e-5)
    assert quality.stoi(clean, degraded, 8000)[0] == pytest.approx(-0.084, abs=5e-4)


def test_no_change_is_the_best_value(speech):
    best = {name: value(name, speech, speech) for name in ALL}
    assert best["segmental_snr_db"] == 35 and best["log_spectral_distance_db"] == 0
    assert best["pesq"] == pytest.approx(4.6439, abs=1e-4), "the upper end of P.862.2"
    assert best["stoi"] == pytest.approx(1) and best["estoi"] == pytest.approx(1)


@pytest.mark.parametrize("name", ALL)
def test_louder_noise_is_worse(name, speech):
    scores = [value(name, speech, speech + noise(snr, speech)) for snr in (40, 20, 0)]
    assert scores == sorted(scores, reverse=name != "log_spectral_distance_db") and len(set(scores)) == 3


def test_noise_against_noise():
    """On a clip that is white noise itself each frame has the SNR of the whole."""
    clip = (0.1 * np.random.default_rng(1).normal(size=RATE)).astype(np.float32)
    changed = clip + noise(12, clip, seed=2)
    assert value("segmental_snr_db", clip, changed) == pytest.approx(12, abs=0.1)
    assert value("log_spectral_distance_db", clip, clip * 2) == pytest.approx(20 * math.log10(2), abs=1e-3)
    assert abs(value("estoi", clip, 0.1 * white(0)[0].repeat(2))) < 0.1, "noise that has nothing to do with the clip"


def slow_segmental_snr(clean, adversarial):
    total, frames = 0.0, 0
    for start in range(0, len(clean) - 480 + 1, 120):
        signal = change = 0.0
        for n in range(480):
            window = 0.5 - 0.5 * math.cos(2 * math.pi * n / 480)
            signal += (window * float(clean[start + n])) ** 2
            change += (window * (float(adversarial[start + n]) - float(clean[start + n]))) ** 2
        if signal > 0:
            frames += 1
            total += 35 if change == 0 else min(35, max(-10, 10 * math.log10(signal / change)))
    return total / frames


def slow_log_spectral_distance(clean, adversarial):
    distances = []
    angles = -2j * np.pi * np.outer(np.arange(257), np.arange(512)) / 512
    window = np.array([0.5 - 0.5 * math.cos(2 * math.pi * n / 512) for n in range(512)])
    for start in range(0, len(clean) - 512 + 1, 128):
        spectra = [np.exp(angles) @ (window * wave[start : start + 512].astype(float)) for wave in (clean, adversarial)]
        before, after = (20 * np.log10(np.maximum(np.abs(spectrum) / 128, 1e-5)) for spectrum in spectra)
        distances.append(math.sqrt(float(((before - after) ** 2).sum()) / 257))
    return sum(distances) / len(distances)


def test_against_a_slow_reference(speech):
    clip = np.concatenate([np.zeros(1000, np.float32), speech[3000:5500]])
    changed = clip + noise(10, clip)
    changed[1500:2500] = clip[1500:2500]
    assert value("segmental_snr_db", clip, changed) == pytest.approx(slow_segmental_snr(clip, changed), abs=1e-9)
    assert value("log_spectral_distance_db", clip, changed) == pytest.approx(slow_log_spectral_distance(clip, changed), abs=1e-6)


def test_where_there_is_no_value(speech):
    silence, word = np.zeros(RATE, np.float32), np.zeros(RATE, np.float32)
    word[4000:7000] = speech[6000:9000]
    columns = measure(ALL, np.stack([word, silence, speech]), np.stack([word, speech, speech]), RATE)
    assert columns["stoi"][:2] == columns["estoi"][:2] == [None, None] and columns["stoi"][2] is not None
    assert columns["pesq"][0] is not None and columns["pesq"][1] is None and columns["segmental_snr_db"][1] is None
    assert columns[GAPS][0] == "stoi: fewer than 30 sounding frames (0.4 s of speech); estoi: fewer than 30 sounding frames (0.4 s of speech)"
    assert "segmental_snr_db: the clip is silent; pesq: no utterance found" in columns[GAPS][1] and columns[GAPS][2] is None
    assert all(number is None or math.isfinite(number) for name in ALL for number in columns[name])


def test_another_rate(speech):
    slow = speech[::2]
    assert 1 <= MEASURES["pesq"].of(slow, slow + noise(20, slow), 8000)[0] < 4.65
    assert measure((), slow[None], slow[None], 8000) == {}


def test_what_cannot_be_measured_is_told(monkeypatch):
    with pytest.raises(ConfigError, match="config: quality: unknown measure 'pesk', did you mean 'pesq'"):
        check(["pesk"])
    with pytest.raises(ConfigError, match="expected each one once, got 'stoi' twice"):
        check(["stoi", "stoi"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check(DEFAULT)
    with pytest.raises(ConfigError, match=r"--quality: 'pesq' needs the package pesq: pip install 'speechadv\[quality\]'$"):
        check(["pesq"], "--quality")


def test_rows_and_tables(row):
    rows = [row(str(i), attack=attack) | {"pesq": score, "stoi": None, GAPS: "stoi: fewer than 30 sounding frames"} for attack in ("pgd", "noise")
            for i, score in enumerate((2.0, 3.0, 4.0))]
    assert [row_files.decode(row_files.encode(one)) for one in rows] == rows
    assert row_files.decode(row_files.encode(row())) == row(), "a row without measures is as before"
    assert [in_words(one) for one in rows[:1]] == [["PESQ 2.00", "stoi: fewer than 30 sounding frames"]]
    lines = table(rows, targeted=False)
    assert len(lines) == len(by_cell(rows)) == 3, "the worst of two attacks has them too"
    assert all(line["pesq_median"] == 3 and line["stoi_median"] is None for line in lines)
    assert as_csv(lines).splitlines()[0].endswith("passes_mean,goal,queries_mean,pesq_median,stoi_median") and as_csv(lines).splitlines()[1].endswith(",untargeted,1.0,3.0,")
    assert heads(False, lines)[-2:] == ["PESQ", "STOI"] and cells_of_line(lines[0])[-2:] == ["3.00", "–"] and heads(False)[-1] == "queries"
    text = as_markdown({"goal": "untargeted", "finished": True, "rows": 6, "cells": lines, "flags": [], "classes": [], "quality_gaps": gaps(rows), "corruptions": [], "corruption_reference": None})
    assert "- stoi: fewer than 30 sounding frames: 6 of 6 rows" in text


def test_a_run_has_the_measures_of_its_config(settings, tmp_path, no_page, files):
    few = {"clips": 3, "attacks": ["noise"], "defenses": ["none"]}
    result = evaluate(settings(quality=["estoi", "pesq", "stoi"], **few), tmp_path / "all")
    rows, _ = row_files.read(tmp_path / "all" / ROWS)
    assert rows and all(set(one) >= {"pesq", "stoi", "estoi", GAPS} and "segmental_snr_db" not in one for one in rows)
    assert result["cells"][0]["pesq_median"] is not None
    (tmp_path / "all" / ROWS).write_bytes(b"".join((tmp_path / "all" / ROWS).read_bytes().splitlines(keepends=True)[1:]))
    before = files(tmp_path / "all")
    evaluate(settings(quality=["estoi", "pesq", "stoi"], **few, batch_size=1), tmp_path / "all")
    assert len(row_files.read(tmp_path / "all" / ROWS)[0]) == len(rows) > before[ROWS].count(b"\n")
    evaluate(settings(**few), tmp_path / "default")
    kept, _ = row_files.read(tmp_path / "default" / ROWS)
    assert quality.columns_of(kept[0]) == DEFAULT


def test_a_run_from_before_the_measures_keeps_its_rows(settings, tmp_path, no_page, files):
    run, few = tmp_path / "old", {"clips": 3, "attacks": ["noise"], "defenses": ["none"]}
    evaluate(settings(quality=[], **few), run)
    (run / "config.toml").write_text((run / "config.toml").read_text().replace("quality = []\n", ""))  # as version 0.1.0 left it
    before = files(run)
    with pytest.raises(InputError, match=r"\('quality' differs\); go on with --set quality=\[\], or name another folder$"):
        evaluate(settings(**few), run)
    assert files(run) == before
    evaluate(settings(quality=[], **few), run, notice=pytest.fail)
    assert files(run)[ROWS] == before[ROWS] and "segmental_snr_db_median" not in (run / "table.csv").read_text()
