"""HTML to PDF through a headless Chromium from the PATH."""
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..errors import SpeechAdvError, shown

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
SECONDS = 180


def find_chromium() -> str:
    """The browser: what CHROMIUM names, else the first of `NAMES` on the PATH. Raises SpeechAdvError where there is none."""
    named = os.environ.get("CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        where = f"CHROMIUM names '{shown(named)}', which is no program" if named else f"none of {', '.join(NAMES)} is on the PATH"
        raise SpeechAdvError(f"a PDF needs Chromium: {where}; install it (Debian: apt install chromium) or write .html and print it from a browser")
    return found


def to_pdf(page: str) -> bytes:
    """A page of HTML that needs nothing beside it, printed as its style sheet says. Raises SpeechAdvError."""
    browser = find_chromium()
    with tempfile.TemporaryDirectory(prefix="speechadv-") as folder:
        source, target = Path(folder, "page.html"), Path(folder, "page.pdf")
        source.write_text(page, encoding="utf-8")
        words = [browser, "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions", f"--user-data-dir={folder}/profile",
                 "--no-pdf-header-footer", f"--print-to-pdf={target}", source.as_uri()]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            words.insert(1, "--no-sandbox")  # Chromium's sandbox refuses root
        try:
            done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=SECONDS)
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise SpeechAdvError(f"'{shown(browser)}' could not print: {type(problem).__name__}") from None
        if not target.is_file():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise SpeechAdvError(f"'{shown(browser)}' printed nothing (exit status {done.returncode}): {shown(last)[:200]}")
        return target.read_bytes()


def pages(pdf: bytes) -> int:
    """How many pages a PDF of Chromium has: its page objects stand uncompressed in the file."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))
