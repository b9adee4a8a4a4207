"""Weights and cards: whole, checked, inert."""
import json
import os
import pickle

import pytest
import torch

from speechadv import list_models
from speechadv.errors import SpeechAdvError
from speechadv.models.pretrained import WEIGHTS, card_path, load_checkpoint, load_pretrained, read_card, save_model
from speechadv.registry import create

KINDS = ("", "-at", "-at-0.005", "-snr-30", "-trades")
ZOO = ["bc_resnet", *(network + kind for network in ("resnet", "tc_resnet8") for kind in KINDS)]
CARD = {"name": "mine", "architecture": "tc_resnet8", "configuration": {"widths": [4, 4, 8]}, "seed": 3}
CARD_KEYS = {"name", "weights", "sha256", "parameters", "task", "labels", "data", "recipe", "seed", "command", "results", "architecture", "configuration"}


@pytest.fixture
def saved(tmp_path):
    return save_model(create("model", "tc_resnet8", ("yes", "no"), widths=[4, 4, 8]), CARD, tmp_path / "new" / "folder")


def rewrite(path, **changes):
    card = {**json.loads(card_path(path).read_text()), **changes}
    card_path(path).write_text(json.dumps(card))


def test_two_files_and_nothing_else(saved):
    assert sorted(os.listdir(saved.parent)) == ["mine.json", "mine.safetensors"]
    card = read_card(saved)
    assert card["weights"] == "mine.safetensors" and card["labels"] == ["yes", "no"] and card["sample_rate"] == 16000 and card["seed"] == 3
    assert card["parameters"] == sum(p.numel() for p in load_checkpoint(saved).parameters())


def test_saving_leaves_the_model_as_it_was(tmp_path):
    model = create("model", "tc_resnet8", ("yes", "no"), widths=[4, 4, 8]).train()
    save_model(model, CARD, tmp_path)
    assert model.training and all(p.requires_grad for p in model.parameters())


def test_one_changed_byte_is_noticed(saved):
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    with pytest.raises(SpeechAdvError, match="mine.safetensors.*SHA-256"):
        load_checkpoint(saved)


@pytest.mark.parametrize(("changes", "message"), [
    ({"architecture": "tc_resnet9"}, "mine.json.*unknown model 'tc_resnet9', did you mean 'tc_resnet8'"),
    ({"configuration": {"width": [4]}}, "no option 'width', did you mean 'widths'"),
    ({"configuration": {"widths": 4}}, "configuration: tc_resnet8 cannot be made of it"),
    ({"configuration": {"widths": [4, 4, 9]}}, "weights do not fit tc_resnet8"),
    ({"configuration": {"hop_length": 7}}, "mine.json.*hop_length: expected a divisor"),
    ({"labels": ["yes", "yes"]}, "'labels': expected different words"),
    ({"labels": "yes no"}, "'labels': expected list"),
    ({"sample_rate": -1}, "'sample_rate': expected Hz above 0"),
    ({"sha256": None}, "'sha256': expected str"),
])
def test_a_card_that_does_not_fit(saved, changes, message):
    rewrite(saved, **changes)
    with pytest.raises(SpeechAdvError, match=message) as problem:
        load_checkpoint(saved)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_broken_card(saved, content):
    card_path(saved).write_bytes(content)
    with pytest.raises(SpeechAdvError, match="mine.json"):
        load_checkpoint(saved)


def test_missing_files(saved):
    card_path(saved).rename(card_path(saved).with_name("other.json"))
    with pytest.raises(SpeechAdvError, match="mine.json.*no such file"):
        load_checkpoint(saved)
    saved.unlink()
    card_path(saved).with_name("other.json").rename(card_path(saved))
    with pytest.raises(SpeechAdvError, match="mine.safetensors.*no such file"):
        load_checkpoint(saved)


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


def test_a_pickle_named_safetensors_stays_inert(saved, tmp_path):
    import hashlib

    content = pickle.dumps(Bomb(tmp_path / "exploded"))
    saved.write_bytes(content)
    rewrite(saved, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(SpeechAdvError, match="expected a safetensors file"):
        load_checkpoint(saved)
    assert not (tmp_path / "exploded").exists()


def test_a_card_must_rebuild_the_model(tmp_path):
    with pytest.raises(SpeechAdvError, match="do not rebuild the model"):
        save_model(create("model", "tc_resnet8", ("yes", "no")), CARD, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_result_that_is_no_number_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="[Oo]ut of range"):
        save_model(create("model", "tc_resnet8", ("yes", "no"), widths=[4, 4, 8]), {**CARD, "results": {"accuracy": float("nan")}}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_in_the_package():
    """The list that README.md and the leaderboard are about; all together it stays small."""
    assert list_models() == ZOO
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*.safetensors")) < 10_000_000
    assert {path.stem for path in WEIGHTS.glob("*.json")} == set(ZOO)


def test_an_unknown_name():
    with pytest.raises(SpeechAdvError, match="unknown pretrained model 'nothing"):
        load_pretrained("nothing\nat all")


@pytest.mark.parametrize("name", list_models())
def test_cards_inside_the_package_are_complete(name):
    card = read_card(WEIGHTS / f"{name}.safetensors")
    assert CARD_KEYS <= set(card) and card["name"] == name and card["weights"] == f"{name}.safetensors"
    assert card["parameters"] == sum(p.numel() for p in load_pretrained(name).parameters())
    assert torch.get_default_dtype() == torch.float32
