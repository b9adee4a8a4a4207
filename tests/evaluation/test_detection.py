"""Detection runs: planted detectors, the adaptive attacker, and a run from clips to tables that goes on where it stopped."""
import csv
import json
import shutil

import pytest
import torch

from speechadv import audio, registry
from speechadv.attacks.pgd import PGD
from speechadv.budgets import parse_budget
from speechadv.detectors import Detector, Watched, parse_detector
from speechadv.errors import ConfigError, InputError
from speechadv.evaluation import detection_rows as row_files
from speechadv.evaluation.detection import detect
from speechadv.evaluation.detection_settings import DetectionConfig
from speechadv.evaluation.evasion import evade, judged
from speechadv.evaluation.separation import auc, auc_interval, threshold_for
from speechadv.evaluation.verify import verify
from speechadv.goals import Misclassify
from speechadv.randomness import clip_generators, normal
from speechadv.report.detection import as_markdown, page, write_tables


class Parity(Detector):
    """Sees what lies off the grid of every second LSB, which nobody but an attack does."""

    name = "parity"

    def score(self, model, waveforms, logits):
        return ((waveforms * 32768).round() % 2).mean(1) + 0 * waveforms.sum(1)


class Dice(Detector):
    """Sees nothing."""

    name, stochastic = "dice", True

    def score(self, model, waveforms, logits):
        return normal(self.generators_for(waveforms), (1,))[:, 0] + 0 * waveforms.sum(1)


@pytest.fixture
def clips(heard, tiny):
    """Clips on the grid of every second LSB that the small network hears right: waveforms and their goal."""
    waveforms = (heard.waveforms * 16384).round() / 16384
    with torch.no_grad():
        right = tiny(waveforms).argmax(1) == heard.classes
    return waveforms[right].clamp(max=1 - 2**-14), Misclassify(heard.classes[right])


def generators(number, count=15):
    return clip_generators(number, "detection", list(map(str, range(count))))


def attacked(tiny, clips, eps=0.01):
    waveforms, goal = clips
    return PGD(steps=8, loss="margin", full=True)(tiny, waveforms, goal, parse_budget(f"linf:{eps}"), generators=generators(0, len(waveforms)))


def test_a_planted_detector_separates_and_a_dice_does_not(tiny, clips):
    result = attacked(tiny, clips)
    assert result.reached.sum() >= 8
    found = {}
    for detector in (Parity(), Dice()):
        watched = Watched(tiny, detector)
        clean, sent = (judged(watched, heard, generators(number, len(heard)))[1].tolist() for number, heard in ((1, clips[0]), (2, result.adversarial[result.reached])))
        names = list(map(str, range(len(clean))))
        found[detector.name] = auc(clean, sent), auc_interval(dict(zip(names, clean)), dict(zip([*names, *names], sent)))
    assert found["parity"][0] == 1 and found["parity"][1][1] == 1 and found["parity"][1][0] > 0.6
    low, high = found["dice"][1]
    assert low < 0.5 < high and abs(found["dice"][0] - 0.5) < 0.3


@pytest.mark.parametrize("spec", ["margin:sure", "disagreement:bandpass:200-3000", "margin:noise=0.002,copies=2"])
def test_the_adaptive_attacker_lowers_the_score(spec, tiny, clips):
    """Against the oblivious one, whose clips he begins with: clips that are seen become ones that are not, and still fool the network."""
    waveforms, goal = clips
    result, watched = attacked(tiny, clips), Watched(tiny, parse_detector(spec))
    start = judged(watched, result.adversarial, generators(0, len(waveforms)))[1]
    threshold = float(start[result.reached].median())  # half of what fools is seen
    found = evade(watched, PGD(steps=10, loss="margin"), waveforms, goal, parse_budget("linf:0.01"), threshold=threshold, scale=max(0.1, abs(threshold) / 4), searches=4,
                  start=result.adversarial, generators=lambda number: generators(number, len(waveforms)))
    seen = result.reached & (start > threshold)
    assert seen.sum() >= 3 and (found.fooled >= result.reached).all()
    wins = found.fooled & (found.score <= threshold)
    assert wins[seen].any() and found.score[wins & seen].max() <= threshold < start[seen].min() and found.score[seen].mean() < start[seen].mean()
    assert (found.passes[seen] > 0).all()
    assert parse_budget("linf:0.01").satisfied(waveforms, found.adversarial).all()
    assert (~found.weight[wins & seen].isnan()).all()
    logits, scores = judged(watched, found.adversarial, generators(9, len(waveforms)))
    if not watched.stochastic:  # what was unseen already is left as it is
        assert found.passes[~seen & result.reached].sum() == 0 and found.weight[~seen & result.reached].isnan().all()
        assert torch.equal(found.adversarial[~seen & result.reached], result.adversarial[~seen & result.reached])
        assert torch.equal(goal.reached(logits), found.fooled) and torch.allclose(scores, found.score, atol=1e-4)


def test_weights_are_searched_clip_by_clip(tiny, clips):
    """Where the network is fooled and the detector sees it the weight grows, where it is not fooled it falls."""
    waveforms, goal, weights = *clips, []

    class Noted(PGD):
        def run(self, problem):
            weights.append(problem.goal.weight.clone())
            return super().run(problem)

    result = attacked(tiny, clips)
    found = evade(Watched(tiny, Parity()), Noted(steps=2, loss="margin"), waveforms, goal, parse_budget("linf:0.01"), threshold=-1.0, scale=1.0, searches=3,
                  start=result.adversarial, generators=lambda number: generators(number, len(waveforms)))  # nothing is ever unseen
    assert torch.equal(found.passes > 0, result.reached)  # what does not even fool the network alone is left as it is
    assert len(weights) == 3 and (weights[0] == 1).all() and {*weights[1].tolist()} <= {0.25, 4.0} and {*weights[2].tolist()} <= {1 / 16, 0.5, 2.0, 16.0}


DETECTORS = ["margin:gap", "disagreement:bandpass:200-3000", "margin:noise=0.002,copies=2"]


@pytest.fixture(scope="module")
def config(tiny_weights, data_root):
    """`config(**keys)`: a small run on a small network."""
    base = {"detectors": DETECTORS, "budgets": ["linf:0.008"], "models": [str(tiny_weights)], "attack": {"name": "pgd", "steps": 4}, "searches": 2, "draws": 2,
            "task": ["yes", "no", "stop", "go", "_silence_"], "data": [str(data_root)], "clips": 6, "false_alarms": 0.2}
    return lambda **keys: DetectionConfig(**base | keys)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("detection") / "run"
    return detect(config(), out), out


def test_a_run_from_clips_to_tables(finished, config):
    result, out = finished
    rows = row_files.read(out / "detection.jsonl")
    clean = [row for row in rows if row["kind"] == "clean"]
    assert len(result["cells"]) == 9 and result["rows"] == len(rows) == len((out / "detection.jsonl").read_text().splitlines())
    assert {row["clip"] for row in rows if row["kind"] == "validation"}.isdisjoint(row["clip"] for row in clean)
    right = {row["clip"] for row in clean if row["clean_prediction"] == row["label"]}
    for line in result["cells"]:
        of = [row for row in rows if row["detector"] == line["detector"] and row["kind"] == line["attacker"]]
        scores = [row["score"] for row in rows if row["detector"] == line["detector"] and row["kind"] == "validation"]
        assert line["threshold"] == threshold_for(scores, 0.2) and {row["clip"] for row in of} <= right
        wins = [row for row in of if row["prediction"] != row["label"]]
        unseen = [row for row in wins if row["score"] <= line["threshold"]]
        assert (line["clips_right"], line["clips_fooled"]) == (len(of), len(wins)) and line["undetected"] == len(unseen) / len(of)
        assert line["detected"] == pytest.approx(1 - len(unseen) / len(wins)) and line["detected_low"] <= line["detected"] <= line["detected_high"]
        assert line["auc_low"] <= line["auc"] <= line["auc_high"] and line["adaptive"] == (line["attacker"] == "adaptive")
        assert all(row["linf"] <= 262 / 32768 and (out / row["audio"]).is_file() for row in of)
    by = {(line["detector"], line["attacker"]): line for line in result["cells"]}
    assert all(by[spec, "adaptive"]["undetected"] >= by[spec, "oblivious"]["undetected"] for spec in DETECTORS[:2])  # he begins with what the other one has
    assert all(row["threshold"] is not None for row in rows if row["kind"] == "adaptive")
    text = (out / "table.md").read_text()
    assert text.count("\n| ") == 4 and "20.0%" in text and "not attacked adaptively" not in text
    head, *lines = csv.reader((out / "table.csv").open())
    assert len(lines) == 9 and head[:7] == ["model", "detector", "budget", "seed", "attacker", "adaptive", "goal"] and "nan" not in (out / "table.csv").read_text().lower()
    assert "<svg" in (out / "figures/roc.svg").read_text() and "&lt;" not in (out / "index.html").read_text() and "roc.svg" in (out / "index.html").read_text()


def test_scores_are_those_of_the_saved_files(finished, config, tiny):
    from speechadv.audio import read

    _, out = finished
    rows = [row for row in row_files.read(out / "detection.jsonl") if row["detector"] == DETECTORS[1] and row["kind"] == "adaptive"]
    logits, scores = judged(Watched(tiny, parse_detector(DETECTORS[1])), torch.stack([torch.from_numpy(read(out / row["audio"])) for row in rows]), [])
    assert [tiny.labels[place] for place in logits.argmax(1).tolist()] == [row["prediction"] for row in rows]
    assert scores.tolist() == pytest.approx([row["score"] for row in rows], rel=1e-4, abs=1e-5)


def test_a_stopped_run_goes_on_to_the_same_bytes(finished, config, tmp_path, monkeypatch):
    _, whole = finished
    from speechadv.evaluation import detection

    real, calls = detection.evade, []

    def stops(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(detection, "evade", stops)
    with pytest.raises(KeyboardInterrupt):
        detect(config(), tmp_path / "run")
    path = tmp_path / "run" / "detection.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], lines[5].replace(b'"score": ', b'"score": 1'), *lines[6:], lines[0][:40]]))  # one changed, one torn
    (tmp_path / "run" / json.loads(lines[-1])["audio"]).write_bytes(b"")  # as a power failure leaves it
    told = []
    detect(config(), tmp_path / "run", notice=told.append)
    assert told == ["broken rows are made again"] and path.read_bytes() == (whole / "detection.jsonl").read_bytes()
    for name in ("table.csv", "table.md", "result.json", "figures/roc.svg", "config.toml"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()
    with pytest.raises(InputError, match="another config"):
        detect(config(searches=3), tmp_path / "run")


def test_nothing_is_said_to_be_detected_without_an_adaptive_attacker(finished, tmp_path):
    _, out = finished
    rows = [row for row in row_files.read(out / "detection.jsonl") if row["kind"] != "adaptive"]
    found = row_files.lines(rows, 0.2)
    assert len(found) == 6 and all(line[name] is None for line in found for name in ("detected", "undetected", "auc", "detected_low", "auc_high"))
    text = as_markdown(found, 0.2)
    assert text.count("not attacked adaptively") == 3 * 5 and "not attacked adaptively" in page(out, found, 0.2)
    (tmp_path / "detection.jsonl").write_bytes("".join(map(row_files.encode, rows)).encode())
    assert write_tables(tmp_path, 0.2)["cells"] == found and ",,," in (tmp_path / "table.csv").read_text()


def test_targeted_and_planted_in_a_run(config, tmp_path, monkeypatch):
    """Other goals, and detectors from the registry: an attack cannot pass what it has no gradient of, and what sees nothing is passed by chance."""
    registry.names("detector")
    monkeypatch.setitem(registry._entries["detector"], "dice", type("Named", (Dice,), {"from_spec": classmethod(lambda cls, text, sample_rate=16000: cls())}))
    result = detect(config(detectors=["dice"], goal="targeted", budgets=["linf:0.02"], searches=1), tmp_path / "run")
    rows = row_files.read(tmp_path / "run" / "detection.jsonl")
    assert all((row["target"] is None) == (row["kind"] in ("validation", "clean")) and row["target"] != row["label"] for row in rows)
    assert {line["goal"] for line in result["cells"]} == {"targeted"}
    line = next(line for line in result["cells"] if line["attacker"] == "oblivious")
    assert line["clips_fooled"] == sum(row_files.fooled(row) for row in rows if row["kind"] == "oblivious") > 0 and line["auc_low"] < 0.5 < line["auc_high"]


@pytest.mark.parametrize("keys, message", [
    ({"detectors": []}, "detectors: expected at least one"), ({"detectors": ["margin", "margin"]}, "detectors: expected each one once"),
    ({"false_alarms": 1.0}, "false_alarms: expected a share"), ({"false_alarms": float("nan")}, "false_alarms"), ({"goal": "other"}, "goal: expected one of"),
    ({"searches": 0}, "searches: expected 1 or more"), ({"attack": {"steps": 3}}, "attack: expected a table with a name"),
    ({"attack": {"name": "square"}}, "attack"), ({"attack": {"name": "pgd", "full": True}}, "full"), ({"attack": {"name": "pgd", "stepz": 3}}, "did you mean 'steps'"),
    ({"skip": [{"clip": "a"}]}, "skip: expected some of model, detector, budget")])
def test_configs_that_are_refused(config, keys, message):
    with pytest.raises(ConfigError, match=message):
        config(**keys)


@pytest.mark.parametrize("keys, message", [({"detectors": ["margn"]}, "did you mean 'margin'"), ({"task": ["yes", "no", "left"]}, "left|no clips|none"), ({"budgets": ["linf:x"]}, "budget")])
def test_nothing_is_written_before_all_is_checked(config, keys, message, tmp_path):
    with pytest.raises(Exception, match=message):
        detect(config(**keys), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_skipped_cells():
    config = DetectionConfig(["margin", "temporal"], ["linf:0.002", "linf:0.005"], models=["a", "b"], skip=[{"model": "a", "budget": "linf:0.002"}, {"model": "b", "detector": "temporal"}])
    assert config.cells == [("a", "linf:0.005"), ("b", "linf:0.002"), ("b", "linf:0.005")]
    assert config.detectors_of("b") == ["margin"] and config.detectors_of("a", "linf:0.002") == [] and config.detectors_of("a") == ["margin", "temporal"]


@pytest.mark.parametrize("change", [{"kind": "other"}, {"score": None}, {"score": "1"}, {"label": 3}, {"passes": 1.5}])
def test_rows_of_strangers(finished, change):
    _, out = finished
    row = row_files.read(out / "detection.jsonl")[0]
    assert row_files.decode(row_files.encode(row)) == row and row_files.decode(row_files.encode(row | change)) is None


@pytest.fixture
def copied(finished, tmp_path):
    """A finished run to change."""
    return shutil.copytree(finished[1], tmp_path / "copy")


def changed_row(folder, kind, **values):
    """Write other values, rightly sealed, into the first row of a kind."""
    rows = row_files.read(folder / "detection.jsonl")
    place = next(place for place, row in enumerate(rows) if row["kind"] == kind)
    rows[place] |= values
    (folder / "detection.jsonl").write_text("".join(map(row_files.encode, rows)))
    return place + 1


def test_a_run_is_judged_anew(finished):
    verdict = verify(finished[1])
    assert verdict.same and not verdict.unchecked and verdict.rows == verdict.scored == finished[0]["rows"]


@pytest.mark.parametrize("kind, values, message", [
    ("validation", {"score": 99.0}, "score: the detector says"), ("clean", {"prediction": "no"}, "prediction: the model hears"), ("oblivious", {"linf": 0.001}, "linf: the files say"),
    ("early", {"snr_db": 3.0}, "snr_db: the files say"), ("adaptive", {"threshold": 5.0}, "threshold: the validation clips give"), ("clean", {"label": "go"}, "label: the config says"),
    ("adaptive", {"audio": "audio/none.wav"}, "no such file"), ("adaptive", {"audio": None}, "irectory"), ("adaptive", {"audio": "../other.wav"}, "lies outside of the run"), ("clean", {"clip": "yes/other.wav"}, "no such row"),
    ("early", {"budget": "linf:0.5"}, "no such row")])
def test_a_changed_row_is_found(copied, kind, values, message):
    number = changed_row(copied, kind, **values)
    found = verify(copied).differences
    assert any(message in line for line in found) and (kind == "adaptive" and "threshold" in values or any(line.startswith(f"detection.jsonl:{number}:") for line in found))


def test_changed_tables_and_sound_are_found(copied):
    rows = row_files.read(copied / "detection.jsonl")
    sound = next(row for row in rows if row["kind"] == "adaptive")["audio"]
    samples = audio.read(copied / sound)
    audio.write_pcm16(copied / sound, torch.from_numpy(-samples), 16000)
    result = json.loads((copied / "result.json").read_text())
    result["cells"][2]["detected"] = 0.123
    (copied / "result.json").write_text(json.dumps(result))
    (copied / "table.csv").write_text((copied / "table.csv").read_text().replace("true", "false", 1))
    (copied / "table.md").unlink()
    environment = json.loads((copied / "environment.json").read_text())
    (copied / "environment.json").write_text(json.dumps(environment | {"models": {}}))
    found = verify(copied).differences
    for message in ("linf: the files say", "the change breaks its budget", "result.json: ", ": detected: the rows give", "table.csv:", "table.md: is not there", "environment.json: a model has other weights"):
        assert any(message in line for line in found), message


def test_what_is_unfinished_or_broken_is_said(copied):
    path = copied / "detection.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:-2], lines[0], lines[1].replace('"score": ', '"score": 1')]))
    verdict = verify(copied)
    assert verdict.unchecked == [f"the run is not finished: {len(lines) - 2} of {len(lines)} rows are there"]
    assert [line.partition(": ")[2][:20] for line in verdict.differences[:2]] == ["the same cell and cl", "broken, or changed: "]


def test_the_report_of_a_run_is_made_again(run, finished, copied):
    for name in ("table.csv", "table.md", "result.json", "index.html", "figures/roc.svg"):
        (copied / name).unlink()
    status, out, err = run("report", copied, "--json")
    assert (status, err) == (0, "") and json.loads(out)["cells"] == finished[0]["cells"]
    for name in ("table.csv", "table.md", "result.json", "figures/roc.svg"):
        assert (copied / name).read_bytes() == (finished[1] / name).read_bytes()
    assert run("verify", copied, "--quiet")[0] == 0
    assert run("plot", "roc", copied, "--format", "svg")[0] == 0 and (copied / "figures/roc.svg").read_bytes() == (finished[1] / "figures/roc.svg").read_bytes()
    status, out, err = run("report", copied, "--single-file")
    assert status == 2 and "--single-file" in err and len(err.strip().splitlines()) == 1


def test_the_command_scores_files(run, tiny, tiny_weights, write_clip, tmp_path):
    files = [write_clip(tmp_path / f"{word}.wav", word) for word in ("yes", "no")]
    status, out, err = run("detect", *files, "--detector", "margin:noise=0.01", "--model", tiny_weights, "--json")
    assert status == 0 and err == ""
    found = json.loads(out)
    assert [list(entry) for entry in found] == [["file", "heard", "detector", "score", "threshold", "suspected"]] * 2 and found[0]["suspected"] is None
    assert run("detect", *files, "--detector", "margin:noise=0.01", "--model", tiny_weights, "--json")[1] == out  # the seed decides what is drawn
    assert run("detect", *files, "--detector", "margin:noise=0.01", "--model", tiny_weights, "--json", "--seed", 1)[1] != out
    middle = sum(entry["score"] for entry in found) / 2
    status, out, err = run("detect", *files, "--detector", "margin:noise=0.01", "--threshold", middle, "--model", tiny_weights)
    assert status == 0 and "next:" in err and len(out.splitlines()) == 2 and out.count("not above") == 1 and "heard as 'yes', score" in out
