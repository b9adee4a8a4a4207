"""`speechadv attack` where the clips are made on something else than what hears them, or by an attack that learns first."""
import json
import shutil

import soundfile

from speechadv.evaluation.rows import read


def made(run, out, file, weights, *words):
    status, printed, err = run("attack", file, "--budget", "snr:8", "--model", weights, "--out", out, "--json", *words)
    assert status == 0, err
    rows, _ = read(out / "rows.jsonl")
    return json.loads(printed), rows


def test_clips_are_carried_over(run, write_clip, tiny_weights, tmp_path):
    file, sources = write_clip(tmp_path / "yes.wav"), [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for source in sources:
        shutil.copy(tiny_weights, source), shutil.copy(tiny_weights.with_suffix(".json"), source.with_suffix(".json"))
    document, rows = made(run, tmp_path / "out", file, tiny_weights, "--target", "stop", "--attack", "mifgsm", "--steps", 5, "--source", sources[0], "--source", sources[1])
    assert document[0]["reached"] and rows[0]["threat"] == "transfer" and not rows[0]["adaptive"] and rows[0]["passes"] == 10
    assert run("report", tmp_path / "out")[0] == 0


def test_through_the_air(run, write_clip, tiny_weights, tmp_path):
    words = ("--target", "stop", "--attack", "over_the_air", "--steps", 4, "--set", "rooms=0-1", "--defense", "air:1000-1001")
    file = write_clip(tmp_path / "yes.wav")
    pairs = [made(run, tmp_path / name, file, tiny_weights, *words) for name in ("first", "second")]
    assert pairs[0][1] == pairs[1][1] and pairs[0][1][0]["threat"] == "oblivious" and not pairs[0][1][0]["adaptive"]
    here, there = (soundfile.read(tmp_path / name / "yes.defended.wav")[0] for name in ("first", "second"))
    assert (here == there).all()


def test_what_was_learned_is_kept_and_applied_again(run, write_clip, tiny_weights, data_root, tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHADV_DATA", str(data_root))
    file = write_clip(tmp_path / "yes.wav")
    words = ("--untargeted", "--attack", "universal", "--steps", 3, "--set", "clips=6")
    _, rows = made(run, tmp_path / "out", file, tiny_weights, *words)
    waveform = soundfile.read(tmp_path / "out" / "universal.wav")[0]
    assert len(waveform) == 16000 and waveform.any() and rows[0]["passes"] == 0
    _, rows = made(run, tmp_path / "again", file, tiny_weights, "--untargeted", "--attack", "universal", "--set", f"perturbation={tmp_path / 'out' / 'universal.wav'}")
    assert rows[0]["linf"] > 0 and not (tmp_path / "again" / "universal.wav").exists()
