"""The page in headless Chromium, opened from disk. Run by `pytest -m browser`; needs the `browser` extra and a Chromium that CHROMIUM names."""
import os
import shutil
import time

import pytest

pytestmark = pytest.mark.browser
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or "chromium"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--mute-audio"])
        yield running
        running.close()


@pytest.fixture
def opened(browser, saved_run):
    """A page of the run; afterwards it must have logged no error and asked for nothing but files."""
    page, troubles = browser.new_page(), []
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda problem: troubles.append(str(problem)))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else troubles.append(request.url))
    page.goto((saved_run / "index.html").as_uri())
    until(page, "document.getElementById('play').disabled === false")
    yield page
    page.close()
    assert troubles == []


def until(page, condition, seconds=30):
    """Poll: the page's policy forbids what playwright would do to wait."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never true: {condition}"
        time.sleep(0.02)


def test_space_plays_and_pauses_without_scrolling(opened):
    opened.keyboard.press("Space")
    until(opened, "player.playing && player.position() > 0.05")
    assert opened.evaluate("player.context.sampleRate") == 16000
    opened.keyboard.press("Space")
    until(opened, "!player.playing")
    at = opened.evaluate("player.position()")
    assert 0 < at < 0.25 and opened.evaluate("player.position()") == at and opened.evaluate("window.scrollY") == 0
    assert opened.inner_text("#play-word") == "Play"


def test_versions_switch_on_the_running_clock(opened):
    opened.keyboard.press("Space")
    until(opened, "player.playing")
    opened.evaluate("window.began = player.began")
    for key, number in (("2", 1), ("3", 2), ("1", 0)):
        opened.keyboard.press(key)
        assert opened.evaluate("player.current") == number
        until(opened, f"player.voices.every((voice, i) => Math.abs(voice.gain.gain.value - (i === {number} ? 1 : 0)) < 1e-3)")
    assert opened.evaluate("player.playing && player.began === window.began")  # never stopped, never started anew
    assert opened.is_checked("#versions input >> nth=0")
    names = opened.locator(".version .name").all_inner_texts()
    assert names[:3] == ["clean", "adversarial", "perturbation, amplified by 53 dB"] and "after mp3:32" in names


def test_samples_in_the_page_are_those_of_the_file(opened, saved_run):
    from speechadv import audio

    samples = opened.evaluate("[...player.versions[0].buffer.getChannelData(0).slice(0, 50)]")
    path = opened.evaluate("player.versions[0].path")
    assert samples == [float(x) for x in audio.read(saved_run / path)[:50]]


def test_file_links_lead_to_files(opened, saved_run):
    from urllib.parse import unquote

    links = opened.eval_on_selector_all("#files a", "links => links.map(link => link.getAttribute('href'))")
    assert len(links) == 4 and all((saved_run / unquote(link)).is_file() for link in links)


def test_filter_and_sort(opened):
    assert opened.inner_text("#count") == "18 of 18 rows"
    opened.get_by_label("outcome").select_option("still right")
    shown = opened.locator("#grid tbody tr[data-index]")
    assert opened.inner_text("#count") == f"{shown.count()} of 18 rows" and 0 < shown.count() < 18
    assert all("still right" in text for text in shown.all_inner_texts())
    opened.get_by_label("outcome").select_option("")
    opened.get_by_label("SNR at least (dB)").fill("32")
    assert opened.inner_text("#count") == "6 of 18 rows"
    opened.get_by_label("SNR at least (dB)").fill("")
    opened.get_by_label("search").fill("nohash_1")
    assert opened.inner_text("#count") == "6 of 18 rows"
    opened.get_by_label("search").fill("")
    header = opened.get_by_role("button", name="SNR (dB)")
    header.click(), header.click()
    assert opened.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert "32.0" in shown.first.inner_text() and "30.0" in shown.last.inner_text()


def test_keys_choose_in_the_table(opened):
    opened.locator("#grid").focus()
    opened.keyboard.press("ArrowDown")
    assert opened.evaluate("grid.chosen") == 1
    assert opened.evaluate("document.getElementById(grid.table.getAttribute('aria-activedescendant')).getAttribute('aria-selected')") == "true"
    opened.keyboard.press("End")
    assert opened.evaluate("grid.chosen") == 17
    opened.keyboard.press("Enter")
    until(opened, "player.playing")
    opened.keyboard.press("Space")
    until(opened, "!player.playing")
    assert opened.locator("#heard tbody tr").count() == 1


def test_space_is_left_to_fields_and_buttons(opened):
    opened.get_by_label("search").focus()
    opened.keyboard.press("Space")
    assert not opened.evaluate("player.playing") and opened.evaluate("document.activeElement.value") == " "
    opened.locator("#play").focus()
    opened.keyboard.press("Space")
    until(opened, "player.playing")
    opened.locator("#versions input").first.focus()
    opened.keyboard.press("Space")
    until(opened, "!player.playing")


def test_hostile_words_stay_text(opened):
    assert opened.title() == "speechadv: <b>run & 1"
    assert opened.locator("h1 b").count() == 0
    assert "<script>alert('x')</script>" in opened.inner_text("#heard")
    assert opened.locator("script").count() == 3  # data, code, and the sound of the chosen clip


def test_everything_fits_a_phone(browser, saved_run):
    page = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page.goto((saved_run / "index.html").as_uri())
    until(page, "document.getElementById('play').disabled === false")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#grid tbody tr[data-index]").nth(1).click()
    until(page, "player.playing")
    page.close()


def test_without_repeat_it_ends(opened):
    opened.uncheck("#repeat")
    opened.evaluate("window.states = []; player.changed = ((old) => () => { states.push(player.playing); old(); })(player.changed); null")
    opened.locator("#play").click()
    until(opened, "states.length === 2")
    assert opened.evaluate("states") == [True, False] and opened.evaluate("player.position()") == 0


def test_ten_thousand_rows_keep_few_lines(browser, saved_run):
    page = browser.new_page()
    page.goto((saved_run / "index.html").as_uri())
    page.evaluate("while (rows.length < 10000) rows.push({...rows[rows.length % 18]}); grid.update()")
    assert page.inner_text("#count") == "10000 of 10000 rows" and page.locator("#grid tbody tr").count() < 80
    page.locator("#grid").focus()
    page.keyboard.press("End")
    assert page.evaluate("grid.chosen") == 9999 and page.locator("#row-9999").is_visible()
    assert page.get_attribute("#grid", "aria-rowcount") == "10001"
    page.close()
