"""The command line: quick help with examples, and `speechadv attack` on anyone's files."""
import importlib
import json
import os
import resource
import subprocess
import sys

import click
import numpy as np
import pytest
import soundfile
import torch

from speechadv.audio import read, snr_db
from speechadv.budgets import parse_budget
from speechadv.cli import COMMANDS
from speechadv.cli.common import unique_stems
from speechadv.evaluation.rows import read_finished

KEYS = ["file", "heard_before", "heard_after", "target", "reached", "linf", "snr_db", "masking_excess_db", "out"]


def started(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "speechadv", *arguments], capture_output=True, text=True, timeout=240, **options)


def subcommands():
    for name in COMMANDS:
        command = importlib.import_module(f"speechadv.cli.{name.replace('-', '_')}").command
        yield (name,)
        yield from ((name, sub) for sub in getattr(command, "commands", {}))


@pytest.mark.parametrize("words", subcommands(), ids=" ".join)
def test_every_help_shows_an_example(words, run):
    status, out, err = run(*words, "--help")
    assert (status, err) == (0, "")
    assert f"speechadv {words[0]}" in out.split("Example", 1)[1]


def test_the_help_of_all(run):
    status, out, _ = run("--help")
    assert status == 0 and all(name in out for name in COMMANDS) and "speechadv demo --out" in out
    assert run("-h")[1] == out
    status, bare, err = run()
    assert status == 2 and "Commands" in bare and err == ""
    status, out, err = run("data")
    assert status == 2 and "download" in out and err == ""


def test_help_answers_in_a_third_of_a_second():
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert started("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)  # what it takes, however busy the machine is
    assert min(spent) < 0.3, spent


def test_nobody_reads_to_the_end():
    process = subprocess.Popen([sys.executable, "-m", "speechadv", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert "Traceback" not in process.stderr.read() and process.wait(60) in (0, 1, 2)


def attack(run, files, out, *options, weights):
    status, printed, err = run("attack", *files, "--out", out, "--model", weights, "--json", *options)
    assert status == 0, err
    return json.loads(printed), err


def test_attack_reports_what_the_files_hold(run, tiny, tiny_weights, write_clip, tmp_path):
    files = [write_clip(tmp_path / "in" / "yes.wav", "yes"), write_clip(tmp_path / "in" / "go.wav", "go", seed=1)]
    rows, err = attack(run, files, tmp_path / "new" / "out", "--target", "stop", "--budget", "snr:25", weights=tiny_weights)
    assert err == "" and [list(row) for row in rows] == [KEYS, KEYS]
    for file, row in zip(files, rows):
        clean, adversarial = (torch.from_numpy(read(path)) for path in (file, row["out"]))
        with torch.no_grad():
            before, after = tiny(torch.stack([clean, adversarial])).argmax(1).tolist()
        assert row["file"] == str(file) and row["out"] == str(tmp_path / "new" / "out" / f"{file.stem}.adversarial.wav")
        assert (row["heard_before"], row["heard_after"]) == (tiny.labels[before], tiny.labels[after]) and row["target"] == "stop"
        assert row["reached"] == (row["heard_after"] == "stop") and row["heard_before"] == file.stem
        assert row["linf"] == (adversarial - clean).abs().max() and row["snr_db"] == pytest.approx(float(snr_db(clean, adversarial - clean)))
        assert row["snr_db"] >= 25 and parse_budget("snr:25").satisfied(clean[None], adversarial[None]).all()
        assert soundfile.info(row["out"]).subtype == "PCM_16" and np.array_equal(read(file.parent.parent / "new/out" / f"{file.stem}.clean.wav"), clean)
    assert all(row["reached"] for row in rows)


def test_attack_in_words(run, tiny_weights, write_clip, tmp_path):
    file = write_clip(tmp_path / "yes.wav", "yes")
    status, out, err = run("attack", file, "--untargeted", "--budget", "masking", "--budget", "linf:0.02", "--out", tmp_path / "out", "--model", tiny_weights)
    assert status == 0 and err.splitlines()[0] == "next:" and f"speechadv report {tmp_path / 'out'}" in err
    assert "heard as 'yes' before" in out and " dB, L-infinity " in out and " LSB, " in out and " dBFS)" in out and "masking threshold" in out
    assert "within masking+linf:0.02" in out and "yes.perturbation.wav" in out and "dB louder" in out


def test_what_was_added_is_amplified_by_what_is_said(run, tiny_weights, write_clip, tmp_path):
    file = write_clip(tmp_path / "yes.wav", "yes")
    attack(run, [file], tmp_path / "out", "--target", "stop", "--budget", "snr:20", weights=tiny_weights)
    (row,) = read_finished(tmp_path / "out" / "rows.jsonl")
    clean, adversarial, louder = (read(tmp_path / "out" / row[f"{kind}_audio"]) for kind in ("clean", "adversarial", "perturbation"))
    gain = 10 ** (row["perturbation_gain_db"] / 20)
    assert gain > 2 and np.abs(louder - gain * (adversarial - clean)).max() <= 2**-15 and 0.4 < np.abs(louder).max() <= 0.5


def test_attack_behind_a_defense(run, tiny, tiny_weights, write_clip, tmp_path):
    from speechadv.defenses import parse_defense

    file = write_clip(tmp_path / "yes.wav", "yes")
    (row,), _ = attack(run, [file], tmp_path / "out", "--target", "stop", "--budget", "snr:15", "--defense", "bandpass:100-4000", weights=tiny_weights)
    behind = parse_defense("bandpass:100-4000")[0](torch.from_numpy(read(row["out"]))[None])
    with torch.no_grad():
        assert tiny.labels[tiny(behind).argmax(1)] == row["heard_after"] == "stop"
    assert np.array_equal(read(tmp_path / "out" / "yes.defended.wav"), behind[0].numpy())


def test_the_same_seed_gives_the_same_files(run, tiny_weights, write_clip, tmp_path):
    files = [write_clip(tmp_path / f"{word}.wav", word) for word in ("yes", "no", "go")]
    options = ("--target", "stop", "--budget", "linf:0.004", "--steps", 5)
    for out, chosen, seed in (("a", files, 0), ("b", files, 0), ("c", files[1:], 0), ("d", files, 1)):
        attack(run, chosen, tmp_path / out, *options, "--seed", seed, weights=tiny_weights)
    content = {out: {path.name: path.read_bytes() for path in (tmp_path / out).glob("*.wav")} for out in "abcd"}
    assert content["a"] == content["b"] and len(content["a"]) == 9
    assert content["d"] != content["a"]
    for path in (tmp_path / "c").glob("*.adversarial.wav"):  # in another batch a few samples may be rounded otherwise
        assert np.mean(read(path) != read(tmp_path / "a" / path.name)) < 0.02
    assert (tmp_path / "a" / "rows.jsonl").read_bytes() == (tmp_path / "b" / "rows.jsonl").read_bytes()


def test_the_same_command_again_goes_on_and_another_one_does_not(run, tiny_weights, write_clip, tmp_path):
    file = write_clip(tmp_path / "yes.wav", "yes")
    options = ("--target", "stop", "--budget", "snr:20")
    attack(run, [file], tmp_path / "out", *options, weights=tiny_weights)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / "rows.jsonl").unlink()  # as if it had been killed
    attack(run, [file], tmp_path / "out", *options, weights=tiny_weights)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    status, out, err = run("attack", file, *options, "--steps", 3, "--out", tmp_path / "out", "--model", tiny_weights)
    assert (status, out) == (2, "") and "same command" in err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_report_of_an_attack(run, tiny_weights, write_clip, tmp_path):
    files = [write_clip(tmp_path / f"{word}.wav", word) for word in ("yes", "stop")]
    rows, err = attack(run, files, tmp_path / "out", "--target", "stop", "--budget", "snr:20", weights=tiny_weights)
    assert "stop.wav': is heard as 'stop' already and is left as it is" in err
    assert rows[1]["reached"] and rows[1]["linf"] == 0 and rows[1]["snr_db"] is rows[1]["masking_excess_db"] is None
    status, out, err = run("report", tmp_path / "out")
    assert status == 0, err
    (cell,) = json.loads((tmp_path / "out" / "result.json").read_text())["cells"]
    assert cell["clips"] == 1 and cell["targeted_success"] == 1.0 and cell["budget"] == "snr:20"  # what was the target from the start is no success
    assert (tmp_path / "out" / "index.html").exists()


def test_odd_names_and_two_of_one_stem(run, tiny_weights, write_clip, tmp_path):
    names = ["it's \"odd\".wav", "line\nbreak.wav", "x" * 250 + ".wav", "ü" * 120 + ".wav", "a/yes.wav", "b/yes.wav", "c/YES.wav"]
    files = [write_clip(tmp_path / "in" / name, "yes", seed) for seed, name in enumerate(names)]
    rows, _ = attack(run, files, tmp_path / "out", "--target", "stop", "--budget", "snr:20", "--steps", 3, weights=tiny_weights)
    outs = [os.path.basename(row["out"]) for row in rows]
    assert len({out.casefold() for out in outs}) == 7 and all((tmp_path / "out" / out).exists() for out in outs)
    assert outs[0] == "it's \"odd\".adversarial.wav" and outs[4:] == ["yes.adversarial.wav", "yes-2.adversarial.wav", "YES-3.adversarial.wav"]
    status, out, _ = run("attack", *files[:2], "--target", "stop", "--budget", "snr:20", "--steps", 1, "--out", tmp_path / "again", "--model", tiny_weights)
    assert status == 0 and "line\\nbreak.wav" in out and len(out.splitlines()) == 7


def test_a_leading_dash(run, tiny_weights, write_clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "-yes.wav", "yes")
    status, _, err = run("attack", "--untargeted", "--quiet", "--budget", "snr:20", "--steps", 1, "--out", "out", "--model", tiny_weights, "--", "-yes.wav")
    assert (status, err) == (0, "") and (tmp_path / "out" / "-yes.adversarial.wav").exists()


def test_notices_come_once_all_files_could_be_read(run, tiny_weights, write_clip, tmp_path):
    write_clip(tmp_path / "8khz.wav", "yes", rate=8000)
    (tmp_path / "bad.wav").write_text("text")
    common = ("--target", "stop", "--budget", "snr:20", "--steps", 1, "--out", tmp_path / "out", "--model", tiny_weights)
    status, out, err = run("attack", tmp_path / "8khz.wav", tmp_path / "bad.wav", *common)
    assert (status, out) == (2, "") and "bad.wav" in err and len(err.splitlines()) == 1 and not (tmp_path / "out").exists()
    assert "resampled from 8000 Hz" in run("attack", tmp_path / "8khz.wav", *common)[2]
    assert run("attack", tmp_path / "8khz.wav", *common, "--quiet")[2] == ""


def test_a_terminal_without_the_letters(write_clip, tmp_path):
    """A file name that the terminal cannot show stops nothing: neither letters that it lacks nor bytes that are none."""
    write_clip(tmp_path / "kő\udcff.wav")
    done = started("defend", "kő\udcff.wav", "--defense", "none", "--out", "out", cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0 and done.stderr.startswith("next:\n") and r"k\u0151\udcff.wav -> out/k\u0151\udcff.wav" in done.stdout


def test_a_stop_is_told(run, monkeypatch, tiny_weights, write_clip, tmp_path):
    from speechadv.attacks.base import Attack

    monkeypatch.setattr(Attack, "__call__", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    status, out, err = run("attack", write_clip(tmp_path / "yes.wav"), "--target", "stop", "--budget", "snr:20", "--out", tmp_path / "out", "--model", tiny_weights)
    assert (status, out) == (130, "") and "stopped" in err and len(err.strip().splitlines()) == 1


def test_stems_are_unique_on_any_file_system():
    from pathlib import Path

    files = [Path(name) for name in ("a.wav", "b/a.wav", "A.wav", "a-2.wav", "é.wav", "e\u0301.wav", "z" * 255)]
    stems = unique_stems(files, ".perturbation.wav")
    assert stems[:4] == ["a", "a-2", "A-3", "a-2-2"] and stems[5] == "e\u0301-2"
    assert all(len(f"{stem}.perturbation.wav".encode()) <= 255 for stem in stems)


def test_every_command_is_a_click_command():
    for name in COMMANDS:
        assert isinstance(importlib.import_module(f"speechadv.cli.{name.replace('-', '_')}").command, click.Command)
