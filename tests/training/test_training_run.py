"""Training runs of seconds: what they write, how they go on after a kill, what they refuse."""
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from speechadv import config as configs
from speechadv import load_model
from speechadv.audio import to_grid, write_pcm16
from speechadv.data import task
from speechadv.data.samples import bundled_folder
from speechadv.errors import ConfigError, DataError, InputError, SpeechAdvError
from speechadv.report.figures import draw
from speechadv.training.examples import Examples
from speechadv.training.run import cache_key, train
from speechadv.training.settings import Adversary, Augmentation, Teaching, TrainingConfig
from speechadv.training.views import Views

WORDS = task("v2-12").labels
SMALL = {"widths": [6, 8], "n_mels": 16, "n_fft": 512, "hop_length": 512}


@pytest.fixture
def small(data_root):
    """A config of a quick run; keywords change it."""

    def make(**changes):
        plain = {"name": "small", "task": ["yes", "no", "stop", "_silence_"], "model": "tc_resnet8", "model_options": SMALL, "data": [str(data_root)],
                 "epochs": 3, "batch_size": 16, "learning_rate": 0.02, "warmup_epochs": 0.5, "averaging": 0.8}
        return TrainingConfig(**plain | changes)

    return make


def plain(items, label):
    return items


def go(config, out, progress=plain, **options):
    lines = []
    return train(config, out, progress=progress, say=lines.append, **options), lines


def history(out):
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]


def killed_in(epoch):
    """A progress bar that stops the program in the middle of an epoch."""

    def progress(items, label):
        for number, item in enumerate(items):
            if label.startswith(f"epoch {epoch} ") and number == 1:
                raise KeyboardInterrupt
            yield item

    return progress


def test_a_standard_run_learns_and_says_how_it_was_made(small, tmp_path):
    state = torch.random.get_rng_state()
    weights, lines = go(small(epochs=10, batch_size=8), tmp_path / "deep" / "run", command="speechadv train x")
    assert torch.equal(torch.random.get_rng_state(), state)
    card = json.loads(weights.with_suffix(".json").read_text())
    rows = history(weights.parent)
    assert [row["epoch"] for row in rows] == list(range(1, 11)) and rows[-1]["loss"] < rows[0]["loss"]
    best = max(rows, key=lambda row: (row["score"], -row["epoch"]))
    assert card["results"]["validation"] == {"clips": 12, "epoch": best["epoch"], "accuracy": best["accuracy"]} and best["accuracy"] > 0.5
    assert card["command"] == "speechadv train x" and card["labels"] == ["yes", "no", "stop", "_silence_"] and card["recipe"]["epochs"] == 10
    assert load_model(str(weights)).labels == ("yes", "no", "stop", "_silence_")
    assert any("32 training and 12 validation clips" in line for line in lines) and "test" not in json.dumps(card["results"])


def test_an_adversarial_run_chooses_under_attack(small, tmp_path):
    adversary = Adversary(budget="snr:30", steps=[[0, 1], [1, 2]], clean_share=0.25)
    weights, _ = go(small(epochs=2, adversary=adversary, validation_clips=6), tmp_path / "run")
    for row in history(tmp_path / "run"):
        assert 0 <= row["robust_accuracy"] <= row["accuracy"] + 1 / 6 and row["score"] == row["robust_accuracy"]
    measured = json.loads(weights.with_suffix(".json").read_text())["results"]["validation"]
    assert measured["attacked_clips"] == 6 and measured["budget"] == "snr:30" and "PGD-20" in measured["attack"]


@pytest.mark.parametrize("adversary", [None, Adversary(steps=[[0, 1]])], ids=["standard", "adversarial"])
def test_a_killed_run_ends_in_the_same_weights(small, tmp_path, adversary):
    config = small(adversary=adversary, validation_clips=4)
    whole, _ = go(config, tmp_path / "whole")
    for epoch in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            go(config, tmp_path / "killed", killed_in(epoch))
    weights, lines = go(config, tmp_path / "killed")
    assert "going on after epoch 2" in lines
    assert weights.read_bytes() == whole.read_bytes()
    assert (tmp_path / "killed/history.jsonl").read_bytes() == (tmp_path / "whole/history.jsonl").read_bytes()


def test_a_run_does_not_go_on_with_other_clips(small, tmp_path, data_root):
    with pytest.raises(KeyboardInterrupt):
        go(small(), tmp_path / "run", killed_in(2))
    other = tmp_path / "other"
    shutil.copytree(data_root, other)
    for number, path in enumerate(sorted((other / "yes").iterdir())):
        if number % 2:
            path.unlink()
    kept = (tmp_path / "run/config.toml").read_text()
    (tmp_path / "run/config.toml").write_text(kept.replace(str(data_root), str(other)))
    with pytest.raises(ConfigError, match="was begun with other clips than"):
        go(small(data=[str(other)]), tmp_path / "run")
    (tmp_path / "run/config.toml").write_text(kept)
    assert "going on after epoch 1" in go(small(), tmp_path / "run")[1]


def test_another_seed_is_another_network_and_the_same_one_is_the_same(small, tmp_path):
    first, second, other = (go(small(epochs=1, seed=seed), tmp_path / name)[0].read_bytes() for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first == second != other


def test_a_finished_run_is_left_as_it_is(small, tmp_path):
    weights, _ = go(small(epochs=1), tmp_path / "run")
    before = weights.read_bytes()
    assert go(small(epochs=1), tmp_path / "run")[0].read_bytes() == before


def test_soft_labels_and_weights_to_start_from(small, tmp_path, tiny_weights, monkeypatch):
    monkeypatch.setenv("SPEECHADV_CACHE", str(tmp_path / "cache"))
    taught, _ = go(small(epochs=2, views=2, teaching=Teaching([str(tiny_weights)])), tmp_path / "taught")
    assert len(list((tmp_path / "cache").glob("teacher-*.npy"))) == 1
    later, _ = go(small(epochs=1, start_from=str(taught), learning_rate=1e-9, averaging=0.0), tmp_path / "later")
    before, after = (load_model(str(path)).state_dict() for path in (taught, later))
    torch.testing.assert_close(after["head.1.weight"], before["head.1.weight"], atol=1e-6, rtol=1e-4)


def test_a_wider_network_begins_as_a_narrower_one(small, tmp_path):
    narrow, _ = go(small(epochs=2, model="resnet", model_options={"widths": [4, 6]}), tmp_path / "narrow")
    still = {"learning_rate": 1e-9, "averaging": 0.0}
    wide, _ = go(small(epochs=1, model="resnet", model_options={"widths": [6, 9]}, start_from=str(narrow), widen=True, **still), tmp_path / "wide")
    first, second = (load_model(str(path)).stem[0][0].weight for path in (narrow, wide))
    assert len(second) == 6
    torch.testing.assert_close(second[:4], first, rtol=0.3, atol=1e-6)
    with pytest.raises(ConfigError, match="widen: expected start_from beside it"):
        small(widen=True)


def test_a_soup_is_the_mean_of_its_weights(small, tmp_path):
    parts = [str(go(small(epochs=1, seed=seed), tmp_path / f"{seed}")[0]) for seed in range(3)]
    soup, _ = go(small(epochs=0, start_from=parts[0], soup=parts[1:]), tmp_path / "soup")
    states = [load_model(part).state_dict() for part in parts]
    for key, value in load_model(str(soup)).state_dict().items():
        torch.testing.assert_close(value.double(), sum(state[key].double() for state in states) / 3, atol=1e-5 if value.is_floating_point() else 99, rtol=1e-4)
    (row,) = history(tmp_path / "soup")
    card = json.loads(soup.with_suffix(".json").read_text())
    assert row["epoch"] == card["results"]["validation"]["epoch"] == 0 and 0 <= row["accuracy"] <= 1 and "loss" not in row
    curves = draw("training", tmp_path / "soup")  # without a loss
    assert curves.axes[1].get_ylabel() == "share of clips right"
    before = soup.read_bytes()
    assert go(small(epochs=0, start_from=parts[0], soup=parts[1:]), tmp_path / "soup")[0].read_bytes() == before
    for changes, message in (({"epochs": 0}, "epochs: expected a positive number, or 0 with start_from"), ({"soup": parts}, "soup: expected start_from beside it"),
                             ({"members": parts}, "model_options: expected none beside members")):
        with pytest.raises(ConfigError, match=message):
            small(**changes)


def test_a_committee_gives_the_mean_of_its_members_probabilities_and_learns_on(small, tmp_path):
    wide = {"model": "resnet", "model_options": {"widths": [4, 6], "energy_share": 0.1}}
    parts = [str(go(small(epochs=1, **changes), tmp_path / f"{number}")[0]) for number, changes in enumerate(({}, wide))]
    together = {"model_options": {}, "members": parts}
    state = torch.random.get_rng_state()
    weights, _ = go(small(epochs=0, **together), tmp_path / "committee")
    assert torch.equal(torch.random.get_rng_state(), state)
    committee, clips = load_model(str(weights)), 0.1 * torch.randn(5, 16000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(committee(clips).exp(), sum(load_model(part)(clips).softmax(1) for part in parts) / 2)
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["architecture"] == "committee" and card["parameters"] == sum(json.loads((tmp_path / f"{n}/small.json").read_text())["parameters"] for n in range(2))
    assert [member["model"] for member in card["configuration"]["members"]] == ["tc_resnet8", "resnet"] and card["recipe"]["members"] == parts
    assert [member["sha256"] for member in card["members"]] == [hashlib.sha256(Path(part).read_bytes()).hexdigest() for part in parts]
    later, _ = go(small(epochs=1, adversary=Adversary(steps=[[0, 1]]), **together), tmp_path / "later")
    assert any(not torch.equal(before, after) for before, after in zip(committee.parameters(), load_model(str(later)).parameters()))
    again, _ = go(small(epochs=1, model="committee", model_options=card["configuration"], start_from=str(weights)), tmp_path / "again")
    assert load_model(str(again)).labels == committee.labels


@pytest.mark.parametrize("changes, kind, message", [
    ({"members": ["nobody"], "model_options": {}}, DataError, "unknown pretrained model 'nobody'"),
    ({"members": ["resnet", "tc_resnet8"], "model_options": {}}, ConfigError, "members: 'resnet' hears .*; expected the task's words in this order: yes, no, stop, _silence_"),
    ({"data": ["no/such/folder"]}, DataError, "no/such/folder"),
    ({"task": "sc9"}, ConfigError, "did you mean 'sc09'"),
    ({"model": "committee", "model_options": {"members": []}}, ConfigError, "committee: members: expected one or more, got none"),
    ({"model": "committee", "model_options": {"members": ["resnet"]}}, ConfigError, "committee: members: expected tables with 'model'"),
    ({"model": "committee", "model_options": {"members": [{"model": "resnt"}]}}, ConfigError, "did you mean 'resnet'"),
    ({"model": "committee", "model_options": {"members": [{"model": "resnet", "width": 3}]}}, ConfigError, "did you mean 'widths'"),
    ({"model": "resnt"}, ConfigError, "did you mean 'resnet'"),
    ({"model_options": {"width": [8]}}, ConfigError, "did you mean 'widths'"),
    ({"model_options": SMALL | {"widths": ["x", "y"]}}, ConfigError, "model_options"),
    ({"start_from": "nobody"}, ConfigError, "nobody"),
    ({"start_from": "tc_resnet8", "widen": True}, ConfigError, "widen: expected two resnets"),
    ({"start_from": "resnet", "widen": True, "model": "resnet", "model_options": {"widths": [24, 48, 48, 96, 96]}}, ConfigError, "other layers"),
    ({"start_from": "tc_resnet8", "model_options": {}, "epochs": 0, "task": list(reversed(WORDS))}, ConfigError, "start_from: 'tc_resnet8' hears .*; expected the task's words in this order"),
    ({"model": "resnet", "model_options": {}, "start_from": "resnet", "soup": ["tc_resnet8"], "task": "v2-12"}, ConfigError, "soup: 'tc_resnet8' has other layers"),
    ({"teaching": Teaching(["nobody"])}, ConfigError, "nobody"),
    ({"adversary": Adversary(budget="snr:-1")}, ConfigError, "snr:-1"),
    ({"adversary": Adversary(budgets=[[2, "linf:banana"]])}, ConfigError, "linf:banana"),
])
def test_what_cannot_be_trained_leaves_no_folder(small, tmp_path, changes, kind, message):
    with pytest.raises(kind, match=message) as problem:
        go(small(**changes), tmp_path / "run")
    assert len(str(problem.value).splitlines()) == 1 and not (tmp_path / "run").exists()


def test_without_data(small, tmp_path, monkeypatch):
    monkeypatch.delenv("SPEECHADV_DATA", raising=False)
    with pytest.raises(DataError, match="SPEECHADV_DATA"):
        go(small(data=[]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["data", "train_only"])
def test_the_bundled_clips_are_held_out(small, tmp_path, key):
    with pytest.raises(DataError, match="held out of all training"):
        go(small(**{key: [str(bundled_folder())]}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folders_of_others(small, tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="foreign files"):
        go(small(), tmp_path / "foreign")
    go(small(epochs=1), tmp_path / "run")
    with pytest.raises(InputError, match="another config"):
        go(small(epochs=2), tmp_path / "run")


def test_a_broken_checkpoint_is_refused_by_name(small, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        go(small(), tmp_path / "run", killed_in(2))
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"torn")
    with pytest.raises(SpeechAdvError, match="checkpoint.pt"):
        go(small(), tmp_path / "run")


def test_divergence_is_told(small, tmp_path):
    with pytest.raises(SpeechAdvError, match="diverged in epoch 1"):
        go(small(learning_rate=1e30, warmup_epochs=0.0), tmp_path / "run")


@pytest.mark.parametrize("changes, message", [
    ({"split": "test"}, "train alone and chooses on validation, got 'test'"), ({"split": "validation"}, "train alone"), ({"epochs": 0}, "epochs"),
    ({"batch_size": 1}, "2 or more"), ({"learning_rate": -1.0}, "learning_rate"), ({"averaging": 1.0}, "averaging"), ({"weight_decay": -1.0}, "weight_decay"),
    ({"name": "../up"}, "letters"), ({"name": ""}, "letters"), ({"name": ".hidden"}, "letters"), ({"seed": -1}, "seed"),
])
def test_values_out_of_range(small, changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes)


@pytest.mark.parametrize("make, message", [
    (lambda: Augmentation(noise_share=1.5), "noise_share"), (lambda: Augmentation(gain_db=[3.0, -3.0]), "gain_db"), (lambda: Augmentation(shift_ms=900), "shift_ms"),
    (lambda: Teaching(temperature=0), "temperature"), (lambda: Teaching(hard_share=2), "hard_share"), (lambda: Adversary(steps=[]), "steps"),
    (lambda: Adversary(steps=[[0, -1]]), "steps"), (lambda: Adversary(clean_share=1.0), "clean_share"), (lambda: Adversary(loss="hinge"), "loss"),
])
def test_tables_out_of_range(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_schedule_of_steps():
    adversary = Adversary(steps=[[0, 0], [2, 1], [5, 7]])
    assert [adversary.steps_at(epoch) for epoch in range(7)] == [0, 0, 1, 1, 1, 7, 7]
    assert Adversary(steps=[[3, 2]]).steps_at(0) == 0


def test_the_command_goes_on(small, tmp_path, run):
    (tmp_path / "config.toml").write_text(configs.dumps(small(epochs=1)))
    status, out, err = run("train", tmp_path / "config.toml", "--out", tmp_path / "run", "--set", "epochs=2")
    assert status == 0 and "small.safetensors" in out and "epoch 2:" in err and "Traceback" not in err
    status, out, err = run("train", tmp_path / "config.toml", "--out", tmp_path / "run", "--set", "epochs=2", "--quiet")
    assert (status, err) == (0, "") and "small.safetensors" in out
    status, out, err = run("train", tmp_path / "config.toml", "--out", tmp_path / "run")
    assert status == 2 and "another config" in err and len(err.splitlines()) == 1


def test_a_background_recording_that_is_too_short_is_left_out(small, tmp_path, data_root):
    root = tmp_path / "data"
    shutil.copytree(data_root, root)
    shutil.rmtree(root / "_background_noise_", ignore_errors=True)
    (root / "_background_noise_").mkdir()
    write_pcm16(root / "_background_noise_/hum.wav", to_grid(0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0))))
    go(small(data=[str(root)], task=["yes", "no", "stop"], epochs=1, augmentation=Augmentation(noise_share=1.0)), tmp_path / "run")
    assert len(history(tmp_path / "run")) == 1


def test_answers_of_teachers_belong_to_the_noise_that_they_heard():
    clips = np.ones((4, 100), np.int16)
    train_set, config = Examples(clips, np.zeros(4, np.int64), ("yes",)), TrainingConfig("x", views=2, teaching=Teaching(["resnet"]))
    views = [Views(clips, [np.full(200, level, np.float32)], np.zeros(4, bool), Augmentation(), 0) for level in (0.1, 0.2)]
    keys = [cache_key(config, train_set, each, lambda waveforms: torch.zeros(len(waveforms), 1), "cpu") for each in (*views, views[0])]
    assert keys[0] == keys[2] != keys[1]
