"""`speechadv defend`: what it writes, and what it refuses without writing."""
import json
import os

import numpy as np
import pytest
import soundfile
import torch

from speechadv.cli import main
from speechadv.defenses import parse_defense

FOR_REPORT = ["clean", "defended.jsonl", "environment.json"]  # beside the files: what `speechadv report` reads


def tone(path, seconds=0.5, rate=16000, channels=1, frequency=440):
    samples = np.round(8000 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([samples] * channels, 1), rate, format="WAV", subtype="PCM_16")
    return samples


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as leaving:
        main([str(argument) for argument in arguments])
    return leaving.value.code, *capsys.readouterr()


def refused(capsys, out, *arguments):
    status, stdout, stderr = run(capsys, *arguments, "--out", out)
    assert status == 2 and stdout == "" and len(stderr.strip().splitlines()) == 1, (status, stdout, stderr)
    assert not out.exists()
    return stderr


def test_it_saves_what_the_network_would_hear(tmp_path, capsys):
    samples = tone(tmp_path / "yes.wav")
    status, stdout, stderr = run(capsys, "defend", tmp_path / "yes.wav", "--defense", "bandpass:100-4000+mp3:32", "--out", tmp_path / "new" / "out")
    assert status == 0 and stderr.startswith("next:\n") and "yes.wav" in stdout
    saved, rate = soundfile.read(tmp_path / "new" / "out" / "yes.wav", dtype="float32")
    heard = torch.from_numpy(samples.astype(np.float32) / 32768)[None]
    for defense in parse_defense("bandpass:100-4000+mp3:32"):
        heard = defense(heard)
    assert rate == 16000 and np.array_equal(saved, heard[0].numpy())
    assert soundfile.info(tmp_path / "new" / "out" / "yes.wav").subtype == "PCM_16"
    assert sorted(os.listdir(tmp_path / "new" / "out")) == [*FOR_REPORT, "yes.wav"]
    assert np.array_equal(soundfile.read(tmp_path / "new" / "out" / "clean" / "yes.wav", dtype="int16")[0], samples)


def test_json_and_two_of_one_stem(tmp_path, capsys):
    tone(tmp_path / "a" / "yes.wav", frequency=300)
    tone(tmp_path / "b" / "yes.wav", frequency=900)
    files = [tmp_path / "a" / "yes.wav", tmp_path / "b" / "yes.wav"]
    status, stdout, stderr = run(capsys, "defend", *files, "--defense", "mp3:16", "--out", tmp_path / "out", "--json")
    rows = json.loads(stdout)
    assert (status, stderr) == (0, "")
    assert [row["file"] for row in rows] == [str(file) for file in files]
    assert [row["out"] for row in rows] == [str(tmp_path / "out" / name) for name in ("yes.wav", "yes-2.wav")]
    assert all(row["defense"] == "mp3:16" and row["seconds"] == 0.5 and row["snr_db"] > 3 for row in rows)
    assert not np.array_equal(*(soundfile.read(row["out"])[0] for row in rows))


def test_stereo_at_another_rate_comes_with_notices_that_quiet_takes_away(tmp_path, capsys):
    tone(tmp_path / "yes.wav", rate=44100, channels=2)
    arguments = ("defend", tmp_path / "yes.wav", "--defense", "none")
    status, _, stderr = run(capsys, *arguments, "--out", tmp_path / "out")
    assert status == 0 and "44100" in stderr and "mixed down" in stderr
    saved, rate = soundfile.read(tmp_path / "out" / "yes.wav")
    assert saved.shape == (8000,) and rate == 16000
    assert run(capsys, *arguments, "--out", tmp_path / "quiet", "--quiet")[2] == ""


def test_silence_has_no_level(tmp_path, capsys):
    soundfile.write(tmp_path / "quiet.wav", np.zeros(8000), 16000, subtype="PCM_16")
    status, stdout, stderr = run(capsys, "defend", tmp_path / "quiet.wav", "--defense", "bandpass:100-4000", "--out", tmp_path / "out", "--json")
    assert status == 0 and json.loads(stdout)[0]["snr_db"] is None and "zero" in stderr


def test_odd_names(tmp_path, capsys):
    names = ["it's \"odd\".wav", "line\nbreak.wav", "x" * 250 + ".wav"]
    for name in names:
        tone(tmp_path / name)
    status, stdout, stderr = run(capsys, "defend", "--defense", "mp3:32", "--out", tmp_path / "out", "--", *(tmp_path / name for name in names))
    assert status == 0 and stderr.startswith("next:\n") and len(stdout.splitlines()) == 3
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*names, *FOR_REPORT])


def test_a_leading_dash(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tone(tmp_path / "-yes.wav")
    status, _, stderr = run(capsys, "defend", "--defense", "mp3:32", "--out", "out", "--", "-yes.wav")
    assert status == 0 and stderr.startswith("next:\n") and sorted(os.listdir("out")) == ["-yes.wav", *FOR_REPORT]


@pytest.mark.parametrize("spec, message", [("mp3:33", "kbit/s"), ("mp4:32", "did you mean 'mp3'"), ("bandpass:9-8", "LO < HI"), ("", "NAME:ARGUMENT")])
def test_wrong_defense(tmp_path, capsys, spec, message):
    tone(tmp_path / "yes.wav")
    assert message in refused(capsys, tmp_path / "out", "defend", tmp_path / "yes.wav", "--defense", spec)


def test_one_bad_file_among_good_ones(tmp_path, capsys):
    tone(tmp_path / "yes.wav")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound")
    for bad in ("empty.wav", "text.wav", "missing.wav"):
        assert bad in refused(capsys, tmp_path / "out", "defend", tmp_path / "yes.wav", tmp_path / bad, "--defense", "mp3:32")


def test_an_output_folder_with_files_is_left_alone(tmp_path, capsys):
    tone(tmp_path / "in" / "yes.wav")
    before = (tmp_path / "in" / "yes.wav").read_bytes()
    status, _, stderr = run(capsys, "defend", tmp_path / "in" / "yes.wav", "--defense", "mp3:32", "--out", tmp_path / "in")
    assert status == 2 and "empty or new folder" in stderr
    assert (tmp_path / "in" / "yes.wav").read_bytes() == before and os.listdir(tmp_path / "in") == ["yes.wav"]


def test_the_same_command_again(tmp_path, capsys):
    tone(tmp_path / "yes.wav")
    for spec, status in (("mp3:32", 0), ("mp3:32", 0), ("mp3:16", 2)):
        assert run(capsys, "defend", tmp_path / "yes.wav", "--defense", spec, "--out", tmp_path / "out")[0] == status


def test_help_has_an_example(capsys):
    status, stdout, _ = run(capsys, "defend", "--help")
    assert status == 0 and "Example: speechadv defend" in stdout
