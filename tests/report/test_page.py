"""The page as a file: everything escaped, the policy strict, the sound exact."""
import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from speechadv import audio
from speechadv.errors import InputError
from speechadv.report.page import write_page
from speechadv.report.saved import SavedRun


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
    assert len(images) == 4 and all(len(image["alt"]) > 20 for image in images)
    assert ("html", {"lang": "en"}) in page.tags


def test_data_says_what_the_rows_say(saved_run, page):
    data, rows = json.loads(page.scripts[0]), SavedRun(saved_run).rows
    assert [dict(zip(data["keys"], values))["clip"] for values in data["rows"]] == [row["clip"] for row in rows]
    assert dict(zip(data["keys"], data["rows"][0]))["outcome"] == "target heard"
    assert data["first"] == 0 and "attack" in data["constant"] and "budget" not in data["constant"]


def test_scripts_hold_the_saved_samples_exactly(saved_run, page):
    data = json.loads(page.scripts[0])
    assert len(data["sounds"]) == 12  # 3 clips, 2 budgets, crafted on the plain and on the defended network
    kinds = set()
    for name, versions in data["sounds"].items():
        kinds |= {version["kind"] for version in versions}
        content = (saved_run / "page" / f"{name}.js").read_text(encoding="ascii")
        found = json.loads(re.fullmatch(r'\(window\.speechadv = window\.speechadv \|\| \{\}\)\["\w+"\] = (.*);\n', content)[1])
        assert len(found) == len(versions)
        for version, text in zip(versions, found):
            samples = np.frombuffer(base64.b64decode(text), "<i2") / np.float32(32768)
            assert np.array_equal(samples, audio.read(saved_run / version["path"]))
    assert kinds == {"clean", "adversarial", "perturbation", "defended"}


def test_perturbation_says_its_gain(page):
    versions = next(iter(json.loads(page.scripts[0])["sounds"].values()))
    assert [version["gain"] for version in versions if version["kind"] == "perturbation"] == [53]  # 0.001 * 10 ** (53 / 20) <= 0.5


def test_the_same_page_again_and_no_stale_sound(make_run):
    run = make_run(clips=1, budgets=("linf:0.002",))
    write_page(run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (run / "page" / "stale.js").write_text("x")
    write_page(run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_without_sound_says_so(make_run):
    page = Elements(write_page(make_run(sound=False)).read_text(encoding="utf-8"))
    assert any("The sound of 18 of 18 rows was not kept" in part for part in page.text)
    assert all(dict(zip(json.loads(page.scripts[0])["keys"], row))["sound"] is None for row in json.loads(page.scripts[0])["rows"])


def test_no_file_outside_the_run_is_read(make_run):
    from speechadv.evaluation import rows as row_files

    run = make_run()
    rows = row_files.read_finished(run / "rows.jsonl")
    row_files.rewrite(run / "rows.jsonl", [row | {"defended_audio": "../../secret.wav"} for row in rows])
    with pytest.raises(InputError, match="outside the run"):
        write_page(run)
    with pytest.raises(InputError, match="no rows.jsonl"):
        write_page(run / "audio")
