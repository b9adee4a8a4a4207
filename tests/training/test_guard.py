"""Catastrophic overfitting: seen where it is planted, and a run goes back from it."""
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from speechadv.training.examples import Examples
from speechadv.training.guard import STRONGEST, Guard
from speechadv.training.run import train
from speechadv.training.settings import Adversary, TrainingConfig
from speechadv.training.validation import Validator

LIMIT = 327 / 32768  # of linf:0.01 on the 16-bit grid


class Wavy(nn.Module):
    """Hears the first sample. With `waves` it is right on the clip and at either end of the budget, where a single full step lands, and wrong in between."""

    labels, sample_rate = ("yes", "no"), 16000

    def __init__(self, waves=0, offset=0.3):
        super().__init__()
        self.waves, self.offset = waves, nn.Parameter(torch.tensor(offset))

    def forward(self, waveforms):
        score = torch.cos(2 * math.pi * self.waves * waveforms[:, 0] / LIMIT + 0.5) + self.offset
        return torch.stack([score, -score], 1)


def guard(fall=0.2):
    clips = np.zeros((6, 20), np.int16)
    return Guard(Validator(Examples(clips, np.zeros(6, np.int64), Wavy.labels), "linf:0.01", 0), fall, 4)


def test_a_planted_collapse_is_seen():
    look = guard()
    healthy, overfitted, poor = look(Wavy()), look(Wavy(waves=1)), look(Wavy(offset=-3.0))
    assert healthy == {"guard_fgsm": 1.0, "guard_pgd": 1.0} and overfitted == {"guard_fgsm": 1.0, "guard_pgd": 0.0} and poor == {"guard_fgsm": 0.0, "guard_pgd": 0.0}
    assert look.collapsed(overfitted, [{"epoch": 1}, {"epoch": 2, **healthy}])
    assert not look.collapsed(overfitted, []) and not look.collapsed(poor, [healthy]) and not look.collapsed(healthy, [overfitted])
    assert not look.collapsed({"guard_fgsm": 0.9, "guard_pgd": 0.85}, [healthy])


def run(data_root, out, kill=None, objective="fast"):
    adversary = Adversary(objective=objective, replays=1, steps=[[1, 1]], guard_clips=4)
    config = TrainingConfig("small", ["yes", "no", "stop"], "tc_resnet8", {"widths": [6, 8], "n_mels": 16, "n_fft": 512, "hop_length": 512}, data=[str(data_root)],
                            epochs=4, batch_size=24, averaging=0.8, validation_clips=2, validate_every=4, adversary=adversary)
    lines, started = [], []

    def progress(items, label):
        started.append(label)
        if kill == len(started):
            raise KeyboardInterrupt
        return items

    return train(config, out, progress=progress, say=lines.append), lines


@pytest.mark.parametrize("objective", ["fast", "free"])
def test_a_run_goes_back_and_takes_another_step(data_root, tmp_path, monkeypatch, objective):
    planted = [(0.9, 0.8), (0.95, 0.1)]  # after the second epoch and the third one; (0.9, 0.7) with more steps
    answers = iter(planted)
    monkeypatch.setattr(Guard, "__call__", lambda self, model, group: dict(zip(("guard_fgsm", "guard_pgd"), next(answers, (0.9, 0.7)))))
    weights, lines = run(data_root, tmp_path / "run", objective=objective)
    (told,) = [line for line in lines if "catastrophic" in line]
    assert told == ("epoch 3: catastrophic overfitting: 0.1000 right under PGD, 0.9500 under one step; back to epoch 2, 2 inner steps instead of 1 from here on")
    rows = [json.loads(line) for line in (weights.parent / "history.jsonl").read_text().splitlines()]
    assert [row.get("inner_steps") for row in rows] == [None, 1, 2, 2] and "guard_pgd" not in rows[0]
    assert torch.load(weights.parent / "checkpoint.pt", weights_only=True)["strength"] == 2
    answers = iter(planted)
    with pytest.raises(KeyboardInterrupt):  # killed when it has gone back
        run(data_root, tmp_path / "killed", kill=4, objective=objective)
    assert run(data_root, tmp_path / "killed", objective=objective)[0].read_bytes() == weights.read_bytes()


def test_it_gives_up_at_last(data_root, tmp_path, monkeypatch):
    """A network that falls with any number of steps is left to itself: no run without an end."""
    answers = iter([(0.9, 0.8)])
    monkeypatch.setattr(Guard, "__call__", lambda self, model, group: dict(zip(("guard_fgsm", "guard_pgd"), next(answers, (0.9, 0.0)))))
    weights, lines = run(data_root, tmp_path / "run")
    assert sum("catastrophic" in line for line in lines) == STRONGEST - 1 and weights.exists()
