"""Attacks that learn first, in a run: on whom, once, kept, made again alike; and which threats an attack has rows under."""
import json

import pytest
import soundfile

from speechadv.data.speech_commands import speaker_of
from speechadv.errors import ConfigError
from speechadv.evaluation import fitting
from speechadv.evaluation.cells import cells, left_out
from speechadv.evaluation.clips import load_clips
from speechadv.evaluation.rows import read
from speechadv.evaluation.run import evaluate
from speechadv.evaluation.verify import verify

LEARNING = {"name": "universal", "steps": 3, "batch": 4, "clips": 8}


@pytest.fixture(scope="module")
def learned(settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("fits") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("speechadv.report.page.write_page", lambda run: None)
        evaluate(settings(attacks=[LEARNING], defenses=["none"], threats=["adaptive"], budgets=["snr:10"]), out)
    return out


def test_a_waveform_for_each_target_is_kept_with_what_it_was_fitted_on(learned):
    rows, _ = read(learned / "rows.jsonl")
    (folder,) = (learned / "fits").iterdir()
    assert {path.stem for path in folder.glob("*.wav")} == {row["target"] for row in rows}
    for path in folder.glob("*.wav"):
        assert soundfile.info(path).subtype == "PCM_16" and soundfile.info(path).frames == 16000
        about = json.loads(path.with_suffix(".json").read_text())
        assert about["passes"] == 3 * 4 and 0 < about["clips"] <= 8 and about["speakers"] > 1


@pytest.mark.parametrize("others", [{"workers": 2}, {"batch_size": 1}])
def test_it_is_the_same_whatever_the_workers_and_batches(others, learned, settings, tmp_path, files, no_page):
    workers = {key: others.pop(key) for key in ("workers",) if key in others}
    evaluate(settings(attacks=[LEARNING], defenses=["none"], threats=["adaptive"], budgets=["snr:10"], **others), tmp_path / "run", **workers)
    here, there = files(learned), files(tmp_path / "run")
    assert {path: content for path, content in here.items() if path.startswith("fits/") or path == "rows.jsonl"} == {
        path: content for path, content in there.items() if path.startswith("fits/") or path == "rows.jsonl"}


def test_a_run_that_goes_on_uses_what_was_fitted(learned, settings, tmp_path, monkeypatch, no_page):
    import shutil

    out = shutil.copytree(learned, tmp_path / "run")
    lines = (out / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (out / "rows.jsonl").write_bytes(b"".join(lines[:2]))
    monkeypatch.setattr(fitting, "make", lambda *_: pytest.fail("fitted again"))
    evaluate(settings(attacks=[LEARNING], defenses=["none"], threats=["adaptive"], budgets=["snr:10"]), out)
    assert (out / "rows.jsonl").read_bytes() == b"".join(lines)


def test_it_never_learns_from_the_clips_that_are_scored(settings, tmp_path):
    for split in ("train", "validation"):
        with pytest.raises(ConfigError, match=f"another one than the run's '{split}'"):
            evaluate(settings(attacks=[LEARNING | {"split": split}], split=split), tmp_path / "run")
    config = settings()
    attack = cells(settings(attacks=[LEARNING]))[0].craft.attack.make()
    scored = load_clips(config, 16000)
    used = fitting.training_clips(config, attack, 16000, frozenset())
    assert not {speaker_of(name) for name in used.names if not name.startswith("_")} & {speaker_of(name) for name in scored.names if not name.startswith("_")}


def test_the_bundled_clips_are_cut_by_speaker(settings):
    config = settings(data=["bundled"], clips=None)
    clips, halves = load_clips(config, 16000), fitting.bundled_halves()
    folds = fitting.folds(clips)
    assert all(sum(fold.holds(name) for fold in folds) == 1 for name in clips.names) and not set(halves[0]) & set(halves[1])
    attack = cells(settings(attacks=[LEARNING | {"clips": 100}]))[0].craft.attack.make()
    for fold in folds:
        used = fitting.training_clips(config, attack, 16000, fold.speakers)
        assert len(used) and not any(fold.holds(name) for name in used.names)


def test_what_stands_at_the_edge_is_not_sent_on(settings):
    config = settings(attacks=["pgd", "fmn", "ddn", "cw"], threats=["oblivious", "adaptive"])
    assert {cell.attack for cell in cells(config) if cell.threat == "oblivious"} == {"pgd"}
    assert [line.split("'")[1] for line in left_out(config)] == ["fmn", "ddn", "cw"] and "no oblivious rows" in left_out(config)[0]
    with pytest.raises(ConfigError, match="'fmn' needs the threat adaptive"):
        cells(settings(attacks=["pgd", "fmn"], threats=["oblivious"]))


def test_over_the_air_is_scored_in_other_rooms(settings):
    grid = cells(settings(attacks=[{"name": "over_the_air", "rooms": "0-3"}], defenses=["none", "air:1000-1003"], threats=["oblivious", "adaptive"]))
    assert {(cell.defense, cell.threat) for cell in grid} == {("none", "oblivious"), ("none", "adaptive"), ("air:1000-1003", "oblivious")}
    with pytest.raises(ConfigError, match="made for rooms 0-3: score it in others"):
        cells(settings(attacks=[{"name": "over_the_air", "rooms": "0-3"}], defenses=["air:2-9"], threats=["oblivious"]))


def test_transfer_from_several_sources(settings, tiny_weights, tmp_path, no_page):
    import shutil

    second = tmp_path / "second.safetensors"
    shutil.copy(tiny_weights, second), shutil.copy(tiny_weights.with_suffix(".json"), second.with_suffix(".json"))
    keys = {"attacks": [{"name": "mifgsm", "steps": 3, "copies": 1}], "defenses": ["none"], "threats": ["transfer"], "clips": 3}
    (cell,) = cells(settings(**keys, models=[str(tiny_weights), str(tmp_path / "third")], source=[str(tiny_weights), str(second)]))
    assert cell.model.endswith("third") and cell.craft.model == f"{tiny_weights} & {second}" and not cell.adaptive
    evaluate(settings(**keys, source=[str(tiny_weights), str(second)], models=[str(shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-third") / "second.safetensors")]),
             tmp_path / "run")
    rows, _ = read(tmp_path / "run" / "rows.jsonl")
    assert len(rows) == 3 and {row["threat"] for row in rows} == {"transfer"} and not any(row["adaptive"] for row in rows)
    assert verify(tmp_path / "run").same


def test_several_networks_as_one(tiny):
    import torch

    from speechadv.models.averaged import Averaged

    class Turned(torch.nn.Module):
        labels, sample_rate = tuple(reversed(tiny.labels)), 16000

        def forward(self, waveforms):
            return 3 * tiny(waveforms).flip(1)

    clips = 0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(Averaged([tiny, Turned()])(clips), 2 * tiny(clips), atol=1e-5)
    Turned.labels = ("other", *tiny.labels[1:])
    with pytest.raises(ConfigError, match="same words"):
        Averaged([tiny, Turned()])
