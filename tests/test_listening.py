"""Long recordings: words at their times, in bounded memory."""
import csv
import json
import tracemalloc

import numpy as np
import pytest
import soundfile

from speechadv import audio
from speechadv.errors import SpeechAdvError
from speechadv.evaluation.listening import Listening, detections, windows

RATE = 16000
NOISE = np.random.default_rng(7)


def quiet(seconds):
    """Noise that the small network hears as `_silence_`."""
    return NOISE.normal(0, 10**-3, round(seconds * RATE)).astype(np.float32)


@pytest.fixture
def recording(speak):
    """`recording([("yes", 2.0), ...], 6.0)`: words that begin at these seconds, in quiet noise."""

    def made(words, seconds):
        sound = quiet(seconds)
        for number, (word, at) in enumerate(words):
            start = round(at * RATE)
            sound[start : start + RATE] = speak(word, number)
        return audio.to_grid(sound)

    return made


def test_windows_cover_every_sample():
    sound = np.arange(1, 1001, dtype=np.float32)
    for block in (7, 100, 1000):
        blocks = [sound[i : i + block] for i in range(0, 1000, block)]
        found = list(windows(blocks, 300, 90))
        assert [start for start, _ in found] == list(range(0, 811, 90))[: len(found)]
        assert set(np.concatenate([window for _, window in found])) - {0} == set(sound)
        assert all(np.array_equal(window[: 1000 - start], sound[start : start + 300]) and len(window) == 300 for start, window in found)
    assert [start for start, _ in windows([sound[:50]], 300, 90)] == [0] and not list(windows([], 300, 90))
    assert [start for start, _ in windows([sound[:480]], 300, 90)] == [0, 90, 180]


def test_words_are_found_where_they_are(tiny, recording):
    found = list(detections(tiny, [recording([("yes", 2.0), ("stop", 5.0)], 8.0)], Listening()))
    assert [word.word for word in found] == ["yes", "stop"], found
    assert all(abs(word.time - expected) < 0.6 for word, expected in zip(found, (2.5, 5.5)))
    assert all(word.start <= word.time <= word.end and word.score >= 0.6 for word in found)


def test_a_threshold_of_one_hears_nothing_more(tiny, recording):
    sound = [recording([("yes", 1.0)], 3.0)]
    assert len(list(detections(tiny, sound, Listening(threshold=1.0)))) <= len(list(detections(tiny, sound, Listening(threshold=0.1))))


@pytest.mark.parametrize("keys", [{"hop": 0}, {"hop": 2.0}, {"hop": float("nan")}, {"smooth": 0}, {"threshold": 0}, {"threshold": 1.5}])
def test_settings_out_of_range(keys):
    with pytest.raises(SpeechAdvError, match=f"--{next(iter(keys))}: expected"):
        Listening(**keys)


@pytest.mark.parametrize(("rate", "channels", "subtype"), [(16000, 1, "PCM_16"), (44100, 2, "FLOAT"), (8000, 1, "PCM_24")])
def test_a_stream_is_what_read_reads(rate, channels, subtype, tmp_path):
    sound = NOISE.normal(0, 0.3, (5 * rate, channels))
    soundfile.write(tmp_path / "a.wav", sound, rate, subtype=subtype)
    streamed_notices, read_notices = [], []
    streamed = np.concatenate(list(audio.stream(tmp_path / "a.wav", RATE, streamed_notices.append)))
    whole = audio.read(tmp_path / "a.wav", RATE, notice=read_notices.append)
    assert abs(len(streamed) - len(whole)) <= 1
    assert np.abs(streamed[: len(whole)] - whole[: len(streamed)]).max() <= 2**-14
    assert {line.split(",")[0].split(" samples")[-1] for line in streamed_notices} >= {line.split(",")[0].split(" samples")[-1] for line in read_notices}


def test_memory_does_not_grow_with_the_recording(tmp_path, tiny):
    """Two recordings, one ten times as long."""
    peaks = []
    for minutes in (0.5, 5):
        soundfile.write(tmp_path / "long.wav", np.zeros(round(minutes * 60 * RATE), np.int16), RATE)
        tracemalloc.start()
        assert sum(1 for _ in windows(audio.stream(tmp_path / "long.wav", RATE), RATE, RATE // 4)) > 60 * minutes
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 4e6


def test_the_command(run, recording, tmp_path, tiny_weights):
    file, out = tmp_path / "long.wav", tmp_path / "words.csv"
    soundfile.write(file, recording([("yes", 2.0)], 5.0), RATE)
    command = ("listen", file, "--model", tiny_weights)
    status, printed, err = run(*command, "--out", out)
    assert status == 0 and "yes" in printed, err
    with open(out) as table:
        words = list(csv.DictReader(table))
    status, printed, err = run(*command, "--json", "--defense", "bandpass:20-7900")
    found = json.loads(printed)
    assert found["seconds"] == 5 and {"start", "end", "time", "word", "score"} == set(words[0]) == set(found["words"][0])
    assert any(word["word"] == "yes" and abs(float(word["time"]) - 2.5) < 0.6 for word in words)
    status, printed, err = run(*command, "--threshold", 1)
    assert status == 0 and printed == "no word heard\n"
