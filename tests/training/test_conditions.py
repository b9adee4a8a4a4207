"""What a network is trained under: a defense, noise, sound without labels, mixtures, patience, an eye on overfitting."""
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tomli_w
import torch

from speechadv import config as configs
from speechadv.data import scan
from speechadv.defenses import Defended, Defense, parse_defense
from speechadv.errors import ConfigError, DataError
from speechadv.training.batches import Batches
from speechadv.training.ear import Ear
from speechadv.training.examples import Examples
from speechadv.training.processes import ALONE, Group
from speechadv.training.run import train
from speechadv.training.settings import Adversary, Augmentation, Teaching, TrainingConfig
from speechadv.training.targets import Targets
from speechadv.training.unlabelled import unlabelled_clips
from speechadv.training.validation import Validator
from speechadv.training.views import Views

SMALL = {"widths": [6, 8], "n_mels": 16, "n_fft": 512, "hop_length": 512}


class Hiss(Defense):
    """Noise of its own generators."""

    name, stochastic = "hiss", True

    def forward(self, waveforms):
        return waveforms + 0.01 * torch.stack([torch.randn(waveforms.shape[1], generator=generator) for generator in self.generators_for(waveforms)])


@pytest.fixture
def small(data_root):
    """A config of a quick run; keywords change it."""

    def make(**changes):
        plain = {"name": "small", "task": ["yes", "no", "stop", "_silence_"], "model": "tc_resnet8", "model_options": SMALL, "data": [str(data_root)], "epochs": 1,
                 "batch_size": 16, "learning_rate": 0.02, "averaging": 0.8, "validation_clips": 4}
        return TrainingConfig(**plain | changes)

    return make


def go(config, out):
    lines = []
    weights = train(config, out, progress=lambda items, label: items, say=lines.append)
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    return json.loads(weights.with_suffix(".json").read_text()), rows, lines


def batches(model, heard, group=ALONE, defenses=(), **settings):
    """The batches of a run on the clips in `heard`, without augmentation."""
    config = TrainingConfig("x", list(heard.labels), adversary=Adversary(budget="snr:30", clean_share=0.2), **settings)
    train_set = Examples((heard.waveforms.numpy() * 32768).astype(np.int16), heard.classes.numpy(), tuple(heard.labels))
    views = Views(train_set.clips, [], train_set.silence, Augmentation(shift_ms=0.0, gain_db=[0.0, 0.0], noise_share=0.0), 0)
    return Batches(config, Ear(model, model, defenses), views, Targets(config, train_set, views), group, torch.Generator().manual_seed(5))


def test_noise_is_that_of_certify_and_the_budget_is_of_the_clip(tiny, heard):
    batch = batches(tiny, heard, noise_sigma=0.01)(np.arange(15), 0, 0, 2)
    noise = batch.sound - heard.waveforms
    assert noise.std().item() == pytest.approx(0.01, rel=0.01) and abs(noise.mean().item()) < 1e-4
    assert not torch.equal((batch.sound * 32768).round(), batch.sound * 32768)  # neither rounded nor clipped
    assert len(batch.inner) == 12 and torch.equal(batch.inner.bound.clean, heard.waveforms[3:]) and torch.equal(batch.inner.sound, batch.sound[3:])


def test_two_processes_draw_what_one_draws(tiny, heard):
    whole = batches(tiny, heard, noise_sigma=0.01)(np.arange(15), 0, 0, 2)
    parts = [batches(tiny, heard, Group(rank, 2, True), noise_sigma=0.01)(np.arange(15), 0, 0, 2) for rank in (0, 1)]
    for rank, part in enumerate(parts):
        assert torch.equal(part.sound, whole.sound[rank::2]) and torch.equal(part.hard, whole.hard[rank::2])
        first = 4 if rank == 0 else 3  # of the twelve attacked ones, which begin at the fourth clip
        torch.testing.assert_close(part.inner.start, whole.inner.start[first - 3 :: 2])


def test_the_network_hears_what_the_defense_leaves(tiny, heard):
    (defense,) = parse_defense("bandpass:500-2000")
    ear = Ear(tiny, tiny, [defense])
    with torch.no_grad():
        expected = tiny(defense(heard.waveforms))
        torch.testing.assert_close(ear(heard.waveforms), expected)
        torch.testing.assert_close(ear.copy()(heard.waveforms), expected, atol=1e-3, rtol=1e-3)
    assert isinstance(ear.copy(), Defended) and ear.copy().gradient == "surrogate" and not isinstance(Ear(tiny, tiny).copy(), Defended)
    row = Validator(Examples((heard.waveforms.numpy() * 32768).astype(np.int16), heard.classes.numpy(), heard.labels), None, 0, defenses=[defense])(tiny)
    assert row["accuracy"] == pytest.approx((expected.argmax(1) == heard.classes).float().mean().item())


def test_a_random_defense_draws_the_same_in_a_resumed_epoch(tiny, heard):
    def logits(epoch):
        batch = batches(tiny.eval(), heard, defenses=[Hiss()])(np.arange(15), 0, epoch, 2)
        with torch.no_grad():
            return torch.cat(batch.both(batch.inner.perturbation("kl", 1, 1.0)))

    assert torch.equal(logits(0), logits(0)) and not torch.equal(logits(0), logits(1))
    validator = Validator(Examples((heard.waveforms.numpy() * 32768).astype(np.int16), heard.classes.numpy(), heard.labels), "snr:40", 4, steps=2, defenses=[Hiss()])
    assert validator(tiny) == validator(tiny)


@pytest.mark.parametrize("objective", ["trades", "free"])
def test_a_run_behind_a_codec(small, tmp_path, objective):
    adversary = Adversary(objective=objective, budget="snr:30", steps=[[0, 1]], replays=2, guard=0.0)
    card, rows, _ = go(small(defense="mp3:32", adversary=adversary), tmp_path / "run")
    assert card["training"]["defense"] == "mp3:32" and 0 <= rows[0]["robust_accuracy"] <= 1 and "guard_pgd" not in rows[0]


def test_under_noise_alone_the_accuracy_under_noise_chooses(small, tmp_path):
    card, rows, _ = go(small(epochs=2, noise_sigma=0.01), tmp_path / "run")
    assert all(row["score"] == row["noisy_accuracy"] for row in rows) and card["training"]["noise_sigma"] == 0.01
    _, again, _ = go(small(epochs=2, noise_sigma=0.01), tmp_path / "again")
    assert again == rows


def test_patience_ends_a_run_and_keeps_the_best(small, tmp_path, monkeypatch):
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.9])
    monkeypatch.setattr(Validator, "__call__", lambda self, model, group: {"accuracy": 0.0, "score": next(scores)})
    config = small(epochs=9, patience=2)
    card, rows, lines = go(config, tmp_path / "run")
    assert [row["score"] for row in rows] == [0.5, 0.7, 0.6, 0.7] and card["results"]["validation"]["epoch"] == 2
    assert "no better on validation since epoch 2: the run ends after epoch 4" in lines
    assert go(config, tmp_path / "run")[1] == rows  # nor does the finished run go on


def test_training_clips_are_watched(small, tmp_path):
    card, rows, lines = go(small(epochs=2, watched_clips=5, training_clips=20, adversary=Adversary(steps=[[0, 1]], budget="snr:30")), tmp_path / "run")
    assert all(0 <= row["train_robust_accuracy"] <= 1 and row["train_accuracy"] * 5 == pytest.approx(round(row["train_accuracy"] * 5)) for row in rows)
    assert "train_robust_accuracy" in card["results"]["validation"] and any(", 20 training and 12 validation clips" in line for line in lines)


def sounds(folder, *names, seconds=1.0):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, np.random.default_rng(len(name)).normal(0, 0.1, int(16000 * seconds)), 16000, subtype="PCM_16")
    return folder


def test_sound_without_labels(tmp_path, data_root):
    clips = scan([data_root])
    speakers = {split: next(clip.speaker for clip in clips if clip.split == split) for split in ("train", "validation", "test")}
    folder = sounds(tmp_path / "sound", *(f"any/{speaker}_nohash_7.wav" for speaker in speakers.values()), "deep/er/street.wav", "_background_noise_/hum.wav", ".hidden/x.wav")
    sounds(folder, "long.wav", seconds=3.4)
    found = [(clip.path.relative_to(folder).as_posix(), clip.start) for clip in unlabelled_clips([folder], clips)]
    assert found == [(f"any/{speakers['train']}_nohash_7.wav", None), ("deep/er/street.wav", None), ("long.wav", 0), ("long.wav", 16000), ("long.wav", 32000)]
    with pytest.raises(DataError, match="no such folder"):
        unlabelled_clips([tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="that training may hear, found none"):
        unlabelled_clips([tmp_path / "empty"])


def test_a_run_learns_from_it_what_the_teacher_hears(small, tmp_path, tiny_weights, monkeypatch):
    monkeypatch.setenv("SPEECHADV_CACHE", str(tmp_path / "cache"))
    folder = sounds(tmp_path / "sound", *(f"{number}.wav" for number in range(6)))
    config = small(views=1, watched_clips=99, unlabelled=[str(folder)], teaching=Teaching([str(tiny_weights)], mixtures=0.5), adversary=Adversary(objective="ard", steps=[[0, 1]]))
    card, rows, lines = go(config, tmp_path / "run")
    assert any("38 training and 12 validation clips" in line for line in lines) and card["data"].endswith(", sound")
    assert rows[0]["train_accuracy"] * 32 == pytest.approx(round(rows[0]["train_accuracy"] * 32))  # the labelled ones alone are watched


def test_targets_without_a_label_are_the_teachers(heard):
    labels = tuple(heard.labels)
    train_set = Examples((heard.waveforms.numpy() * 32768).astype(np.int16), heard.classes.numpy(), labels).with_sound(np.zeros((2, 16000), np.int16))
    config = TrainingConfig("x", list(labels), teaching=Teaching(["some"], hard_share=1.0, mixtures=0.5))
    views = Views(train_set.clips, [], train_set.silence, Augmentation(), 0, teaching=config.teaching)
    answers = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.0]).log().expand(17, -1)
    targets, hard = Targets(config, train_set, views, lambda waveforms: answers)(np.arange(17), 3, torch.zeros(17, 16000))
    alone = views.mixed(np.arange(17), 3) | (np.arange(17) >= 15)
    assert alone[15:].all() and 2 <= alone[:15].sum() <= 12 and not (alone & train_set.silence).any()
    torch.testing.assert_close(targets[alone], answers.exp()[alone])
    assert torch.equal(targets[~alone].argmax(1), heard.classes[~alone[:15]]) and torch.equal(hard[alone], targets[alone]) and (hard[~alone].amax(1) == 1).all()


def test_a_mixture_has_two_words_and_leaves_the_other_draws_alone():
    clips = np.random.default_rng(0).integers(-8000, 8000, (40, 4000)).astype(np.int16)
    silence = np.arange(40) < 10
    plain = Views(clips, [], silence, Augmentation(gain_db=[0.0, 0.0]), 0, 4000)
    mixing = Views(clips, [], silence, Augmentation(gain_db=[0.0, 0.0]), 0, 4000, Teaching(["some"], mixtures=0.5, mixture_db=[0.0, 0.0]))
    indices = np.arange(40)
    before, after, mixed = plain(indices, 2).numpy(), mixing(indices, 2).numpy(), mixing.mixed(indices, 2)
    assert np.array_equal(before[~mixed], after[~mixed]) and not mixed[silence].any() and 8 <= mixed.sum() <= 22 and not plain.mixed(indices, 2).any()
    other = after[mixed] - before[mixed]
    ratio = 10 * np.log10((before[mixed].astype(float) ** 2).sum(1) / (other.astype(float) ** 2).sum(1))
    assert np.abs(ratio).max() < 0.1  # as loud as the first word
    assert not np.array_equal(mixed, mixing.mixed(indices, 3))


def test_the_teachers_answers_are_bounded(small, tmp_path, tiny_weights):
    with pytest.raises(ConfigError, match="views: expected at most 8388608 with so many clips and labels, whose teachers' answers fill 2048 MiB then, got 9000000"):
        go(small(views=9000000, teaching=Teaching([str(tiny_weights)])), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_run_of_an_earlier_version_goes_on(small, tmp_path):
    """Its config lacks the keys that came later; the checkpoint lacks what the guard has come to."""
    config = small(epochs=2)
    whole = go(config, tmp_path / "run")
    path = tmp_path / "run" / "config.toml"
    earlier = {key: value for key, value in configs.read(path).items() if key not in ("patience", "defense", "noise_sigma", "watched_clips", "unlabelled", "teaching")}
    path.write_text(tomli_w.dumps(earlier))
    assert configs.load(TrainingConfig, path) == config
    checkpoint = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    del checkpoint["strength"]
    torch.save(checkpoint, tmp_path / "run" / "checkpoint.pt")
    assert go(config, tmp_path / "run")[1] == whole[1] and "patience" in path.read_text()


@pytest.mark.parametrize("changes, kind, message", [
    ({"defense": "mp4:32"}, ConfigError, "unknown defense 'mp4', did you mean 'mp3'"), ({"noise_sigma": -0.1}, ConfigError, "noise_sigma"),
    ({"patience": -1}, ConfigError, "patience"), ({"unlabelled": ["x"]}, ConfigError, "unlabelled: expected none without teaching.models"),
    ({"unlabelled": ["no/such"], "teaching": "tiny"}, DataError, "no/such"),
])
def test_what_cannot_be_trained(small, tmp_path, tiny_weights, changes, kind, message):
    if changes.get("teaching"):
        changes = changes | {"teaching": Teaching([str(tiny_weights)])}
    with pytest.raises(kind, match=message) as problem:
        go(small(**changes), tmp_path / "run")
    assert len(str(problem.value).splitlines()) == 1 and not (tmp_path / "run").exists()


def test_the_documentation_names_every_key():
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    keys = text[text.index("## Keys"):]
    missing = [f.name for kind in (TrainingConfig, Augmentation, Teaching, Adversary) for f in fields(kind) if f"`{f.name}`" not in keys]
    assert missing == ["augmentation", "teaching", "adversary"]  # the tables


@pytest.mark.parametrize("make, message", [(lambda: Teaching(mixtures=0.5), "0 without teaching.models"), (lambda: Teaching(["x"], mixtures=2.0), "teaching.mixtures"),
                                           (lambda: Teaching(["x"], mixture_db=[3.0, -3.0]), "teaching.mixture_db")])
def test_mixtures_out_of_range(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
