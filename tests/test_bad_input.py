"""Every row of docs/bad-input.md is run."""
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tomli_w

SPEC = importlib.util.spec_from_file_location("deployed_files", Path(__file__).with_name("models") / "deployed_files.py")
deployed_files = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(deployed_files)
PAGE = Path(__file__).parents[1] / "docs" / "bad-input.md"
ROWS = [[cell.strip() for cell in line.strip("|\n ").split(" | ")] for line in PAGE.read_text("utf-8").splitlines(True) if line.startswith("| `") and line.count(" | ") == 4]
HEARS = ("attack", "classify", "detect", "listen")  # commands whose default network is replaced by a small one, for speed


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_weights, data_root):
    """The folder that the page describes."""
    folder = tmp_path_factory.mktemp("bad")
    generator = np.random.default_rng(0)
    good, stop = (soundfile.read(path, dtype="float64")[0] for path in (data_root / "yes" / first(data_root), data_root / "stop" / first(data_root)))

    def sound(name, samples, rate=16000, subtype="PCM_16"):
        soundfile.write(folder / name, samples, rate, subtype=subtype)

    sound("good.wav", good), sound("stop.wav", stop), sound("header.wav", np.zeros(0)), sound("zeros.wav", np.zeros(16000))
    sound("8khz.wav", good[::2], 8000), sound("stereo.wav", np.stack([good, generator.normal(0, 0.01, 16000)], 1)), sound("24bit.wav", good, subtype="PCM_24")
    for name, value in (("nan.wav", np.nan), ("infinite.wav", np.inf), ("loud.wav", 1.5)):
        sound(name, np.concatenate([good[:8000], [value], good[8001:]]), subtype="FLOAT")
    sound("integers.wav", good * 32768, subtype="FLOAT"), sound("minutes.wav", np.tile((good * 32768).astype(np.int16), 600))
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("Dear reader,\nthis is no sound.\n")
    (folder / "program.pt").write_bytes(b"PK\3\4")
    whole = (folder / "good.wav").read_bytes()
    (folder / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "folder").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "letter.txt").write_text("keep me")
    write_configs(folder, tiny_weights, data_root)
    deployed_files.write_faults(folder)
    return folder


def first(data_root):
    return min(path.name for path in (data_root / "yes").iterdir())


def write_configs(folder, tiny_weights, data_root):
    train = {"name": "small", "task": "yes,no", "model": "tc_resnet8", "data": [str(data_root)], "epochs": 1, "adversary": {}}
    grid = {"models": [str(tiny_weights)], "task": "yes,no", "data": [str(data_root)], "attacks": [{"name": "pgd", "steps": 1}], "budgets": ["snr:30"]}
    faults = {"train": train, "train-misspelt": train | {"epohcs": 3}, "train-test": train | {"split": "test"}, "train-nan": train | {"learning_rate": float("nan")},
              "train-negative": train | {"epochs": -3}, "train-type": train | {"epochs": "many"}, "train-no-data": train | {"data": ["folder"]},
              "train-no-name": {key: value for key, value in train.items() if key != "name"}, "train-empty": {},
              "grid": grid, "grid-empty": {}, "grid-misspelt": {("bugdets" if key == "budgets" else key): value for key, value in grid.items()}}
    for name, content in faults.items():
        (folder / f"{name}.toml").write_text(tomli_w.dumps(content))


def snapshot(folder):
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def words_of(command, tiny_weights, out):
    words = [out if word == "OUT" else word for word in shlex.split(command)]
    return words + ["--model", str(tiny_weights)] * (words[0] in HEARS and "--model" not in words)


def test_the_table_is_whole():
    assert len(ROWS) >= 140 and all(len(row) == 5 for row in ROWS)
    assert {row[3] for row in ROWS} == {"0", "2"} and {row[4] for row in ROWS} == {"as before", "written"}
    assert len({row[0] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("command, wrong, message, status, after", ROWS, ids=[row[0].strip("`") for row in ROWS])
def test_bad_input(command, wrong, message, status, after, made, run, tiny_weights, monkeypatch):
    monkeypatch.chdir(made)
    out = "OUT"
    before = snapshot(made)
    found, printed, err = run(*words_of(command.strip("`"), tiny_weights, out))
    assert found == int(status), (printed, err)
    assert message in err and "Traceback" not in err
    if status == "2":
        assert printed == "" and len(err.splitlines()) == 1 and err.startswith("speechadv: ")
    if after == "as before":
        assert snapshot(made) == before
    else:
        written = [path for path in (made / out).rglob("*.wav")]
        assert written and not any(path.name.startswith(".") for path in written)
        for path in sorted((made / out).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (made / out).rmdir()


def test_control_characters_are_shown_escaped(made, run, tiny_weights, monkeypatch):
    monkeypatch.chdir(made)
    attack = ("--budget", "snr:30", "--out", "OUT", "--model", tiny_weights)
    for name in ("bell\x07.wav", "two\nlines.wav", "\x1b[31mred.wav", "\udcff.wav"):
        for command in (("classify", name), ("attack", name, "--target", "stop", *attack), ("attack", "good.wav", "--target", name, *attack),
                        ("defend", name, "--defense", "mp3:32", "--out", "OUT"), ("train", name, "--out", "OUT"), ("data", "check", name), ("models", "describe", name),
                        ("attack", "good.wav", "--target", "stop", "--budget", name, "--out", "OUT"), (name,), ("report", name)):
            status, printed, err = run(*command)
            assert status == 2 and printed == "" and len(err.splitlines()) == 1, (command, err)
            assert err.rstrip("\n").isprintable(), (command, err)


@pytest.mark.parametrize("command", ["attack empty.wav --target stop --budget snr:30 --out OUT", "train train-test.toml --out OUT", "classify text.wav"])
def test_as_a_program(command, made, tiny_weights):
    """The same from outside: status, one line, nothing else."""
    done = subprocess.run([sys.executable, "-m", "speechadv", *words_of(command, tiny_weights, "OUT")], capture_output=True, text=True, cwd=made, timeout=240)
    assert (done.returncode, done.stdout) == (2, "") and re.fullmatch(r"speechadv: .*\n", done.stderr)
