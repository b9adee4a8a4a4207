"""A word hidden or inserted inside a long recording; nothing else in it changes."""
import json

import numpy as np
import pytest
import soundfile
import torch

from speechadv import audio
from speechadv.errors import SpeechAdvError
from speechadv.evaluation.inside import allowed_labels, central_windows, differences, overlapping_windows, place
from speechadv.evaluation.listening import Detection, Listening

RATE = 16000
LABELS = ("yes", "no", "stop", "go", "_silence_")


def test_the_second_and_what_lies_around():
    sound = np.arange(1, 10 * RATE + 1, dtype=np.float32)
    blocks = lambda: (sound[i : i + 7000] for i in range(0, len(sound), 7000))
    for at in (0, 0.3, 4.2, 8.5, 9.0):
        where = place(blocks(), at, RATE, "x")
        start = round(at * RATE)
        assert where.start == start and np.array_equal(where.span, sound[start : start + RATE])
        assert np.array_equal(where.before, sound[where.first : start]) and len(where.after) == RATE
        rest = sound[start + RATE : start + 2 * RATE]
        assert np.array_equal(where.after[: len(rest)], rest) and not where.after[len(rest) :].any()
    with pytest.raises(SpeechAdvError, match=r"--at 9.5: expected a second that lies inside x, which has 10.00 s"):
        place(blocks(), 9.5, RATE, "x")


@pytest.mark.parametrize("at", [0, 0.3, 3.0, 3.1])
def test_every_window_that_hears_the_second_is_looked_at(at):
    where = place([np.ones(8 * RATE, np.float32)], at, RATE, "x")
    found = {offset + where.first for offset in overlapping_windows(where, 4000, RATE)}
    assert found == {first for first in range(0, 8 * RATE, 4000) if first < at * RATE + RATE and first + RATE > at * RATE}
    assert sum(central_windows(sorted(offset - where.first for offset in found), where, Listening())) == 3


def test_what_windows_may_hear():
    insert = allowed_labels(["yes", "_silence_"], LABELS, "go", None, [False, True])
    assert [[LABELS[i] for i in row.nonzero().flatten()] for row in insert] == [["yes", "go", "_silence_"], ["go"]]
    hide = allowed_labels(["yes", "stop"], LABELS, None, "stop", [True, True])
    assert [[LABELS[i] for i in row.nonzero().flatten()] for row in hide] == [["yes", "_silence_"], ["_silence_"]]
    assert allowed_labels(["a"], ("a", "b", "c"), None, "a", [True]).tolist() == [[False, True, True]]  # without a filler


def test_what_is_new_and_what_is_lost():
    word = lambda name, start: Detection(name, start, start + 1, start + 0.5, 0.9)
    before, after = [word("yes", 2), word("stop", 5)], [word("yes", 2.25), word("go", 5), word("no", 5.5), word("go", 7)]
    found = differences(before, after, "go", "stop", (5, 6))
    assert [w.word for w in found["lost"]] == [] and [(w.word, w.start) for w in found["new"]] == [("no", 5.5), ("go", 7)]


@pytest.fixture
def long_file(speak, tmp_path):
    sound = np.random.default_rng(7).normal(0, 10**-3, 7 * RATE).astype(np.float32)
    sound[2 * RATE : 3 * RATE], sound[5 * RATE : 6 * RATE] = speak("yes", 0), speak("stop", 1)
    soundfile.write(tmp_path / "long.wav", audio.to_grid(sound), RATE)
    return tmp_path / "long.wav"


def test_a_word_is_inserted(long_file, run, tmp_path, tiny_weights):
    out = tmp_path / "out"
    command = ("attack", long_file, "--at", 3.6, "--target", "go", "--budget", "linf:0.01", "--steps", 60, "--model", tiny_weights, "--out", out)
    status, printed, err = run(*command, "--json")
    assert status == 0, err
    found = json.loads(printed)
    assert found == json.loads((out / "listening.json").read_text()) | {"file": found["file"], "out": found["out"]}
    assert found["reached"] and found["inserted"] == "go" and found["new_words"] == []
    assert {word["word"] for word in found["heard_after"]} >= {"yes", "go"}
    before, after = audio.read(long_file, RATE), audio.read(out / "long.adversarial.wav", RATE)
    changed = (after != before).nonzero()[0]
    assert len(before) == len(after) and changed.min() >= round(3.6 * RATE) and changed.max() < round(4.6 * RATE)
    assert np.abs(after - before).max() == pytest.approx(found["linf"]) and found["linf"] <= 0.01
    assert run("report", out)[0] == 0


def test_a_word_is_hidden(long_file, run, tmp_path, tiny_weights):
    out = tmp_path / "out"
    command = ("attack", long_file, "--at", 5, "--untargeted", "--budget", "snr:15", "--steps", 60, "--model", tiny_weights, "--out", out)
    status, printed, err = run(*command)
    assert status == 0 and "'stop' hidden" in printed and "no new word elsewhere" in printed, (printed, err)
    after, before = (torch.from_numpy(audio.read(path, RATE))[5 * RATE : 6 * RATE] for path in (out / "long.adversarial.wav", long_file))
    assert audio.snr_db(before[None], (after - before)[None]).item() >= 15  # over the changed second, not the whole recording
    assert run(*command, "--quiet")[0] == 0  # the very same command makes it again
    assert "another one" in run(*command[:3], 2, *command[4:])[2]


@pytest.mark.parametrize(("options", "message"), [
    (("--at", 0, "--untargeted"), "no word is heard in"), (("--at", 6.5, "--target", "go"), "expected a second that lies inside"), (("--at", -1, "--target", "go"), "seconds from 0 on"),
    (("--at", "nan", "--target", "go"), "seconds from 0 on"), (("--at", 1, "--target", "gone"), "did you mean 'go'"),
])
def test_what_cannot_be_done(options, message, long_file, run, tmp_path, tiny_weights):
    status, printed, err = run("attack", long_file, *options, "--budget", "snr:30", "--model", tiny_weights, "--out", tmp_path / "out")
    assert status == 2 and message in err and len(err.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_several_files_are_refused(long_file, run, tmp_path, tiny_weights):
    status, printed, err = run("attack", long_file, long_file, "--at", 1, "--target", "go", "--budget", "snr:30", "--model", tiny_weights, "--out", tmp_path / "out")
    assert status == 2 and "expected one FILE" in err
