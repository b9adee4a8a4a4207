"""The written report: computed sentences, foreign words as text, templates that people edit."""
import json
import re
import sys
from pathlib import Path

import pytest

from speechadv.evaluation import rows as row_files
from speechadv.report import document, pictures, printing, theory
from speechadv.report.tables import percent, write_tables

ROOT = Path(__file__).parents[2]
SECTIONS = ("The question", "Theory of attack and defense", "Data set", "Network and training", "How the implementation changes for the defense",
            "Numerical analysis", "Parameter studies", "Positive and negative results", "Where it fails", "A suggested improvement, and what it gave",
            "Conclusion", "References", "Appendix: commands, versions, seeds")


@pytest.fixture
def drawn_run(make_run):
    """A run without sound."""
    return make_run(sound=False)


@pytest.fixture
def small(drawn_run, monkeypatch):
    """The same where no figure is drawn, for speed."""
    monkeypatch.setattr(pictures, "drawn", lambda *_: iter(()))
    return drawn_run


def test_the_report_has_its_sections_and_its_numbers_are_those_of_the_table(run, small, tmp_path):
    status, printed, err = run("write-up", small, "--out", tmp_path / "deep" / "r.html")
    assert status == 0 and err.startswith("next:\n") and printed == f"{tmp_path / 'deep' / 'r.html'}\n"
    page = (tmp_path / "deep" / "r.html").read_text("utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", page) == list(SECTIONS)
    for line in write_tables(small)["cells"]:
        if line["adaptive"]:
            assert percent(line, "targeted_success").replace(" ", " % ", 1) in page
    assert "How loud, against <em>" in page and "linf:0.001: SNR 31.0 dB" in page
    before = page
    rows = row_files.read_finished(small / "rows.jsonl")
    row_files.rewrite(small / "rows.jsonl", [row | {"adversarial_prediction": "yes"} for row in rows])
    assert run("write-up", small, "--out", tmp_path / "r.html", "--quiet")[0] == 0
    after = (tmp_path / "r.html").read_text("utf-8")
    assert "33.3 % [" in before and "33.3 % [" not in after and "0.0 % [" in after  # nothing is hard-coded


def test_foreign_words_are_text_and_nothing_is_fetched(run, drawn_run, tmp_path):
    run("write-up", drawn_run, "--out", tmp_path / "r.html", "--title", "<b>\x1b[31m & \"me\"")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "<script" not in page and "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page
    assert "<b>" not in page and "\x1b" not in page and r"\x1b[31m" in page
    assert page.count('<img src="data:image/svg+xml;base64,') == 1
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page) and "default-src 'none'" in page


def test_the_same_rows_give_the_same_bytes(run, drawn_run, tmp_path):
    for name in ("r.html", "again.html"):
        run("write-up", drawn_run, "--out", tmp_path / name)
    first, second = ((tmp_path / name).read_text("utf-8").replace("again.html", "r.html") for name in ("r.html", "again.html"))
    assert first == second


def test_slides(run, small, tmp_path):
    status, printed, _ = run("write-up", small, "--slides", "--out", tmp_path / "s.html", "--json")
    page = (tmp_path / "s.html").read_text("utf-8")
    assert status == 0 and json.loads(printed)["slides"] is True
    assert page.count('<section class="slide') == 7 and page.count("<script") == 1
    assert document.script_hash(re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]) in page


def test_own_templates_stand_in_for_the_packages(run, small, tmp_path):
    own = tmp_path / "own"
    assert run("write-up", "--export-templates", own)[0] == 0 and sorted(path.name for path in own.iterdir()) == sorted(document.TEMPLATES)
    for name in set(document.TEMPLATES) - {document.REPORT}:
        (own / name).unlink()
    (own / document.REPORT).write_text((own / document.REPORT).read_text("utf-8").replace("<h2>The question</h2>", "<h2>{{ runs[0].name }} asks</h2>"), "utf-8")
    assert run("write-up", small, "--out", tmp_path / "r.html", "--templates", own)[0] == 0
    assert "<h2>run asks</h2>" in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize("line, told", [("{% if %}", "line 2"), ("{{ nothing }}", "line 2: 'nothing' is undefined"), ("{{ runs[0].__class__ }}", "line 2"),
                                        ("{{ runs[0].verdict(1) }}", "line 2"), ("{% include 'no.jinja' %}", "line 2: no.jinja")])
def test_a_broken_template_is_named_with_its_line(run, small, tmp_path, line, told):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / document.REPORT).write_text(f"first\n{line}\n")
    status, printed, err = run("write-up", small, "--out", tmp_path / "r.html", "--templates", tmp_path / "own")
    assert status == 2 and printed == "" and len(err.splitlines()) == 1 and document.REPORT in err and told in err
    assert not (tmp_path / "r.html").exists()


def test_training_runs_give_their_curve(run, small, tmp_path):
    (tmp_path / "train").mkdir()
    epochs = [{"epoch": epoch, "loss": 1 / epoch, "accuracy": accuracy} for epoch, accuracy in ((1, 0.5), (2, 0.9123), (3, 0.8))]
    (tmp_path / "train" / "history.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    assert run("write-up", small, tmp_path / "train", "--out", tmp_path / "r.html")[0] == 0
    assert "3 epochs; best validation accuracy 91.23 % in epoch 2" in (tmp_path / "r.html").read_text("utf-8")
    status, _, err = run("write-up", tmp_path / "train", "--out", tmp_path / "r2.html")
    assert status == 2 and "at least one run of `speechadv evaluate`" in err


def test_certificates_are_told_with_their_ceiling(run, small, tmp_path, monkeypatch):
    from speechadv.evaluation import certificates

    (tmp_path / "proven").mkdir()
    line = dict(label="yes", model="net", sigma=0.01, n=1000, n0=10, alpha=0.001, ceiling=0.0246, votes=1000, snr_db=30.0)
    heard = (("yes", 0.0246), ("yes", 0.01), ("no", 0.01), (None, None))
    lines = [line | {"clip": f"{i}.wav", "predicted": word, "radius": radius} for i, (word, radius) in enumerate(heard)]
    (tmp_path / "proven" / "certificates.jsonl").write_text("".join(map(certificates.encode, lines)))
    monkeypatch.setattr(pictures, "picture", lambda kind, folder, name, **_: pictures.Picture(kind, name, "half", "drawn", "data:,"))
    assert run("write-up", small, tmp_path / "proven", "--out", tmp_path / "r.html")[0] == 0
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "hears 50.0 % [15.0, 85.0] of 4 clips right and abstains on 1." in page and "2 stand at 0.0246, the most that 1,000 draws can prove" in page


def test_less_goes_in_where_it_does_not_fit(run, make_run, tmp_path, monkeypatch):
    made, small = [], make_run(sound=False, budgets=[f"linf:0.00{k}" for k in range(1, 6)])
    monkeypatch.setattr(pictures, "drawn", lambda *_: iter(()))
    monkeypatch.setattr(document, "to_pdf", lambda page: made.append(page) or b"/Type /Page\n" * (9 if len(made) < 3 else 8))
    status, printed, err = run("write-up", small, "--out", tmp_path / "r.html", "--out", tmp_path / "r.pdf")
    assert status == 0 and "r.pdf, 8 pages" in printed and "were cut" in err
    assert len(made) == 3 and len(made[2]) < len(made[0]) and (tmp_path / "r.html").read_text("utf-8") == made[2]


def test_without_chromium_the_message_says_what_to_install(run, small, tmp_path, monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    status, _, err = run("write-up", small, "--out", tmp_path / "r.pdf")
    assert status == 2 and "a PDF needs Chromium" in err and "apt install chromium" in err and not (tmp_path / "r.pdf").exists()


@pytest.mark.parametrize("package", ["jinja2", "markdown_it"])
def test_without_the_extra_the_message_names_it(run, small, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    status, _, err = run("write-up", small, "--out", tmp_path / "r.html")
    assert status == 2 and "pip install 'speechadv[write-up]'" in err


def test_pages_are_counted():
    assert printing.pages(b"<</Type /Page\n/Parent>> <</Type /Pages /Count 2>> <</Type/Page/X>>") == 2


def test_theory_in_the_package_is_the_document():
    assert theory.theory_text() == (ROOT / "docs/theory.md").read_text("utf-8")
    assert set(theory.passages(theory.theory_text())) >= {"attack", "linearity", "codec", "training", "certificate", "references"}


def test_markdown_shows_html_as_text():
    page = theory.as_html("a <script>b</script> [c](javascript:d)\n\n| x |\n| --- |\n| y |\n")
    assert "<script" not in page and "href=\"javascript" not in page and "<td>y</td>" in page
