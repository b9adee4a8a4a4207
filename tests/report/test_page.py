"""The page as a file: everything escaped, the policy strict, the sound exact."""
import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from speechadv import audio
from speechadv.errors import InputError
from speechadv.evaluation import rows as row_files
from speechadv.report.assets import asset
from speechadv.report.page import single_sounds, write_page, write_single_file
from speechadv.report.saved import SavedRun
from speechadv.report.sections import explanations


class Elements(HTMLParser):
    """All start tags with their attributes, and the text of each script."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.text, self.inside = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1] += data
        self.text.append(data)


@pytest.fixture(scope="module")
def page(saved_run):
    return Elements((saved_run / "index.html").read_text(encoding="utf-8"))


@pytest.fixture
def no_figures(monkeypatch):
    """Pages without figures, for speed."""
    monkeypatch.setattr("speechadv.report.page.figure_section", lambda run, inside: "")


def test_hostile_words_are_text(saved_run, page):
    content = (saved_run / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in content and "<b>run" not in content
    assert len(page.scripts) == 2
    assert any("<script>alert('x')</script> \"50 %\" &amp; 日本語" in part for part in page.text)  # in the table, unescaped once
    assert any("speechadv: <b>run & 1" == part for part in page.text)


def test_the_policy_allows_the_one_script_and_nothing_from_the_net(page):
    (policy,) = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}' file:" in policy and policy.startswith("default-src 'none'")
    addresses = [a[key] for _, a in page.tags for key in ("src", "href") if key in a]
    assert addresses and not any("//" in address for address in addresses)
    assert not any(key.startswith("on") for _, a in page.tags for key in a)


def test_figures_have_words_and_forms_labels(page):
    images = [a for tag, a in page.tags if tag == "img"]
    assert [a["src"] for a in images] == [f"figures/{name}" for name in ("success.svg", "security-eps.svg", "spectrograms.png", "masking.svg")]
    assert all(len(image["alt"]) > 20 for image in images)
    assert ("html", {"lang": "en"}) in page.tags


def columns(page):
    """The page's columns, unpacked."""
    packed = json.loads(page.scripts[0])["columns"]
    return {key: value if isinstance(value, list) else [value["words"][i] if i >= 0 else None for i in value["at"]] for key, value in packed.items()}


def test_data_says_what_the_rows_say(saved_run, page):
    data, rows, found = json.loads(page.scripts[0]), SavedRun(saved_run).rows, columns(page)
    assert data["count"] == len(rows) == 18
    for key in ("clip", "label", "target", "model", "defense", "budget", "snr_db", "segmental_snr_db", "log_spectral_distance_db"):
        assert found[key] == [row[key] for row in rows]
    assert found["outcome"][0] == "target heard" and data["first"] == 0
    assert data["measures"] == [["segmental_snr_db", "segmental SNR dB", 1], ["log_spectral_distance_db", "log-spectral distance dB", 1]]


def test_probabilities_are_in_thousandths(saved_run, page):
    packed = json.loads(page.scripts[0])["probabilities"]["adversarial_probabilities"]
    flat = packed["at"][0]
    assert {packed["words"][flat[i]]: flat[i + 1] / 1000 for i in (0, 2)} == SavedRun(saved_run).rows[0]["adversarial_probabilities"]


def test_rows_without_probabilities_or_measures(make_run, no_figures):
    run = make_run(clips=1)
    extra = ("clean_probabilities", "adversarial_probabilities", "segmental_snr_db", "log_spectral_distance_db", "quality_gaps")
    row_files.rewrite(run / "rows.jsonl", [{key: value for key, value in row.items() if key not in extra} for row in SavedRun(run).rows])
    data = json.loads(Elements(write_page(run).read_text(encoding="utf-8")).scripts[0])
    assert data["measures"] == [] and set(data["probabilities"]["clean_probabilities"]["at"]) == {None}


def script_of(run, name):
    """What the script of a clip puts into the page."""
    content = (run / "page" / f"{name}.js").read_text(encoding="ascii")
    return json.loads(re.fullmatch(r'\(window\.speechadv = window\.speechadv \|\| \{\}\)\["\w+"\] = (.*);\n', content)[1])


def test_scripts_hold_the_saved_samples_exactly(saved_run, page):
    names = set(columns(page)["sound"])
    assert len(names) == 12  # 3 clips, 2 budgets, crafted on the plain and on the defended network
    kinds = set()
    for name in names:
        found = script_of(saved_run, name)
        kinds |= {version["kind"] for version in found["versions"]}
        assert len(found["samples"]) == len(found["versions"])
        for version, text in zip(found["versions"], found["samples"]):
            samples = np.frombuffer(base64.b64decode(text), "<i2") / np.float32(32768)
            assert np.array_equal(samples, audio.read(saved_run / version["path"]))
            assert version["href"].count("%25") == version["path"].count("%") and "#" not in version["href"] and "?" not in version["href"]
    assert kinds == {"clean", "adversarial", "perturbation", "defended"}


def test_perturbation_says_its_gain(saved_run, page):
    versions = script_of(saved_run, columns(page)["sound"][0])["versions"]
    assert [version["gain"] for version in versions if version["kind"] == "perturbation"] == [53]  # 0.001 * 10 ** (53 / 20) <= 0.5


def test_the_threshold_is_the_masking_models(saved_run, page):
    from speechadv.masking import MaskingModel

    found = script_of(saved_run, columns(page)["sound"][0])
    clean = torch.from_numpy(audio.read(saved_run / found["versions"][0]["path"]))[None]
    expected = MaskingModel().threshold_db(clean)[0].numpy()
    levels = np.frombuffer(base64.b64decode(found["threshold"]), np.uint8).reshape(expected.shape) * 0.5 - 20
    assert np.abs(levels - expected.clip(-20, 107.5)).max() <= 0.251


def test_the_same_page_again_and_no_stale_sound(make_run):
    run = make_run(clips=1, budgets=("snr:20", "snr:30"))
    write_page(run)
    assert (run / "figures" / "security-snr.svg").is_file() and not (run / "figures" / "security-eps.svg").exists()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (run / "page" / "stale.js").write_text("x")
    write_page(run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("loss, words", [("kept", "The sound of 18 of 18 rows was not kept"), ("removed", "Sound files of 18 of 18 rows are missing")])
def test_a_run_without_sound_says_so(make_run, no_figures, loss, words):
    run = make_run(sound=loss == "removed")
    shutil.rmtree(run / "audio", ignore_errors=True)
    page = Elements(write_page(run).read_text(encoding="utf-8"))
    assert any(words in part for part in page.text)
    assert set(columns(page)["sound"]) == {None} and set(columns(page)["silent"]) == {"not kept" if loss == "kept" else "file missing"}


def test_a_single_file_stands_alone(saved_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(saved_run, run)
    page = Elements(write_single_file(run, clips=4).read_text(encoding="utf-8"))
    (policy,) = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert "file:" not in policy and "'self'" not in policy
    inside = [a["id"] for tag, a in page.tags if tag == "script" and a.get("id", "").startswith("sound-")]
    silent = columns(page)["silent"]
    assert len(inside) == 4 and silent.count("not in this file") == columns(page)["sound"].count(None) > 0
    assert all(a["src"].startswith("data:") for tag, a in page.tags if tag == "img")
    links = [a["href"] for tag, a in page.tags if tag == "a" and "href" in a]
    assert all(link.startswith("#") for link in links)


def test_a_single_file_has_an_end(saved_run, run, monkeypatch):
    monkeypatch.setattr("speechadv.report.page.LARGEST", 400_000)
    before = {path: path.stat().st_mtime_ns for path in saved_run.rglob("*")}
    status, printed, err = run("report", saved_run, "--single-file")
    assert status == 2 and printed == "" and len(err.splitlines()) == 1
    clips = int(re.search(r"--single-file --clips (\d+) \(of 12\)", err)[1])
    assert {path: path.stat().st_mtime_ns for path in saved_run.rglob("*")} == before
    single_sounds(SavedRun(saved_run), clips)  # as many fit
    assert run("report", saved_run, "--clips", 3)[0] == 2


def luminance(colour):
    """Of a colour #rrggbb (WCAG 2.1)."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return sum(weight * (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4) for weight, x in zip((0.2126, 0.7152, 0.0722), shares))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast(scheme):
    """Words 4.5 to 1 on every ground, lines of pictures and of controls 3 to 1 (WCAG 2.1, AA)."""
    colours = dict(re.findall(r"--(\S+): (#\w{6});", asset("page.css").split(":root {")[1 + scheme].split("}")[0]))
    needed = [(word, ground, 4.5) for word in ("ink", "soft", "accent", "good", "bad") for ground in ("paper", "panel", "chosen")]
    needed += [("on-accent", "accent", 4.5), ("clip", "paper", 3)]
    for one, other, least in needed:
        low, high = sorted(luminance(colours[name]) + 0.05 for name in (one, other))
        assert high / low >= least, (one, other, high / low)


def test_flags_are_explained(make_run, no_figures):
    run = make_run(clips=1)
    result = json.loads((run / "result.json").read_text())
    every = [{"flag": name, "cell": {"model": "<i>"}, "figure": "3 <4", "page": f"docs/warnings.md#{name}"} for name in explanations()]
    (run / "result.json").write_text(json.dumps(result | {"flags": every}))
    words = " ".join(Elements(write_page(run).read_text(encoding="utf-8")).text)
    assert len(every) >= 12 and "gradients are masked" in words and "3 <4" in words and not any("`" in each for each in explanations().values())


def test_the_command_is_there(make_run, no_figures):
    run = make_run(clips=1)
    assert "speechadv evaluate config.toml --out again" in write_page(run).read_text(encoding="utf-8")
    command = {"attack": "pgd", "options": {"steps": 5, "full": True}, "budget": "snr:30", "defense": "mp3:32", "model": "resnet", "target": None, "seed": 3,
               "files": ["my clip's.wav"], "source": ["a", "b"], "labels": "yes,no", "sample_rate": 8000, "trust": True}
    environment = json.loads((run / "environment.json").read_text()) | {"command": command}
    (run / "environment.json").write_text(json.dumps(environment))
    words = "".join(Elements(write_page(run).read_text(encoding="utf-8")).text)
    assert ("speechadv attack --attack pgd --budget snr:30 --model resnet --seed 3 --untargeted --set steps=5 --set full=true --defense mp3:32 "
            "--source a --source b --labels yes,no --sample-rate 8000 --trust-model-file --out again -- 'my clip'\"'\"'s.wav'") in words


def test_a_folder_of_defend_has_a_page(write_clip, tmp_path, run):
    files = [write_clip(tmp_path / name, seed=seed) for seed, name in enumerate(("a.wav", "<b>&\udcff.wav"))]
    assert run("defend", *files, "--defense", "bandpass:100-4000", "--out", tmp_path / "out")[0] == 0
    status, printed, err = run("report", tmp_path / "out")
    assert (status, err) == (0, "") and "index.html" in printed
    page = Elements((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))
    found = columns(page)
    assert found["defense"] == ["bandpass:100-4000"] * 2 and set(found["outcome"]) == {None} and len(set(found["sound"])) == 2
    assert [version["kind"] for version in script_of(tmp_path / "out", found["sound"][0])["versions"]] == ["clean", "defended"]
    assert any("speechadv defend --defense bandpass:100-4000 --out again --" in part for part in page.text)
    (tmp_path / "out" / "defended.jsonl").write_text('{"file": 3}\n')
    assert "line 1: expected an object with" in run("report", tmp_path / "out")[2]


def test_attack_folders(write_clip, tmp_path, run, tiny_weights):
    """Also of an odd name, and of a clip that is heard as the target from the start."""
    clip = write_clip(tmp_path / "odd \udcff # %.wav", "yes")
    for target, rows in (("no", 1), ("yes", 0)):
        out = tmp_path / target
        assert run("attack", clip, "--target", target, "--budget", "snr:10", "--steps", 2, "--model", tiny_weights, "--out", out)[0] == 0
        status, _, err = run("report", out, "--single-file", "--quiet")
        assert (status, err) == (0, "")
        page = Elements((out / "single-file.html").read_text(encoding="utf-8"))
        assert json.loads(page.scripts[0])["count"] == rows
        assert any("nothing to attack" in part for part in page.text) == (rows == 0)


def test_no_file_outside_the_run_is_read(make_run):
    run = make_run()
    rows = row_files.read_finished(run / "rows.jsonl")
    row_files.rewrite(run / "rows.jsonl", [row | {"defended_audio": "../../secret.wav"} for row in rows])
    with pytest.raises(InputError, match="outside the run"):
        write_page(run)
    with pytest.raises(InputError, match="no rows.jsonl"):
        write_page(run / "audio")
