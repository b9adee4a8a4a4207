"""Two processes of torchrun train what one trains; one of them is killed on the way."""
import dataclasses
import json
import os
import subprocess
import sys

import pytest
import torch

from speechadv import config as configs
from speechadv import load_model
from speechadv.errors import ConfigError, DataError
from speechadv.training.processes import ALONE, Group, command_line, device_of
from speechadv.training.run import train
from speechadv.training.settings import Adversary, TrainingConfig

STEPS, KILLED_IN = 20, 8
KILLS = f"""
import os, signal, sys
from pathlib import Path
from speechadv.cli import main
from speechadv.training.loop import Trainer

whole = Trainer.one_epoch

def killed_once(self, epoch):
    marker = Path(os.environ["MARKER"])
    if epoch == {KILLED_IN} and os.environ["RANK"] == "1" and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, epoch)

Trainer.one_epoch = killed_once
main(sys.argv[1:])
"""
FROZEN = """
import sys
from torch import nn

nn.modules.batchnorm._BatchNorm.train = lambda self, mode=True: nn.Module.train(self, False)
from speechadv.cli import main

main(sys.argv[1:])
"""


def one_step_an_epoch(data_root):
    """31 clips a step, which two processes cannot share evenly; without dropout, whose draws are each process's own."""
    adversary = Adversary(budget="snr:30", steps=[[0, 0], [2, 2]], clean_share=0.25)
    return TrainingConfig("small", ["yes", "no", "stop", "_silence_"], "tc_resnet8", {"widths": [6, 8], "n_mels": 16, "n_fft": 512, "hop_length": 512, "dropout": 0.0},
                          data=[str(data_root)], epochs=STEPS, batch_size=31, averaging=0.8, validation_clips=4, validate_every=10, adversary=adversary)


def torchrun(*words, cwd, **environment):
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *words]
    plain = {key: value for key, value in os.environ.items() if key != "SPEECHADV_DATA"} | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=cwd, env=plain | environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data_root):
    """(the run of one process, that of two of which one was killed, what the two printed)"""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "config.toml").write_text(configs.dumps(one_step_an_epoch(data_root)))
    (folder / "kills.py").write_text(KILLS)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as torchrun's processes have: another number adds in another order
    try:
        train(one_step_an_epoch(data_root), folder / "one", progress=lambda items, label: items, say=lambda line: None)
    finally:
        torch.set_num_threads(threads)
    done = torchrun("--max-restarts", "1", "kills.py", "train", "config.toml", "--out", "two", cwd=folder, MARKER=str(folder / "marker"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "marker").exists()
    return folder / "one", folder / "two", done


def history(run):
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def test_two_processes_follow_one(runs):
    """Normalisation is synchronised and the random starts are those of one process: the steps differ by the order of additions alone."""
    one, two, _ = runs
    losses = [[row["loss"] for row in history(run)] for run in (one, two)]
    assert len(losses[0]) == len(losses[1]) == STEPS and losses[0][-1] < losses[0][0]
    assert losses[1][:10] == pytest.approx(losses[0][:10], rel=1e-4)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)  # rounding to 16 bit in the attack makes steps of what were last bits: which step, depends on the processor
    assert [row.get("robust_accuracy") for row in history(two)] == [row.get("robust_accuracy") for row in history(one)]
    ours, theirs = (load_model(str(run / "small.safetensors")).state_dict() for run in (one, two))
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-2, atol=1e-3)


def test_with_normalisation_frozen_they_stay_together_for_twenty_steps(data_root, tmp_path, monkeypatch):
    config = dataclasses.replace(one_step_an_epoch(data_root), validate_every=STEPS)
    (tmp_path / "config.toml").write_text(configs.dumps(config))
    (tmp_path / "frozen.py").write_text(FROZEN)
    monkeypatch.setattr(torch.nn.modules.batchnorm._BatchNorm, "train", lambda self, mode=True: torch.nn.Module.train(self, False))
    train(config, tmp_path / "one", progress=lambda items, label: items, say=lambda line: None)
    done = torchrun("frozen.py", "train", "config.toml", "--out", "two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = ([row["loss"] for row in history(tmp_path / run)] for run in ("one", "two"))
    assert len(one) == STEPS and one[-1] < one[0] and two == pytest.approx(one, rel=1e-4)


def test_a_killed_process_costs_an_epoch_and_no_more(runs):
    _, two, done = runs
    assert f"going on after epoch {KILLED_IN}" in done.stderr
    assert done.stderr.count("epoch 20:") == 1 and done.stdout.count("weights:") == 1  # the first process alone speaks
    assert sorted(path.name for path in two.iterdir()) == ["checkpoint.pt", "config.toml", "history.jsonl", "small.json", "small.safetensors"]
    card = json.loads((two / "small.json").read_text())
    assert card["command"].startswith("torchrun --nproc-per-node 2 -m speechadv train config.toml")


@pytest.mark.parametrize("own, theirs, raised, message", [
    (DataError("no clips"), DataError("no clips"), DataError, "^no clips$"), (None, ConfigError("no data here"), ConfigError, "^process 1 of 2: no data here$")])
def test_what_cannot_be_trained_is_one_line(monkeypatch, own, theirs, raised, message):
    """Whichever process finds it, the first one says it and the others leave."""
    monkeypatch.setattr(Group, "gathered", lambda self, problem: [own, theirs])
    with pytest.raises(raised, match=message), Group(0, 2, True).agreeing():
        if own:
            raise own
    with pytest.raises(SystemExit) as leaving, Group(1, 2, True).agreeing():
        raise theirs
    assert leaving.value.code == 2


def test_a_batch_that_is_too_small_to_share(data_root, tmp_path, monkeypatch):
    monkeypatch.setattr(Group, "gathered", lambda self, problem: [problem])
    with pytest.raises(ConfigError, match="batch_size: expected a clip for each of the 40 processes, got 31"):
        train(one_step_an_epoch(data_root), tmp_path / "run", progress=None, say=None, group=Group(0, 40, True))
    assert not (tmp_path / "run").exists()


def test_shares():
    first, second = Group(0, 2, True), Group(1, 2, True)
    assert list(first.mine(range(5))) == [0, 2, 4] and list(second.mine(range(5))) == [1, 3]
    assert [group.mine_of_first(count) for count in (0, 1, 4) for group in (first, second)] == [0, 0, 1, 0, 2, 2]
    assert ALONE.mine("abc") == "abc" and ALONE.mine_of_first(3) == 3 and ALONE.leads and not second.leads


def test_alone_an_error_passes():
    with pytest.raises(DataError, match="nothing"), ALONE.agreeing():
        raise DataError("nothing")
    assert ALONE.one_a_machine(lambda: 3) == 3 and ALONE.sent(4) == 4


def test_each_process_has_its_own_gpu(monkeypatch):
    assert (device_of("cuda:1"), device_of("cpu"), command_line("speechadv train x")) == ("cuda:1", "cpu", "speechadv train x")
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("LOCAL_RANK", "3"), ("LOCAL_WORLD_SIZE", "4"), ("WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    assert (device_of("cuda"), device_of("cpu")) == ("cuda:3", "cpu")
    assert command_line("speechadv train x") == "torchrun --nnodes 2 --nproc-per-node 4 -m speechadv train x"
    with pytest.raises(ConfigError, match="each process takes its own"):
        device_of("cuda:1")
