"""The listening page of a run: RUN/index.html, opened from disk, offline. Made from the run's files; `page/` and `figures/` beside it are made with it."""
import base64
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any, Iterable

from ..audio import write_bytes
from ..errors import InputError, shown
from .assets import asset
from .listing import page_data
from .saved import DEFENDED, Saved, SavedDefense, SavedRun
from .sections import about_defense, about_run, figure_section, notices, results_table, silences, summary, text
from .sounds import Sounds, contents, size, sounds_of

SCRIPTS = ("spectrum.js", "sound.js", "player.js", "pictures.js", "table.js", "filters.js", "heard.js", "matrix.js", "abx.js", "main.js")
FOLDER = "page"  # of the scripts that hold the sound
PAGE, SINGLE = "index.html", "single-file.html"
LARGEST = 200_000_000  # bytes of a single file: browsers need seconds to open a larger one


def write_page(folder: str | Path) -> Path:
    """Write the page of a run again, with its figures and the scripts that hold its sound.

    Args:
        folder: with the rows of `evaluate`, `demo` or `attack` and result.json, or with the files of `defend`.

    Returns:
        The path of index.html.

    Raises:
        InputError: the folder is no run, or a file that a row names lies outside of it or is broken.
    """
    saved = open_saved(Path(folder))
    sounds = sounds_of(saved)
    write_scripts(saved, sounds)
    return write_html(saved, sounds, PAGE, [])


def write_single_file(folder: str | Path, clips: int | None = None) -> Path:
    """Write the page once more, as one file with figures and sound inside.

    Args:
        folder: as for `write_page`.
        clips: keep the sound of so many adversarial clips at most, spread evenly over the run.

    Returns:
        The path of single-file.html.

    Raises:
        InputError: the same, or the file would be larger than 200 MB; nothing is written then.
    """
    saved = open_saved(Path(folder))
    sounds = single_sounds(saved, clips)
    parts = [f'<script type="application/json" id="sound-{name}">{content}</script>' for name, content in contents(saved, sounds)]
    return write_html(saved, sounds, SINGLE, parts)


def open_saved(folder: Path) -> Saved:
    """What the folder holds. Raises InputError where that is nothing that a page is made of."""
    return SavedDefense(folder) if (folder / DEFENDED).is_file() else SavedRun(folder)


def single_sounds(saved: Saved, clips: int | None) -> Sounds:
    """The sound that goes into the one file. Raises InputError where it would be larger than 200 MB: the message says how many clips fit."""
    sounds = sounds_of(saved)
    sounds = sounds.thinned(clips) if clips is not None else sounds
    sizes = [size(saved, rows) for rows in sounds.groups.values()]
    total = sum(sizes) + 500 * len(saved.rows)
    if total > LARGEST:
        fit = int(len(sizes) * (LARGEST - 500 * len(saved.rows)) / (total * 1.02)) if sizes else 0
        raise InputError(f"'{shown(saved.folder)}': a single file would hold {total / 1e6:.0f} MB, more than {LARGEST / 1e6:.0f} MB; "
                         f"keep the sound of fewer clips: --single-file --clips {max(1, fit)} (of {len(sizes)})")
    return sounds


def write_scripts(saved: Saved, sounds: Sounds) -> None:
    """Write page/ID.js for each adversarial clip; what was there before is removed."""
    folder = saved.folder / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    if sounds.groups:
        folder.mkdir()
    for name, content in contents(saved, sounds):
        write_bytes(folder / f"{name}.js", f'(window.speechadv = window.speechadv || {{}})["{name}"] = {content};\n'.encode("ascii"), synced=False)


def write_html(saved: Saved, sounds: Sounds, name: str, inside: Iterable[str]) -> Path:
    """Fill the template. `inside` are the elements that hold the sound of a single file; without any the sound is loaded from page/."""
    single = name == SINGLE
    script = "\n".join(asset(file) for file in SCRIPTS)
    digest = "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    values = {
        "title": text(f"speechadv: {saved.folder.resolve().name}"),
        "policy": policy(digest, single),
        "data": as_data(page_data(saved.rows, sounds) | {"single": single}),
        "sounds": "\n".join(inside),
        "files": "" if single else '<p>The sound files lie in <a href="audio/">audio/</a>, the rows in <a href="rows.jsonl">rows.jsonl</a>.</p>',
        "style": asset("page.css"),
        "script": script,
    } | (defense_parts(saved, sounds) if isinstance(saved, SavedDefense) else run_parts(saved, sounds, single))
    # One pass: what is put in is never looked at again, whatever it holds.
    page = re.sub(r"\{\{(\w+)\}\}", lambda hole: values[hole[1]], asset("page.html"))
    write_bytes(saved.folder / name, page.encode("utf-8"))
    return saved.folder / name


def policy(script: str, single: bool) -> str:
    """What the page may load: nothing, but its own script, and from its own folder the sound and the figures."""
    beside = "" if single else " file: 'self'"
    return (f"default-src 'none'; script-src '{script}'{beside}; style-src 'unsafe-inline'; media-src data: blob:{beside}; img-src data:{beside}; "
            "base-uri 'none'; form-action 'none'")


def run_parts(run: SavedRun, sounds: Sounds, single: bool) -> dict[str, str]:
    """The parts of the page of an evaluation, a demo or an attack."""
    results = f'<section id="results" aria-labelledby="results-head"><h2 id="results-head">Results</h2>{results_table(run, not single)}</section>' if run.rows else ""
    return {"summary": text(summary(run)), "notices": notices(run, sounds), "results": results, "figures": figure_section(run, single) if run.rows else "", "about": about_run(run)}


def defense_parts(saved: SavedDefense, sounds: Sounds) -> dict[str, str]:
    """The parts of the page of `speechadv defend`."""
    number, names = len(saved.rows), ", ".join(dict.fromkeys(row["defense"] for row in saved.rows))
    words = f"{number} file{'s' if number != 1 else ''} sent through {names}. SNR is the file's level over that of what the defense changed."
    return {"summary": text(words), "notices": "\n".join(silences(sounds)), "results": "", "figures": "", "about": about_defense(saved)}


def as_data(content: Any) -> str:
    """JSON that cannot leave its <script> element: no `<` in it."""
    return json.dumps(content, ensure_ascii=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
