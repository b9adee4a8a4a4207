"""`attack` through an engine: the worker is sent, loads what could not be sent, and a clip that fails is told of."""
import json
import pickle

import pytest
import torch

from speechadv import audio
from speechadv.cli import crafter
from speechadv.cli.attack import prepared
from speechadv.cli.attacking import read_clips
from speechadv.cli.common import Voice
from speechadv.errors import SpeechAdvError
from speechadv.evaluation.blocks import persistently


class Sending:
    """An engine whose worker goes through bytes, as it would to another process."""

    def __init__(self):
        self.asked = 0

    def ready(self):
        self.asked += 1

    def run(self, items, worker):
        there = pickle.loads(pickle.dumps(worker.sendable()))
        there.begin(torch.get_num_threads())
        for item in items:
            done = persistently(there, item.packed())
            done.item = item
            yield done

    def status(self):
        return "one node"


@pytest.fixture
def job(tiny_weights):
    network = {"labels": None, "sample_rate": None, "trust": False, "device": "cpu"}
    return prepared("pgd", {"steps": 3}, ["linf:0.002"], "none", str(tiny_weights), network, "no", 0, ())


@pytest.fixture
def clips(job, tmp_path):
    files = [tmp_path / f"{name}.wav" for name in "abc"]
    for number, file in enumerate(files):
        noise = 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(number))
        audio.write_pcm16(file, audio.to_grid(noise), 16000)
    return read_clips(files, job, Voice(False, True))


@pytest.mark.parametrize("picklable", [True, False], ids=["the network is sent", "it is loaded there"])
def test_a_worker_that_was_sent_gives_the_same_rows(job, clips, tmp_path, monkeypatch, picklable):
    monkeypatch.setattr(crafter, "picklable", lambda job: picklable)
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    told = []
    alone = crafter.craft(job, clips, here, None, lambda *done: None, told.append)
    sent = crafter.craft(job, clips, there, Sending(), lambda *done: told.append(done), told.append)
    assert alone == sent and len(sent[0]) == 3 and sent[1] == 0 and told[-1] == (3, "one node")
    assert {path.name: path.read_bytes() for path in here.iterdir()} == {path.name: path.read_bytes() for path in there.iterdir()}


def test_a_clip_that_fails_is_told_of_and_all_of_them_are_an_error(job, clips, tmp_path, monkeypatch):
    def attack_batch(job, batch, run, progress, poison=("b",)):
        if {clip.stem for clip in batch} & set(poison):
            raise ValueError("no such clip please")
        return [{"clip": f"{clip.stem}.wav"} for clip in batch]

    monkeypatch.setattr(crafter, "attack_batch", attack_batch)
    rows, failed = crafter.craft(job, clips, tmp_path, None, lambda *done: None, print)
    assert [row["clip"] for row in rows] == ["a.wav", "c.wav"] and failed == 1
    assert json.loads((tmp_path / "failed.jsonl").read_text()) == {"clip": "b", "failed": "ValueError: no such clip please"}
    monkeypatch.setattr(crafter, "attack_batch", lambda *words: attack_batch(*words, poison="abc"))
    with pytest.raises(SpeechAdvError, match="not one clip could be attacked .*no such clip please"):
        crafter.craft(job, clips, tmp_path, None, lambda *done: None, print)


def test_an_engine_is_asked_before_anything_is_written(job):
    engine = Sending()
    crafter.check_engine(job, engine)
    crafter.check_engine(job, None)
    assert engine.asked == 1
