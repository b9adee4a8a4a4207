"""The report and the slides in print and on screen. Run by `pytest -m browser`; needs the `browser` extra and a Chromium."""
import os
import shutil

import pytest

pytestmark = pytest.mark.browser
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or "chromium"


def page_count(path):
    from pypdf import PdfReader

    return len(PdfReader(path).pages)


def test_the_report_prints_on_eight_pages_at_most(run, make_run, tmp_path):
    runs = [make_run(f"run{i}", clips=4, sound=i == 0, budgets=[f"linf:0.00{k}" for k in range(1, 8)]) for i in range(7)]
    status, printed, err = run("write-up", *runs, "--out", tmp_path / "r.pdf", "--out", tmp_path / "r.html")
    assert status == 0, err
    assert 3 <= page_count(tmp_path / "r.pdf") <= 8
    assert f"r.pdf, {page_count(tmp_path / 'r.pdf')} pages" in printed


def test_a_slide_is_a_page_and_the_keyboard_turns_them(run, saved_run, tmp_path):
    from playwright.sync_api import sync_playwright

    assert run("write-up", saved_run, "--slides", "--out", tmp_path / "s.pdf", "--out", tmp_path / "s.html")[0] == 0
    assert page_count(tmp_path / "s.pdf") == 7
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, troubles = browser.new_page(viewport={"width": 900, "height": 600}), []
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda problem: troubles.append(str(problem)))
        page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else troubles.append(request.url))
        page.goto((tmp_path / "s.html").as_uri())
        place = lambda: page.inner_text("#place")
        assert place() == "1 / 7" and page.locator(".slide:visible").count() == 1
        for key, then in (("ArrowRight", 2), ("Space", 3), ("PageUp", 2), ("End", 7), ("ArrowRight", 7), ("Home", 1), ("ArrowLeft", 1)):
            page.keyboard.press(key)
            assert place() == f"{then} / 7"
        page.get_by_label("Next slide").click()
        assert place() == "2 / 7"
        for number in range(7):  # nothing is cut off, on no slide
            page.evaluate("number => show(number)", number)
            assert page.evaluate("[...document.querySelectorAll('.now *')].every(e => e.getBoundingClientRect().bottom <= innerHeight + 1)"), number
        assert troubles == []
        browser.close()
