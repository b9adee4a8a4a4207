"""Everyday damage: the same for the same seed and clip, as strong as it says, and counted as in ImageNet-C."""
import csv
import json

import numpy as np
import pytest
import soundfile

from speechadv import load_model, registry
from speechadv.audio import to_grid
from speechadv.evaluation import corrupted
from speechadv.evaluation.corrupted import chosen
from speechadv.evaluation.corruption_errors import lines
from speechadv.evaluation.corruptions.base import Surroundings
from speechadv.evaluation.settings import EvaluationConfig

NAMES = registry.names("corruption")


def around(rate=16000):
    noise = np.random.default_rng(5).normal(0, 0.01, 3 * rate).astype(np.float32)
    return Surroundings(rate, [noise])


def snr(clip, heard):
    return 10 * np.log10((clip.astype(float) ** 2).sum() / ((heard - clip).astype(float) ** 2).sum())


def test_the_issue_is_covered():
    assert set(NAMES) >= {"background", "white", "pink", "room", "quiet", "clipping", "telephone", "packets", "speed", "pitch", "mp3", "opus"}


@pytest.mark.parametrize("name", NAMES)
def test_the_contract(name, speak):
    corruption, clip = registry.create("corruption", name), speak("yes")
    corruption.prepare(around())
    made = [corruption(clip, "yes/a.wav", strength, 0, around()) for strength in range(1, 6)]
    for heard in made:
        assert heard.shape == clip.shape and heard.dtype == np.float32 and np.isfinite(heard).all() and np.array_equal(to_grid(heard), heard)
    assert len({heard.tobytes() for heard in made}) == 5 and len(corruption.values) == 5
    assert np.array_equal(made[2], corruption(clip, "yes/a.wav", 3, 0, around()))
    if name not in ("quiet", "clipping", "telephone", "mp3", "opus"):  # these draw nothing
        assert any(not np.array_equal(made[0], corruption(clip, f"yes/{number}.wav", 1, 0, around())) for number in range(8))
    assert np.isfinite(corruption(np.zeros(16000, np.float32), "silence", 5, 0, around())).all()


@pytest.mark.parametrize("name", ["white", "pink", "background"])
def test_noise_stands_where_it_says(name, speak):
    clip = speak("go") * np.float32(0.5)
    corruption = registry.create("corruption", name)
    for strength, wanted in enumerate((20, 10, 5, 0, -5), 1):
        assert snr(clip, corruption(clip, "go/a.wav", strength, 0, around())) == pytest.approx(wanted, abs=0.2)


def test_what_the_strengths_mean(speak):
    clip = speak("no")
    make = lambda name, strength: registry.create("corruption", name)(clip, "no/a.wav", strength, 0, around())
    assert np.allclose(make("quiet", 2), clip / 10, atol=2**-16)
    assert np.abs(make("clipping", 1)).max() == pytest.approx(np.abs(clip).max() / 10**0.3, abs=2**-15)
    lost = make("packets", 5).reshape(-1, 320)
    assert 0.3 < np.mean(~lost.any(1) & clip.reshape(-1, 320).any(1)) < 0.7
    spectrum = np.abs(np.fft.rfft(make("telephone", 5)))
    assert spectrum[5000:].max() < 0.02 * spectrum.max()
    assert [snr(clip, make("mp3", s)) > snr(clip, make("mp3", s + 2)) for s in (1, 3)] == [True, True]


@pytest.mark.parametrize("name", NAMES)
def test_other_sample_rates(name):
    clip = to_grid(np.random.default_rng(0).normal(0, 0.1, 8000)).astype(np.float32)
    assert registry.create("corruption", name)(clip, "a", 3, 0, around(8000)).shape == (8000,)


def row(model, name, strength, right):
    return {"model": model, "defense": "none", "corruption": name, "strength": strength, "label": "yes", "prediction": "yes" if right else "no", "clip": "c"}


def test_the_mean_is_that_of_imagenet_c():
    """Errors of the reference 2 of 5 and 4 of 5, of the other 1 of 5 and 4 of 5: (50 % + 100 %) / 2."""
    table = {"resnet": {"white": (1, 1, 1, 0, 0), "mp3": (1, 0, 0, 0, 0)}, "other": {"white": (1, 1, 1, 1, 0), "mp3": (1, 0, 0, 0, 0)}}
    rows = [row(model, name, s, right) for model, names in table.items() for name, rights in names.items() for s, right in enumerate(rights, 1)]
    reference, other = lines(rows, "resnet")
    assert reference["mce"] == pytest.approx(1) and other["mce"] == pytest.approx(0.75)
    assert other["corruption_accuracy"] == pytest.approx(0.5) and [one["error"] for one in other["corruptions"]] == pytest.approx([0.2, 0.8])


def test_a_reference_without_an_error_has_no_mean():
    rows = [row(model, "white", s, True) for model in ("resnet", "other") for s in range(1, 6)]
    assert [line["mce"] for line in lines(rows, "resnet")] == [None, None]


def config(data, **keys):
    return EvaluationConfig(**{"attacks": ["noise"], "budgets": ["snr:30"], "data": data, **keys})


def test_all_leaves_background_noise_out_where_there_is_none(monkeypatch):
    assert set(NAMES) - set(chosen(config(["bundled"], corruptions=["all"]))) == {"background"}
    assert chosen(config(["somewhere"], corruptions=["all"])) == NAMES


@pytest.fixture
def grid(tmp_path, tiny_weights, data_root):
    path = tmp_path / "grid.toml"
    path.write_text(f'models = ["{tiny_weights}"]\ntask = ["yes", "no", "stop", "go"]\ndata = ["{data_root}"]\nbudgets = ["snr:30"]\nattacks = ["noise"]\n'
                    f'defenses = ["none", "bandpass:100-4000"]\nclips = 4\ncorruption_reference = "{tiny_weights}"\n')
    return path


def test_a_run(grid, run, tmp_path, tiny_weights):
    out = tmp_path / "out"
    status, printed, err = run("evaluate", grid, "--out", out, "--corruptions", "background,white,clipping")
    assert status == 0 and "accuracy under corruptions %" in printed and "mCE %" in printed, err
    rows = corrupted.read(out / corrupted.ROWS)
    assert len(rows) == 2 * 3 * 5 * 4
    with open(out / "table.csv") as file:
        table = list(csv.DictReader(file))
    right = [row["prediction"] == row["label"] for row in rows if row["defense"] == "none"]
    assert float(table[0]["corruption_accuracy"]) == pytest.approx(np.mean(right)) and float(table[0]["mce"]) == pytest.approx(1) and table[1]["mce"]
    assert "from mild (1) to severe (5)" in (out / "table.md").read_text() and len((out / "corruptions.csv").read_text().splitlines()) == 1 + 2 * 3 * 5
    kept = [row for row in rows if row["audio"]]
    assert len(kept) == 2 * 3 * 5 * 3
    model = load_model(str(tiny_weights))
    for row in kept[:6]:
        samples, _ = soundfile.read(out / row["audio"], dtype="float32")
        assert row["prediction"] == model.labels[model(__import__("torch").from_numpy(samples)[None]).argmax()]


def test_a_run_judged_anew(grid, run, tmp_path):
    """What was kept is heard again; what was not is counted again."""
    out = tmp_path / "out"
    assert run("evaluate", grid, "--out", out, "--corruptions", "white")[0] == 0
    assert run("verify", out)[0] == 0
    path = out / corrupted.ROWS
    rows, honest, table = corrupted.read(path), path.read_bytes(), (out / "corruptions.csv").read_text()
    kept = next(row for row in rows if row["audio"])
    kept["prediction"] = next(row["label"] for row in rows if row["label"] != kept["prediction"])
    corrupted.rewrite(path, rows)
    status, printed, _ = run("verify", out)
    assert status == 1 and "corruptions.jsonl" in printed and "the model hears" in printed
    path.write_bytes(honest + honest.splitlines(keepends=True)[0])
    assert "a second time" in run("verify", out)[1]
    path.write_bytes(honest)
    line = table.splitlines()[1]
    (out / "corruptions.csv").write_text(table.replace(line, ",".join([*line.split(",")[:7], "0.123", *line.split(",")[8:]])))
    assert "the table says 0.123" in run("verify", out)[1]


def test_a_run_that_was_stopped_goes_on(grid, run, tmp_path):
    out, path = tmp_path / "out", tmp_path / "out" / corrupted.ROWS
    command = ("evaluate", grid, "--out", out, "--corruptions", "white")
    assert run(*command)[0] == 0
    before, table = path.read_bytes(), (out / "table.csv").read_bytes()
    path.write_bytes(before[: len(before) * 2 // 3])
    next((out / "corrupted").rglob("*.wav")).unlink()
    assert run(*command)[0] == 0
    assert path.read_bytes() == before and (out / "table.csv").read_bytes() == table
    assert all((out / row["audio"]).is_file() for row in map(json.loads, before.splitlines()) if row["audio"])
    assert run("verify", out)[0] == 0


@pytest.mark.parametrize(("keys", "message"), [
    ({"corruptions": ["whit"]}, "unknown corruption 'whit', did you mean 'white'"), ({"corruptions": ["background"], "data": ["bundled"], "task": ["yes", "no"]}, "leave it out"),
    ({"corruptions": ["white"], "corruption_reference": "resnte"}, "unknown model 'resnte'"),
])
def test_what_cannot_be_done(keys, message, grid, run, tmp_path):
    overrides = [word for key, value in keys.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    status, printed, err = run("evaluate", grid, "--out", tmp_path / "out", *overrides)
    assert status == 2 and message in err and not (tmp_path / "out").exists()


def test_the_reference_has_to_know_the_words(grid, run, tmp_path):
    other = "corruption_reference='resnet'"
    status, printed, err = run("evaluate", grid, "--out", tmp_path / "out", "--set", 'task=["yes","_silence_"]', "--set", 'corruptions=["white"]', "--set", other, "--set", "clips=2")
    assert status == 0, err


def test_without_pyroomacoustics_the_extra_is_named(grid, run, tmp_path, monkeypatch):
    from speechadv import rooms

    rooms.simulated.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "pyroomacoustics", None)
    status, printed, err = run("evaluate", grid, "--out", tmp_path / "out", "--corruptions", "room")
    assert status == 2 and "speechadv[rooms]" in err and not (tmp_path / "out").exists()
