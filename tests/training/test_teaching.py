"""Soft labels: between the words of teacher and student, and kept on disk."""
import numpy as np
import pytest
import torch
from torch import nn

from speechadv.errors import ConfigError
from speechadv.training.settings import Teaching
from speechadv.training.teaching import Teachers, cached_answers, mapped, soft_targets


class Fixed(nn.Module):
    """Hears the same in every clip."""

    sample_rate = 16000

    def __init__(self, labels, probabilities):
        super().__init__()
        self.labels, self.answer = labels, torch.tensor(probabilities).log()

    def forward(self, waveforms):
        return self.answer.expand(len(waveforms), -1)


def heard(theirs, probabilities, ours):
    return mapped(torch.tensor([probabilities]).log(), theirs, ours).exp()[0]


def test_the_same_words_in_another_order():
    torch.testing.assert_close(heard(["no", "yes"], [0.3, 0.7], ["yes", "no"]), torch.tensor([0.7, 0.3]))


def test_other_words_are_unknown():
    theirs = ["yes", "bed", "cat", "_unknown_"]
    torch.testing.assert_close(heard(theirs, [0.4, 0.1, 0.2, 0.3], ["yes", "_unknown_"]), torch.tensor([0.4, 0.6]))


def test_words_that_only_one_side_knows():
    torch.testing.assert_close(heard(["yes", "no", "bed"], [0.4, 0.2, 0.4], ["yes", "no", "stop"]), torch.tensor([2 / 3, 1 / 3, 0.0]))


def test_silence_is_never_taken_from_a_teacher():
    theirs = ["yes", "_silence_", "_unknown_"]
    torch.testing.assert_close(heard(theirs, [0.3, 0.4, 0.3], ["yes", "_unknown_", "_silence_"]), torch.tensor([0.5, 0.5, 0.0]))


def test_teachers_are_averaged_where_they_know_the_word():
    first, second = Fixed(["yes", "no"], [0.8, 0.2]), Fixed(["yes", "no"], [0.2, 0.8])
    torch.testing.assert_close(Teachers([first, second], ["yes", "no"])(torch.zeros(3, 10)).exp(), torch.full((3, 2), 0.5))
    partly = Fixed(["yes", "stop"], [0.5, 0.5])
    answer = Teachers([first, partly], ["yes", "no", "stop", "_silence_"])(torch.zeros(1, 10)).exp()[0]
    assert (answer[:3] > 0).all() and answer[3] == 0


def test_a_teacher_who_knows_no_word_is_refused():
    with pytest.raises(ConfigError, match="no teacher knows any of the labels yes, no"):
        Teachers([Fixed(["bed"], [1.0])], ["yes", "no"])


def test_soft_targets():
    log, hard = torch.tensor([[0.8, 0.2], [0.8, 0.2]]).log(), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    targets = soft_targets(log, hard, torch.tensor([False, True]), Teaching(hard_share=0.5))
    torch.testing.assert_close(targets, torch.tensor([[0.4, 0.6], [0.0, 1.0]]))
    warm = soft_targets(log, hard, torch.tensor([False, False]), Teaching(hard_share=0.0, temperature=2.0))[0]
    torch.testing.assert_close(warm, torch.tensor([2 / 3, 1 / 3]))


def test_kept_answers_are_continued(tmp_path):
    asked = []

    def answer(indices, view):
        asked.append((view, indices.tolist()))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return torch.full((len(indices), 2), -float(view)) - torch.arange(2) * 100

    def make():
        return cached_answers(tmp_path / "deep" / "answers.npy", 5, 2, 2, answer, lambda items, label: items, batch_size=2)

    with pytest.raises(KeyboardInterrupt):
        make()
    table = make()
    assert asked == [(0, [0, 1]), (0, [2, 3]), (0, [4]), (0, [4]), (1, [0, 1]), (1, [2, 3]), (1, [4])]
    assert not np.isnan(table).any() and table[1, 4].tolist() == [-1, -60]
    count = len(asked)
    assert np.array_equal(make(), table) and len(asked) == count
