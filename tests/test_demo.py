"""`speechadv demo` with two small networks: its grid, its folder, what it prints; and with its own ones what README shows of it."""
import json
import re
import shutil
from pathlib import Path

import pytest

from speechadv.cli import demo as demo_command

SMALL = {"WORDS": ["yes", "no", "stop", "go"], "CLIPS": 2, "STEPS": 2, "BUDGETS": ["linf:0.002", "snr:30"], "DEFENSES": ["none", "bandpass:300-3400"]}


@pytest.fixture
def small(monkeypatch):
    """The demo on fewer clips, steps and budgets; pages are tested elsewhere."""
    for name, value in SMALL.items():
        monkeypatch.setattr(demo_command, name, value)
    monkeypatch.setattr("speechadv.report.page.write_page", lambda folder: (folder / "index.html").write_text("page"))


@pytest.fixture(scope="session")
def networks(tiny_weights, tmp_path_factory):
    """Options that name a network and a second one beside it."""
    folder = tmp_path_factory.mktemp("second")
    for suffix in (".safetensors", ".json"):
        shutil.copy(tiny_weights.with_suffix(suffix), folder / f"second{suffix}")
    return ["--model", tiny_weights, "--robust-model", folder / "second.safetensors"]


def test_writes_and_prints(run, small, networks, tmp_path):
    out = tmp_path / "new" / "demo"
    status, printed, err = run("demo", "--out", out, *networks)
    assert status == 0 and "\x1b" not in printed and "…" not in printed
    assert max(len(line) for line in printed.splitlines() if str(out) not in line) <= 80
    for part in ("linf:0.002", "snr:30", "bandpass:300-3400", "adversarially trained", "index.html", "synthetic"):
        assert part in printed
    for name in ("rows.jsonl", "table.csv", "table.md", "result.json", "config.toml", "index.html", "demo.txt"):
        assert (out / name).is_file(), name
    cells = json.loads((out / "result.json").read_text())["cells"]
    kinds = {(cell["model"] == str(networks[1]), cell["defense"], cell["threat"]) for cell in cells}
    assert kinds == {(True, "none", "oblivious"), (True, "bandpass:300-3400", "oblivious"), (True, "bandpass:300-3400", "adaptive"),
                     (False, "none", "transfer"), (False, "none", "adaptive")}
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == len(cells) * SMALL["CLIPS"] and all((out / row["perturbation_audio"]).is_file() for row in rows)


def test_twice_is_made_anew(run, small, networks, tmp_path):
    out = tmp_path / "demo"
    assert run("demo", "--out", out, *networks, "--quiet")[0] == 0
    rows = (out / "rows.jsonl").read_bytes()
    (out / "audio" / "old.wav").write_bytes(b"")
    status, printed, _ = run("demo", "--out", out, *networks, "--json")
    assert status == 0 and json.loads(printed)["page"] == str(out / "index.html")
    assert (out / "rows.jsonl").read_bytes() == rows and not (out / "audio" / "old.wav").exists()
    (out / "demo.txt").unlink()  # as a killed one leaves it
    assert run("demo", "--out", out, *networks, "--quiet")[0] == 0


def test_foreign_folders_and_wrong_options_leave_all_as_it_was(run, small, networks, tmp_path):
    own = tmp_path / "mine"
    own.mkdir()
    (own / "thesis.txt").write_text("years of work")
    (tmp_path / "table.md").write_text("a table of mine")
    done = tmp_path / "done"
    done.mkdir()
    (done / "demo.txt").write_text("x"), (done / "rows.jsonl").write_text("rows")
    for arguments in (["--out", own], ["--out", own / "thesis.txt"], ["--out", done, "--model", "resnett"], ["--out", done, "--device", "cpuu"]):
        status, printed, err = run("demo", *arguments, *(networks if "--model" not in arguments else []))
        assert status == 2 and len(err.strip().splitlines()) == 1 and not printed, arguments
    assert (own / "thesis.txt").read_text() == "years of work" and (done / "rows.jsonl").read_text() == "rows"


def test_a_run_of_evaluate_is_no_demo(run, small, networks, tmp_path):
    from speechadv import config as configs

    out = tmp_path / "run"
    out.mkdir()
    other = demo_command.settings("a", "b", 0)
    other.clips = 3
    (out / "config.toml").write_text(configs.dumps(other))
    status, _, err = run("demo", "--out", out, *networks)
    assert status == 2 and "another run" in err and (out / "config.toml").exists()


def test_the_grid_of_the_real_demo_asks_for_each_threat_once():
    from speechadv.evaluation.cells import cells, groups

    grid = cells(demo_command.settings("resnet", "resnet-at", 0))
    assert len(grid) == 7 * len(demo_command.BUDGETS) and len(groups(grid)) == 4 * len(demo_command.BUDGETS)
    assert {cell.budget.partition(":")[0].partition("+")[0] for cell in grid} == {"linf", "snr", "masking"}


def test_readme_shows_what_it_prints(run, tmp_path):
    status, printed, err = run("demo", "--out", tmp_path / "demo")
    assert status == 0, err
    shown = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").split("ends like this:\n\n```\n")[1].split("```")[0].splitlines()
    now = printed[printed.index(shown[0]) :].splitlines()
    number, interval = r"\b\d+(?:\.\d+)?", r"\[\d+, \d+\]"
    for line, told in zip(shown, now, strict=True):
        if "in a browser" in line:  # where the page lies is for each his own
            continue
        # Another processor may move a clip at the edge, and with it the interval.
        bare, now_bare = re.sub(interval, "", line), re.sub(interval, "", told)
        assert re.sub(number, "", bare).split() == re.sub(number, "", now_bare).split()
        for a, b in zip(re.findall(number, bare), re.findall(number, now_bare), strict=True):
            assert abs(float(a) - float(b)) <= 1, (line, told)


def test_a_network_that_hears_nothing_right(run, small, networks, tmp_path, monkeypatch):
    (tmp_path / "deaf.py").write_text("import torch\n\n\nclass Deaf(torch.nn.Module):\n    labels, sample_rate = ('no', 'off'), 16000\n\n"
                                      "    def forward(self, waveforms):\n        return torch.stack([waveforms.mean(1) * 0, waveforms.mean(1) * 0 + 1], 1)\n\n\ndef make():\n    return Deaf()\n")
    monkeypatch.chdir(tmp_path)
    status, printed, err = run("demo", "--out", tmp_path / "demo", "--model", "deaf:make", *networks[2:])
    assert "Traceback" not in err and (status == 2 and len(err.splitlines()) == 1 or status == 0 and "SNR – dB" in printed), (status, err)
