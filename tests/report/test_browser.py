"""The page in headless Chromium, opened from disk. Run by `pytest -m browser`; needs the `browser` extra and a Chromium that CHROMIUM names."""
import csv
import json
import os
import shutil
import time

import pytest

from speechadv.evaluation import rows as row_files
from speechadv.report.page import write_page
from speechadv.report.saved import SavedRun

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
def open_page(browser):
    """`open_page(file, **choices)`: a page; afterwards it must have logged nothing wrong and asked for nothing but files."""
    pages, troubles = [], []

    def open_file(file, ready="document.getElementById('play').disabled === false", **choices):
        page = browser.new_page(**choices)
        page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda problem: troubles.append(str(problem)))
        page.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else troubles.append(request.url))
        page.goto(file.as_uri())
        until(page, ready)
        pages.append(page)
        return page

    yield open_file
    for page in pages:
        page.close()
    assert troubles == []


@pytest.fixture
def opened(open_page, saved_run):
    """The page of the run."""
    return open_page(saved_run / "index.html")


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

    opened.keyboard.press("Space")
    samples = opened.evaluate("[...player.versions[0].buffer.getChannelData(0).slice(0, 50)]")
    path = opened.evaluate("player.versions[0].path")
    assert samples == [float(x) for x in audio.read(saved_run / path)[:50]]


def test_file_links_lead_to_files(opened, saved_run):
    from urllib.parse import unquote

    links = opened.eval_on_selector_all("#files a", "links => links.map(link => link.getAttribute('href'))")
    assert all("a%25b%23c%3Fd" in link for link in links)
    assert len(links) == 4 and all((saved_run / unquote(link)).is_file() for link in links)


def test_filter_and_sort(opened):
    assert opened.inner_text("#count") == "18 of 18 rows"
    opened.get_by_label("outcome").select_option("✓ still right")
    shown = opened.locator("#grid tbody tr[data-index]")
    assert opened.inner_text("#count") == f"{shown.count()} of 18 rows" and 0 < shown.count() < 18
    assert all("still right" in text for text in shown.all_inner_texts())
    opened.get_by_label("outcome").select_option("")
    opened.get_by_label("SNR at least (dB)").fill("32")
    assert opened.inner_text("#count") == "6 of 18 rows"
    opened.get_by_label("SNR at least (dB)").fill("")
    opened.get_by_label("SNR at most (dB)").fill("30.5")
    assert opened.inner_text("#count") == "6 of 18 rows"
    opened.get_by_label("SNR at most (dB)").fill("")
    opened.get_by_label("defense").select_option("mp3:32")
    opened.get_by_label("threat").select_option("oblivious")
    assert opened.inner_text("#count") == "6 of 18 rows"
    opened.get_by_label("defense").select_option(""), opened.get_by_label("threat").select_option("")
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
    assert opened.locator("script").count() == 2  # data and code
    assert "<script>alert('x')</script> \"50 %\" &amp; 日本語" in opened.inner_text("#about")
    opened.get_by_label("search").fill("日本語")
    assert opened.inner_text("#count") == "18 of 18 rows"


@pytest.mark.parametrize("width, height", [(360, 740), (390, 844), (820, 1180), (1440, 900)])
def test_everything_fits(open_page, saved_run, width, height):
    page = open_page(saved_run / "index.html", viewport={"width": width, "height": height}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#grid tbody tr[data-index]").nth(1).click()
    until(page, "player.playing")
    if width < 720:
        assert not page.is_visible("#mel")
        page.click("#expand")
    for part in ("#wave", "#mel", "#spectrum", "#heard"):
        assert page.is_visible(part)


def test_without_repeat_it_ends(opened):
    opened.uncheck("#repeat")
    opened.evaluate("window.states = []; player.changed = ((old) => () => { states.push(player.playing); old(); })(player.changed); null")
    opened.locator("#play").click()
    until(opened, "states.length === 2")
    assert opened.evaluate("states") == [True, False] and opened.evaluate("player.position()") == 0


def test_pictures_are_drawn_and_redrawn(opened):
    """Something of each colour scheme on every canvas, and a playhead that moves."""
    def pictures():
        return opened.evaluate("['wave', 'mel', 'spectrum'].map((id) => $(id).toDataURL())")

    first = pictures()
    opened.emulate_media(color_scheme="dark")
    until(opened, f"$('wave').toDataURL() !== {first[0]!r}")
    dark = pictures()
    assert all(a != b for a, b in zip(first[::2], dark[::2]))
    opened.get_by_label("Position in seconds").fill("0.1")
    assert abs(opened.evaluate("player.position()") - 0.1) < 1e-6 and all(a != b for a, b in zip(dark[:2], pictures()[:2]))
    assert "masking threshold" in opened.inner_text("#excess")
    opened.get_by_label("Spectrum").select_option("playhead")
    assert opened.inner_text("#excess").startswith("At 0.10 s")


def test_spectra_are_those_of_the_package(opened):
    """Levels as in the masking model, the log-mel spectrogram with torchaudio's filters, to rounding."""
    import numpy as np
    import torch
    from torchaudio.functional import melscale_fbanks

    from speechadv.masking import Spectrum

    wave = np.random.default_rng(0).normal(0, 0.1, 1500).astype(np.float32)
    level, mel = (np.array(opened.evaluate(f"(samples) => [...{name}(Float32Array.from(samples))]", wave.tolist())) for name in ("levels", "logMel"))
    expected = Spectrum().level_db(torch.from_numpy(wave.astype(np.float64))[None])[0].numpy()
    assert np.abs(level.reshape(expected.shape) - expected).max() < 1e-4
    filters = melscale_fbanks(257, 0.0, 8000.0, 64, 16000, norm=None, mel_scale="htk").numpy()
    bands = 10 * np.log10(np.maximum(10 ** ((expected - 96) / 10) @ filters, 1e-20))
    assert np.abs(mel.reshape(bands.shape) - bands).max() < 1e-3


def test_every_control_has_a_name_and_the_keyboard_reaches_it(opened):
    nameless = opened.evaluate("""[...document.querySelectorAll('input, select, button, summary, [tabindex="0"], canvas, img')].filter((element) =>
        !(element.labels?.length || element.textContent.trim() || element.getAttribute('aria-label') || element.getAttribute('aria-labelledby') || element.alt)).length""")
    assert nameless == 0
    assert opened.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(({tagName}) => +tagName[1]).every((level, i, all) => !i || level - all[i - 1] <= 1)")
    opened.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(12):
        opened.keyboard.press("Tab")
        reached.append(opened.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert reached[0] == "Skip to the clips" and {"play", "repeat", "seek"} <= set(reached)
    assert opened.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_space_never_scrolls_and_links_do_not_take_it(opened):
    opened.locator("#parts a").first.focus()
    opened.keyboard.press("Space")
    until(opened, "player.playing")
    opened.get_by_label("Position in seconds").focus()
    opened.keyboard.press("Space")
    until(opened, "!player.playing")
    before = opened.evaluate("window.scrollY")
    opened.keyboard.press("Space")
    until(opened, "player.playing")
    assert opened.evaluate("window.scrollY") == before


def test_what_was_heard_has_probabilities(opened):
    opened.get_by_label("defense").select_option("none")
    cells = opened.locator("#heard tbody tr").first.locator("td").all_inner_texts()
    assert cells[0].startswith("yes 90.0") and "7.0" in cells[0] and cells[1].startswith("no 75.0") and "go 25.0" in cells[1]
    assert "log_spectral_distance_db: <why>" in opened.inner_text("#clip-facts") and "segmental SNR 12.3 dB" in opened.inner_text("#clip-facts")


def test_the_matrix_follows_the_filter(opened):
    assert opened.locator("#matrix tbody td").all_inner_texts() == ["10/18"]
    opened.get_by_label("threat").select_option("oblivious")
    assert opened.locator("#matrix tbody td").all_inner_texts() == ["2/6"]
    rows = [{"label": "a", "target": None, "outcome": outcome, "adversarial_prediction": heard} for outcome, heard in
            (("still right", "a"), ("other word heard", "b"), ("wrong before", "b"), ("still right", "a"))]
    found = opened.evaluate("(rows) => { const m = wordMatrix(rows); return [m.lines, m.heads, [...m.cells.values()]]; }", rows)
    assert found == [["a"], ["a", "b"], [{"hits": 2, "all": 3}, {"hits": 1, "all": 3}]]


def test_a_blind_test_from_start_to_csv(opened, tmp_path, run):
    """By keys alone; the listener is told nothing before the end, and the file says what was answered."""
    opened.get_by_label("trials").fill("13")
    opened.get_by_label("trials").press("Enter")
    until(opened, "abx.running && !$('abx-is-a').disabled")
    opened.keyboard.press("Space")
    until(opened, "abx.player.playing && abx.player.position() > 0.02 && !player.playing")
    for key, number in (("b", 1), ("x", 2), ("a", 0)):
        opened.keyboard.press(key)
        assert opened.evaluate("abx.player.current") == number
    for trial in range(13):
        until(opened, f"abx.test.at === {trial} && !$('abx-is-a').disabled")
        assert opened.evaluate("abx.player.versions.map(({samples}) => samples)").__len__() == 3
        assert opened.evaluate("abx.player.versions['ab'.indexOf(abx.test.trial.x)].samples === abx.player.versions[2].samples")
        right = opened.evaluate("abx.test.trial.x")
        assert not opened.is_visible("#abx-result") and opened.inner_text("#abx-title") == f"Trial {trial + 1} of 13"
        opened.keyboard.press("12"["ab".index(right)] if trial < 10 else "12"["ba".index(right)])
    until(opened, "!abx.running")
    assert opened.inner_text("#abx-verdict") == "10 of 13 right, p = 0.046"
    with opened.expect_download() as waiting:
        opened.click("#abx-download")
    file = tmp_path / "listener.csv"
    waiting.value.save_as(file)
    lines = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    assert list(lines[0]) == ["trial", "a", "b", "x", "answer", "correct"] and len(lines) == 13
    assert {line["x"] for line in lines} <= {"a", "b"} and all({"clean" in line["a"], "clean" in line["b"]} == {True, False} for line in lines)
    status, printed, err = run("abx-summary", file, "--json")
    assert (status, err) == (0, "") and json.loads(printed)["pooled"]["correct"] == 10
    assert json.loads(printed)["pooled"]["p"] == opened.evaluate("guessChance(10, 13)")


def test_a_blind_test_draws_both_and_can_be_given_up(opened):
    drawn = opened.evaluate("Array.from({length: 200}, () => new AbxTest(12, ['1', '2'])).flatMap(({trials}) => trials.map(({clip, swapped, x}) => clip + swapped + x))")
    counts = {kind: drawn.count(kind) for kind in set(drawn)}
    assert len(counts) == 8 and all(200 < count < 400 for count in counts.values())  # 300 each, give or take six standard deviations
    assert opened.evaluate("[guessChance(0, 12), guessChance(12, 12), guessChance(9, 12)]") == [1, 2**-12, 299 / 4096]
    assert opened.evaluate("csvField('a\"b,c')") == '"a""b,c"'
    opened.click("#abx-start")
    until(opened, "abx.running && !$('abx-is-a').disabled")
    opened.click("#abx-stop")
    assert not opened.evaluate("abx.running") and not opened.is_visible("#abx-result") and "no result" in opened.inner_text("#abx-status")


def test_a_single_file_plays_alone(open_page, saved_run, tmp_path):
    from speechadv.report.page import write_single_file

    run = tmp_path / "run"
    shutil.copytree(saved_run, run)
    file = shutil.move(write_single_file(run, clips=6), tmp_path / "alone.html")
    page = open_page(file)
    page.keyboard.press("Space")
    until(page, "player.playing && player.position() > 0.05")
    assert page.locator("img").count() == 4 and page.evaluate("[...document.images].every((image) => image.src.startsWith('data:'))")
    page.get_by_label("sound").select_option("not in this file")
    page.locator("#grid tbody tr[data-index]").first.click()
    assert page.inner_text("#status") == "Nothing to play: sound not in this file." and page.is_disabled("#play")


def test_a_page_of_defend(open_page, write_clip, tmp_path, run):
    clip = write_clip(tmp_path / "<i>yes & no.wav")
    assert run("defend", clip, "--defense", "mp3:32", "--out", tmp_path / "out", "--quiet")[0] == 0 and run("report", tmp_path / "out", "--quiet")[0] == 0
    page = open_page(tmp_path / "out" / "index.html")
    assert page.inner_text("#clip-title") == str(clip) and not page.is_visible("#hearing") and not page.is_visible("#masked")
    assert page.locator(".version .name").all_inner_texts() == ["clean", "after mp3:32"] and not page.is_visible("#words")
    page.keyboard.press("Space")
    until(page, "player.playing && player.position() > 0.05")
    assert page.locator("#abx-pair option").all_inner_texts() == ["clean and after mp3:32"]


def test_without_sound_and_with_missing_scripts(open_page, make_run):
    run = make_run(sound=False)
    write_page(run)
    page = open_page(run / "index.html", ready="rows.length === 18")
    assert page.inner_text("#status") == "Nothing to play: sound not kept." and not page.is_visible("#abx")


def test_ten_thousand_rows_open_in_two_seconds_and_scroll(open_page, make_run, monkeypatch):
    """From the start of loading to the first lines in sight; the best of three, on a machine that does other things too."""
    monkeypatch.setattr("speechadv.report.page.figure_section", lambda run, inside: "")  # their pictures are loaded when they come into sight
    run = make_run()
    rows = SavedRun(run).rows
    row_files.rewrite(run / "rows.jsonl", [rows[i % 18] | {"clip": f"yes/{i}.wav", "snr_db": i / 100} for i in range(10_000)])
    write_page(run)
    seconds = []
    for _ in range(3):
        page = open_page(run / "index.html", ready="grid.view.length === 10000")
        seconds.append(page.evaluate("performance.measure('opened', undefined, 'opened').duration / 1000"))
    print(f"10,000 rows opened in {min(seconds):.2f} s; {(run / 'index.html').stat().st_size / 1e6:.1f} MB")
    assert min(seconds) < 2
    assert page.inner_text("#count") == "10000 of 10000 rows" and page.locator("#grid tbody tr").count() < 80
    page.locator("#grid").focus()
    page.keyboard.press("End")
    assert page.evaluate("grid.chosen") == 9999 and page.locator("#row-9999").is_visible()
    assert page.get_attribute("#grid", "aria-rowcount") == "10001"
    page.evaluate("$('scroller').scrollTop = $('scroller').scrollHeight / 2")
    until(page, "[...document.querySelectorAll('#grid tr[data-index]')].some(({dataset}) => Math.abs(dataset.index - 5000) < 30)")
    page.get_by_role("button", name="SNR (dB)").click(click_count=2)
    assert "99.99" not in page.inner_text("#grid tbody tr[data-index] >> nth=0") and "100.0" in page.inner_text("#grid tbody tr[data-index] >> nth=0")
