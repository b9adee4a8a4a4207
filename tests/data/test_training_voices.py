"""data/make_training_voices.py: synthetic speakers to learn from."""
import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from speechadv.data import official_split, scan

DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.fixture
def voices(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(DATA)
    spec = importlib.util.spec_from_file_location("make_training_voices", DATA / "make_training_voices.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # where its dataclass is looked up
    spec.loader.exec_module(module)
    return module


def test_speakers_repeat_differ_and_belong_to_training(voices):
    speakers = [voices.speaker(number, 0) for number in range(50)]
    assert speakers == [voices.speaker(number, 0) for number in range(50)]
    assert len({one.name for one in speakers}) == 50 and len({one.voice for one in speakers}) > 25
    assert all(official_split(f"{one.name}_nohash_0.wav") == "train" for one in speakers)
    assert voices.speaker(0, 1) != speakers[0]


def test_a_folder_that_is_there_is_left_alone(voices, tmp_path, monkeypatch):
    monkeypatch.setattr(voices.shutil, "which", lambda name: name)
    (tmp_path / "mine").mkdir()
    done = CliRunner().invoke(voices.main, ["--out", str(tmp_path / "mine")])
    assert done.exit_code == 2 and "expected a new folder" in done.output and not list((tmp_path / "mine").iterdir())


def test_without_the_engine(voices, tmp_path, monkeypatch):
    monkeypatch.setattr(voices.shutil, "which", lambda name: None)
    done = CliRunner().invoke(voices.main, ["--out", str(tmp_path / "new")])
    assert done.exit_code == 2 and "espeak-ng is not installed" in done.output and not (tmp_path / "new").exists()


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="needs espeak-ng")
def test_what_they_say_is_data_for_training(voices, tmp_path):
    done = CliRunner().invoke(voices.main, ["--out", str(tmp_path / "new"), "--speakers", "2"])
    assert done.exit_code == 0, done.output
    files = sorted((tmp_path / "new").glob("*/*.wav"))
    assert len(files) > 20 and {"yes", "no", "on", "off"} <= {file.parent.name for file in files}
    assert all(soundfile.info(file).frames == soundfile.info(file).samplerate == 16000 for file in files)
    assert {clip.split for clip in scan([], [tmp_path / "new"])} == {"train"}
