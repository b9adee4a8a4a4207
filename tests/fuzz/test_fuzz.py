"""A minute of fuzzing, of each reader for a few seconds, and hypothesis on what is text; `python -m tests.fuzz` does it at length."""
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings, strategies as st

from speechadv import audio, config as configs
from speechadv.budgets import parse_budget
from speechadv.defenses import parse_defense
from speechadv.errors import SpeechAdvError
from speechadv.evaluation import rows
from speechadv.evaluation.settings import EvaluationConfig
from tests.fuzz.__main__ import apart
from tests.fuzz.of_runs import PROBES, into_tables
from tests.fuzz.targets import ROW, Target, hundred_hours, sound

ROOT = Path(__file__).parents[2]
SECONDS, INPUTS = 60, 8000  # of all readers

values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4))


def test_every_reader_gives_errors_of_ours_alone():
    """In an interpreter of its own: a fork of this one would inherit the locks of thread pools that other tests have begun, and wait for ever."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    words = [sys.executable, "-m", "tests.fuzz", "--inputs", str(INPUTS), "--seconds", str(SECONDS), "--seed", "1"]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | single, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0 and " 0 problems" in done.stdout, done.stdout + done.stderr


def test_the_harness_sees_other_errors_and_crashes_and_greed():
    def crash(path):
        os.kill(os.getpid(), signal.SIGKILL)

    def greedy(path):
        np.zeros(2**29).sum()

    def fails(path):
        raise KeyError(path.read_bytes()[:1])

    seen = [apart(Target(read.__name__, [b"abc"], read), 3, seed=0).bad for read in (crash, greedy, fails)]
    assert any("ended with -9" in problem for problem in seen[0])
    assert any("MemoryError" in problem for problem in seen[1])
    assert any("KeyError" in problem for problem in seen[2])


def test_a_hundred_hours_are_not_allocated(tmp_path):
    (tmp_path / "long.flac").write_bytes(hundred_hours())
    before, started, notices = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic(), []
    assert len(audio.read(tmp_path / "long.flac", notice=notices.append)) == 400
    assert any("ends early" in line and "360000.000 s" in line for line in notices)
    assert time.monotonic() - started < 5 and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(["attacks", "budgets", "models", "seeds", "clips", "task", "skip", "audio", "quality"]) | st.text(max_size=8), values, max_size=6))
def test_any_config(content):
    try:
        configs.from_dict(EvaluationConfig, content)
    except SpeechAdvError as problem:
        assert str(problem).isprintable()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["linf:", "snr:", "masking:", "mp3:", "bandpass:", ""]), st.text(max_size=20))
def test_any_specification(kind, word):
    for parse in (parse_budget, parse_defense):
        try:
            parse(kind + word)
        except SpeechAdvError as problem:
            assert str(problem).isprintable()


numbers = st.floats(-1e30, 1e30) | st.integers(-(2**60), 2**60)
kinds = {str: st.text(max_size=30), bool: st.booleans(), int: st.integers(-(2**60), 2**60), float: numbers, type(None): st.none()}


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({key: kinds[type(ROW[key])] for key in rows.ROW_KEYS}), st.data())
def test_rows_come_back_and_no_changed_byte_passes(row, data):
    line = rows.encode(row)
    assert rows.decode(line) == json.loads(json.dumps(row))
    place = data.draw(st.integers(0, len(line) - 2))
    letter = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
    changed = rows.decode(line[:place] + letter + line[place + 1 :])
    assert changed is None or changed == rows.decode(line)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.sampled_from([8000, 16000, 22050, 48000]), st.integers(1, 3), st.sampled_from(["PCM_16", "PCM_24", "FLOAT"]), st.integers(0, 3000))
def test_any_sound_file_gives_what_it_holds(samples, rate, channels, subtype, missing):
    import tempfile

    content = sound(samples, rate, channels, subtype=subtype)
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(content[: max(len(content) - missing, 0)])
        file.flush()
        try:
            clip = audio.read(file.name, rate)
        except SpeechAdvError:
            return
        assert clip.dtype == np.float32 and 0 < len(clip) <= samples and np.abs(clip).max() <= 1
        if not missing and channels == 1:
            np.testing.assert_allclose(clip, soundfile.read(file.name, dtype="float32")[0].clip(-1, 1 - 2**-15), atol=2**-15)


def test_what_fuzzing_found(tiny_weights, tmp_path):
    """A card whose configuration makes a network stumble while it is built."""
    import shutil

    from speechadv.errors import DataError
    from speechadv.models.pretrained import load_checkpoint

    copy = shutil.copy(tiny_weights, tmp_path / "w.safetensors")
    card = json.loads(tiny_weights.with_suffix(".json").read_text())
    (tmp_path / "w.json").write_text(json.dumps(card | {"configuration": card["configuration"] | {"widths": []}}))
    with pytest.raises(DataError, match="cannot be made of it: list index out of range"):
        load_checkpoint(copy)


@pytest.mark.parametrize("name, content, told", [
    ("probes.json", json.dumps([PROBES[0] | {"sums": 1}]).encode(), "probes.json': expected the probes of a run's models"),
    ("environment.json", b'{"clips": {"number": "many"}}', "environment.json': expected the environment of a run"),
    ("rows.jsonl", rows.sealed(ROW | {"linf": "loud"}).encode() + rows.encode(ROW).encode(), "rows.jsonl': line 1 is broken or was changed"),
])
def test_a_run_of_a_stranger(name, content, told, tmp_path):
    (tmp_path / "input").write_bytes(content)
    with pytest.raises(SpeechAdvError, match=told):
        into_tables(name, bytes)(tmp_path / "input")
