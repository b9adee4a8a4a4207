"""The re-scorer: an honest run is the same; whatever is tampered with is named."""
import csv
import io
import json

import numpy as np
import pytest
import soundfile
import torch

from speechadv.evaluation import rows as row_files
from speechadv.evaluation.statistics import wilson
from speechadv.evaluation.verify import counts, sounds, verify

TOLD = {"rows", "scored", "same", "differences", "unchecked"}


def changed_row(run, number, **changes):
    """Change a row and give it a valid checksum."""
    rows, _ = row_files.read(run / "rows.jsonl")
    rows[number] = rows[number] | changes
    row_files.rewrite(run / "rows.jsonl", rows)
    return rows[number]


def changed_sound(path, change):
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, change(samples.copy()), rate, subtype="PCM_16")


@pytest.fixture
def tables_alone(monkeypatch):
    """Without judging the sound, which takes most of the time."""
    monkeypatch.setattr("speechadv.evaluation.verify.Scorer.check", lambda self, rows, bar: None)


def shifted(samples, steps=1, at=8000):
    samples[at] += steps
    return samples


def test_an_honest_run_is_the_same(finished, run):
    status, out, err = run("verify", finished)
    assert status == 0 and "30 rows, the sound of 30 judged: all the same" in out and err == ""
    status, out, _ = run("verify", finished, "--json")
    assert status == 0 and json.loads(out) == {"same": True, "rows": 30, "scored": 30, "differences": [], "unchecked": []}


def test_nothing_is_changed(copied, files):
    before = files(copied)
    verify(copied)
    assert files(copied) == before


@pytest.mark.parametrize("column, told", [("clean_audio", "linf: "), ("adversarial_audio", "snr_db: "), ("perturbation_audio", "is not the change"),
                                          ("defended_audio", "is not what bandpass:200-3000 makes")])
def test_a_tampered_sound_is_caught(column, told, copied, run):
    row = next(row for row in row_files.read(copied / "rows.jsonl")[0] if row[column] and row["linf"])
    samples = soundfile.read(copied / row["clean_audio"], dtype="int16")[0].astype(int)
    change = soundfile.read(copied / row["adversarial_audio"], dtype="int16")[0].astype(int) - samples
    at = int(np.abs(change).argmax())
    away = -3 if change[at] > 0 else 3  # of a clean clip: the largest change becomes larger, while many others may be as large as it was
    changed_sound(copied / row[column], lambda clip: shifted(clip, away, at))
    status, out, _ = run("verify", copied)
    assert status == 1 and told in out and "differences" in out.splitlines()[-1] or "1 difference" in out


def test_another_label_in_all_rows_of_a_clip_is_caught(copied):
    rows, _ = row_files.read(copied / "rows.jsonl")
    row_files.rewrite(copied / "rows.jsonl", [row | {"label": "go"} if row["clip"] == rows[0]["clip"] else row for row in rows])
    assert any("clean clips or their labels are others" in line for line in verify(copied).differences)


def test_one_step_in_a_clean_clip_is_caught_by_the_begin_of_the_run(copied):
    row = next(row for row in row_files.read(copied / "rows.jsonl")[0])
    changed_sound(copied / row["clean_audio"], shifted)
    assert any("clean clips or their labels are others" in line for line in verify(copied).differences)


@pytest.mark.parametrize("changes, told", [
    ({"linf": 0.001}, "linf: the files say"), ({"snr_db": 99.0}, "snr_db: the files say"), ({"masking_excess_db": -30.0}, "masking_excess_db: the files say"),
    ({"clean_prediction": "go"}, "clean_prediction: the model hears"), ({"adversarial_prediction": "_silence_"}, "adversarial_prediction: the model hears"),
    ({"clean_probabilities": {"yes": 0.5, "no": 0.5}}, "clean_probabilities: "), ({"label": "go"}, "of the same clip says"), ({"clip": "yes/nobody_nohash_0.wav"}, "the run was begun with 5"), ({"target": "yes"}, "target: the config says"), ({"adaptive": False}, "adaptive: the config says"),
    ({"budget": "linf:0.001"}, "the config has no cell"), ({"perturbation_gain_db": 1}, "is not the change 1 dB louder"),
    ({"linf": None}, "a value is of another kind"), ({"adversarial_audio": "audio/none.wav"}, "'audio/none.wav': no such file"),
    ({"adversarial_audio": "../../outside.wav"}, "lies outside of the run")])
def test_a_tampered_row_with_a_valid_checksum_is_caught(changes, told, copied, run):
    changed_row(copied, 3, **changes)
    status, out, _ = run("verify", copied)
    assert status == 1 and told in out


def test_a_claim_that_the_file_does_not_keep_is_caught(copied):
    row = row_files.read(copied / "rows.jsonl")[0][7]
    changed_row(copied, 7, reached=not row["reached"])
    assert any(line.startswith("rows.jsonl:8: reached:") for line in verify(copied).differences)


def test_a_change_beyond_the_budget_is_caught_in_file_and_row(copied):
    row = next(row for row in row_files.read(copied / "rows.jsonl")[0] if row["defense"] == "none" and row["linf"])
    changed_sound(copied / row["adversarial_audio"], lambda clip: shifted(clip, 500))
    assert any("breaks its budget: linf:0.005 allows 163 LSB" in line for line in verify(copied).differences)


def test_a_changed_byte_and_a_second_row_are_caught(copied):
    lines = (copied / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (copied / "rows.jsonl").write_bytes(b"".join([lines[0].replace(b'"seed": 0', b'"seed": 1'), *lines[1:], lines[2]]))
    found = verify(copied).differences
    assert any(line.startswith("rows.jsonl:1: broken") for line in found) and any("the same cell and clip as line 3" in line for line in found)


def csv_with(run, column, value):
    table = list(csv.DictReader(io.StringIO((run / "table.csv").read_text())))
    table[0][column] = value
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, table[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    (run / "table.csv").write_text(buffer.getvalue())


@pytest.mark.parametrize("column, value", [("clips", "6"), ("clips_right", "1"), ("clean_accuracy", "0.99"), ("robust_accuracy_low", "0.3"), ("targeted_success", "0.01"),
                                           ("snr_db_median", ""), ("linf_median", "0.1"), ("passes_mean", "x"), ("queries_mean", "7.5"), ("model", "other"), ("adaptive", "false")])
def test_a_tampered_csv_is_caught(column, value, copied, run, tables_alone):
    csv_with(copied, column, value)
    status, out, _ = run("verify", copied)
    assert status == 1 and out.startswith("table.csv: ")


@pytest.mark.parametrize("change", [lambda r: r["cells"][0].update(clean_accuracy=0.5), lambda r: r["cells"].pop(), lambda r: r["flags"].append({}),
                                    lambda r: r["classes"][0]["labels"][0].update(clips=99), lambda r: r.update(rows=1), lambda r: r.update(goal="untargeted"),
                                    lambda r: r["cells"].append(r["cells"][0]), lambda r: r.pop("cells")])
def test_a_tampered_result_is_caught(change, copied, tables_alone):
    result = json.loads((copied / "result.json").read_text())
    change(result)
    (copied / "result.json").write_text(json.dumps(result))
    found = verify(copied).differences
    assert found and all(line.startswith("result.json: ") for line in found)


def test_a_tampered_table_for_people_is_caught(copied, tables_alone):
    text = (copied / "table.md").read_text()
    first = next(line for line in text.splitlines() if "| none | pgd |" in line)
    for other in (first.replace("| 5 |", "| 6 |", 1), first.replace("| none |", "| mp3:32 |"), first + "\n" + first, ""):
        (copied / "table.md").write_text(text.replace(first, other))
        assert any(line.startswith("table.md: ") for line in verify(copied).differences), other
    text = (copied / "table.tex").read_text()
    first = next(line for line in text.splitlines() if "& none & pgd &" in line)
    for other in (first.replace("& 5 &", "& 6 &", 1), first.replace("& none &", "& mp3:32 &"), first + "\n" + first, ""):
        (copied / "table.tex").write_text(text.replace(first, other))
        assert any(line.startswith("table.tex: ") for line in verify(copied).differences), other
    (copied / "table.md").unlink()
    assert any("table.md: is not there" in line for line in verify(copied).differences)


def test_other_weights_are_caught(copied):
    about = json.loads((copied / "environment.json").read_text())
    about["models"] = dict.fromkeys(about["models"], "0" * 64)
    (copied / "environment.json").write_text(json.dumps(about))
    assert any("has other weights now" in line for line in verify(copied).differences)


def test_what_cannot_be_judged_is_said(settings, tmp_path, no_page, run):
    from speechadv.evaluation.run import evaluate

    evaluate(settings(audio="sample:2", goal="untargeted", quality=["segmental_snr_db"]), tmp_path / "some")
    status, out, err = run("verify", tmp_path / "some")
    assert status == 0 and "the sound of 12 judged: all the same" in out and "the sound of 18 rows was not kept" in err
    rows = (tmp_path / "some" / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "some" / "rows.jsonl").write_bytes(b"".join(rows[:-5]))
    run("report", tmp_path / "some")
    status, out, err = run("verify", tmp_path / "some")
    assert status == 0 and "the run is not finished: 25 of 30 rows are there" in err
    row = next(i for i, row in enumerate(row_files.read(tmp_path / "some" / "rows.jsonl")[0]) if row["clean_audio"])
    changed_row(tmp_path / "some", row, segmental_snr_db=1.0)
    assert any("segmental_snr_db: the files say" in line for line in verify(tmp_path / "some").differences)


def test_a_folder_of_attack(write_clip, tmp_path, run, tiny_weights):
    files = [write_clip(tmp_path / f"{word}.wav", word) for word in ("yes", "no")]
    status, _, err = run("attack", *files, "--target", "stop", "--budget", "snr:20", "--steps", "3", "--defense", "bandpass:100-4000", "--model", tiny_weights,
                         "--out", tmp_path / "out")
    assert status == 0, err
    assert run("report", tmp_path / "out")[0] == 0
    status, out, err = run("verify", tmp_path / "out")
    assert status == 0, out
    changed_sound(tmp_path / "out" / "yes.adversarial.wav", shifted)
    status, out, _ = run("verify", tmp_path / "out")
    assert status == 1 and "rows.jsonl:1: snr_db" in out


def test_what_is_no_run(tmp_path, run, copied):
    (copied / "rows.jsonl").unlink()
    for folder in (tmp_path / "missing", tmp_path, copied):
        status, out, err = run("verify", folder)
        assert status == 2 and out == "" and err.count("\n") == 1 and "expected the folder of a run" in err


def test_its_numbers_are_those_of_the_package_by_another_way(speak):
    from speechadv import audio
    from speechadv.budgets.masking import Masking
    from speechadv.masking import MaskingModel

    clean = np.stack([speak("yes"), speak("no", 1)])
    change = audio.to_grid(np.random.default_rng(0).normal(0, 0.001, clean.shape).astype(np.float32))
    loud = audio.to_grid(clean + change)
    excess = Masking().distance(torch.from_numpy(clean), torch.from_numpy(loud)).tolist()
    for a, b, expected in zip(*(np.rint(part * 32768).astype(np.int64) for part in (clean, loud)), excess):
        assert sounds.excess_db(a, b, sounds.threshold_db(a, MaskingModel())) == pytest.approx(expected, abs=0.01)
    assert sounds.snr_db(np.zeros(9, np.int64), np.ones(9, np.int64)) is None and sounds.linf(np.zeros(9, np.int64), np.full(9, -32768)) == 1.0
    for trials in (1, 2, 7, 960):
        for successes in {0, 1, trials // 2, trials}:
            share = counts.share("x", successes, trials)
            assert (share["x_low"], share["x_high"]) == pytest.approx(wilson(successes, trials), abs=1e-12)


@pytest.mark.parametrize("content, told", [(b"RIFF", "it ends early"), (b"hello, this is text", "expected a WAV file"), (b"", "expected a WAV file")])
def test_a_file_that_is_no_wav(content, told, copied):
    row = row_files.read(copied / "rows.jsonl")[0][0]
    (copied / row["adversarial_audio"]).write_bytes(content)
    assert any(told in line for line in verify(copied).differences)
    soundfile.write(copied / row["adversarial_audio"], np.zeros((9, 2)), 16000)
    assert any("expected 16 bit and one channel" in line for line in verify(copied).differences)
    soundfile.write(copied / row["adversarial_audio"], np.zeros(9), 16000)
    assert any("differ in length" in line for line in verify(copied).differences)
