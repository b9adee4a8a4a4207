"""What a checkpoint is chosen by."""
import numpy as np
import pytest
import torch

from speechadv.data import scan, task
from speechadv.errors import ConfigError
from speechadv.training.examples import Examples, examples
from speechadv.training.loop import parameter_groups
from speechadv.training.targets import hard_targets
from speechadv.training.validation import Validator


@pytest.fixture
def small_set(heard):
    return Examples((heard.waveforms.numpy() * 32768).astype(np.int16), heard.classes.numpy(), heard.labels)


def test_accuracy(tiny, heard, small_set):
    with torch.no_grad():
        expected = (tiny(heard.waveforms).argmax(1) == heard.classes).float().mean().item()
    row = Validator(small_set, None, 0)(tiny)
    assert row == {"accuracy": pytest.approx(expected), "score": pytest.approx(expected)}


def test_robust_accuracy_is_that_of_both_attacks_and_repeats(tiny, small_set):
    validator = Validator(small_set, "snr:35", attacked=10, steps=4, batch_size=4)
    row = validator(tiny)
    assert len(validator.part.clips) == 10 and row["score"] == row["robust_accuracy"] < row["accuracy"]
    assert validator(tiny) == row


def test_a_part_is_the_same_each_time(small_set):
    assert np.array_equal(small_set.first(5, 0).clips, small_set.first(5, 0).clips) and len(small_set.first(5, 0).clips) == 5
    assert small_set.first(0, 0) is small_set and small_set.first(99, 0) is small_set
    assert not np.array_equal(small_set.first(5, 0).clips, small_set.first(5, 1).clips)


def test_nothing_in_training_sees_test(data_root):
    with pytest.raises(ConfigError, match="got 'test'"):
        examples(scan([data_root]), task(["yes", "no"]), "test", 16000)
    parts = {split: examples(scan([data_root]), task(["yes", "no"]), split, 16000).clips for split in ("train", "validation")}
    together = np.concatenate(list(parts.values()))
    assert [len(part) for part in parts.values()] == [16, 6] and len(np.unique(together, axis=0)) == 22


def test_targets_and_weight_decay(tiny):
    torch.testing.assert_close(hard_targets(torch.tensor([1]), 4, 0.2), torch.tensor([[0.05, 0.85, 0.05, 0.05]]))
    groups = list(parameter_groups(tiny, 0.1))
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert all(p.ndim > 1 for p in groups[0]["params"]) and all(p.ndim == 1 for p in groups[1]["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(tiny.parameters()))


def test_the_budget_is_that_of_the_models_rate(tiny, small_set, monkeypatch):
    from speechadv.budgets.masking import Masking

    seen, bind = [], Masking.bind
    monkeypatch.setattr(Masking, "bind", lambda self, clean: seen.append(self.model.sample_rate) or bind(self, clean))
    tiny.sample_rate = 8000  # the clips are not: only who is asked matters here
    Validator(small_set, "masking", attacked=2, steps=1)(tiny)
    assert set(seen) == {8000}
    with pytest.raises(ConfigError, match="unknown budget"):
        Validator(small_set, "maskin", attacked=2)


@pytest.mark.parametrize("budget", ["masking:40", "masking:40+linf:0.01"])
def test_a_batch_with_no_clip_left(budget, tiny, heard, small_set):
    wrong = Examples(small_set.clips, (small_set.classes + 1) % len(small_set.labels), small_set.labels)
    fallen = wrong.part(tiny(heard.waveforms).argmax(1).numpy() != wrong.classes)
    assert Validator(fallen, budget, attacked=4, steps=2, batch_size=2)(tiny)["robust_accuracy"] == 0
