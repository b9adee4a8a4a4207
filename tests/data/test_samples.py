"""The bundled clips are what the manifest, the notice and issue 2 say, and the API works without torch and from a wheel's files."""
import dataclasses
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import soundfile

from speechadv.data import samples
from speechadv.errors import ConfigError, DataError

LABELS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "_unknown_", "_silence_")


def test_twelve_labels_with_eight_clips_each_from_many_synthetic_voices():
    clips = samples.bundled_clips()
    assert samples.bundled_labels() == LABELS
    assert min(Counter(clip.label for clip in clips).values()) >= 8
    spoken = [clip for clip in clips if clip.engine != "noise"]
    assert len({clip.voice for clip in spoken}) >= 6
    assert len({clip.engine for clip in spoken}) >= 2
    assert len({clip.name for clip in clips}) == len(clips)
    assert samples.manifest()["held_out"] is True and samples.manifest()["synthetic"] is True


def test_each_spoken_clip_was_understood_by_the_recogniser_and_no_noise_was():
    for clip in samples.bundled_clips():
        assert clip.heard == clip.text, clip.name
        assert clip.text == ("" if clip.label == "_silence_" else clip.name.split("/")[0])
        assert clip.label in (clip.text, "_unknown_", "_silence_")
        assert clip.text not in LABELS or clip.text == clip.label
    for entry in samples.manifest()["clips"]:
        assert entry["engine"] == "noise" or entry["heard_disturbed"].count(entry["text"]) >= 2, entry["name"]


def test_files_are_16_khz_mono_16_bit_flac_of_at_most_a_second_and_2_mb_in_all():
    clips = samples.bundled_clips()
    for clip in clips:
        info = soundfile.info(clip.path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", 16000, 1), clip.name
        assert 0 < info.frames <= samples.LENGTH
    assert sum(file.stat().st_size for file in samples.bundled_folder().rglob("*") if file.is_file()) <= 2_000_000
    assert set(samples.bundled_folder().rglob("*.flac")) == {clip.path for clip in clips}


def test_load_gives_samples_on_the_16_bit_grid_at_levels_like_recordings():
    waveforms, labels, names = samples.load_bundled()
    assert waveforms.shape == (len(samples.bundled_clips()), 16000) and waveforms.dtype == np.float32
    assert np.array_equal(waveforms * 32768, np.rint(waveforms * 32768))
    assert waveforms.min() >= -1 and waveforms.max() <= 1 - 2**-15
    peaks = np.abs(waveforms).max(axis=1)
    spoken = np.array([label != "_silence_" for label in labels])
    assert peaks[spoken].min() > 0.1 and peaks.max() < 0.7
    assert peaks[~spoken].min() > 0  # made noise, not digital silence
    entry = samples.manifest()["clips"][3]
    assert names[3] == entry["name"] and peaks[3] == pytest.approx(entry["peak"], abs=1e-4)


def test_a_choice_of_labels_keeps_the_order_of_the_manifest():
    waveforms, labels, names = samples.load_bundled(["go", "yes"])
    assert list(dict.fromkeys(labels)) == ["yes", "go"] and len(waveforms) == len(names)


def test_an_unknown_label_is_an_error_that_names_the_nearest():
    with pytest.raises(ConfigError, match="'stpo'.*did you mean 'stop'"):
        samples.bundled_clips(["yes", "stpo"])


def test_a_damaged_or_missing_file_is_an_error_that_names_the_clip(tmp_path):
    clip = samples.bundled_clips(["no"])[0]
    other = tmp_path / "other.flac"
    other.write_bytes(b"fLaC")
    with pytest.raises(DataError, match=f"{clip.name}.*SHA-256"):
        samples._read(dataclasses.replace(clip, path=other))
    with pytest.raises(DataError, match=f"{clip.name}.*missing"):
        samples._read(dataclasses.replace(clip, path=tmp_path / "none.flac"))


def test_the_notice_lies_beside_the_clips_and_says_that_the_voices_are_synthetic():
    notice = (samples.bundled_folder() / "NOTICE.md").read_text(encoding="utf-8")
    assert "Every voice in this folder is synthetic" in notice
    for engine in {clip.engine for clip in samples.bundled_clips()} - {"noise"}:
        assert engine in notice.lower()


def test_no_torch_is_imported():
    code = "import sys; from speechadv.data import samples; samples.load_bundled(['yes']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
