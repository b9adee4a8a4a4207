"""The listening page of a run: RUN/index.html, opened from disk, offline. Made from the run's files; `page/` and `figures/` beside it are made with it."""
import base64
import hashlib
import html
import importlib.resources
import json
import re
import shutil
from pathlib import Path
from typing import Any, Sequence

from .. import audio
from ..audio import write_bytes
from ..errors import InputError, shown
from . import figures
from .saved import SavedRun, has_sound, outcome
from .style import save
from .tables import cells_of_line, heads

KEYS = ("label", "target", "model", "defense", "attack", "threat", "budget", "seed", "clip", "clean_prediction", "adversarial_prediction", "snr_db", "linf",
        "masking_excess_db")  # of a row, as the page gets them, before `outcome` and `sound`
OPTIONAL_COLUMNS = ("model", "defense", "attack", "threat", "budget", "seed", "target")  # not shown where every row has the same
SCRIPTS = ("player.js", "table.js", "main.js")
SOUNDS = "page"  # the folder of the scripts that hold the sound
SYNTHETIC = "The clips of this run are spoken by synthetic voices (the package's bundled clips), not by people."
PICTURES = {  # figure: (suffix, what it shows)
    "success": (".svg", "How often each defended network was fooled, by the kind of attack; bars with 95 % Wilson intervals. The numbers stand in the table above."),
    "security": (".svg", "How the rate moves with the budget or the bitrate; bands are 95 % Wilson intervals. The numbers stand in the table above."),
    "spectrograms": (".png", "Spectrograms of one clip: clean, adversarial, and their difference, in one colour scale."),
    "masking": (".svg", "Spectrum of the perturbation of the same clip beside the masking threshold, in the frame where it comes nearest to it."),
}


def write_page(folder: str | Path) -> Path:
    """Write the page of a run again, with its figures and the scripts that hold its sound.

    Args:
        folder: a run with rows.jsonl and result.json.

    Returns:
        The path of index.html.

    Raises:
        InputError: the folder is no run, or a file that a row names is missing.
    """
    run = SavedRun(Path(folder))
    sounds = write_sounds(run)
    values = {
        "title": text(f"speechadv: {run.folder.resolve().name}"),
        "summary": text(summary(run)),
        "notices": "\n".join(notices(run)),
        "results": results_table(run),
        "figures": figure_section(run),
        "about": about(run),
        "data": as_data(page_data(run, sounds)),
        "style": asset("page.css"),
        "script": (script := "\n".join(asset(name) for name in SCRIPTS)),
        "script_hash": "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
    }
    # One pass: what is put in is never looked at again, whatever it holds.
    page = re.sub(r"\{\{(\w+)\}\}", lambda hole: values[hole[1]], asset("page.html"))
    write_bytes(run.folder / "index.html", page.encode("utf-8"))
    return run.folder / "index.html"


def asset(name: str) -> str:
    """The text of a file in assets/."""
    return (importlib.resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")


def text(thing: object) -> str:
    """Foreign text as HTML text or attribute: markup escaped, control characters shown."""
    return html.escape(shown(thing))


def as_data(content: Any) -> str:
    """JSON that cannot leave its <script> element: no `<` in it."""
    return json.dumps(content, ensure_ascii=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def write_sounds(run: SavedRun) -> dict[str, list[dict[str, Any]]]:
    """Write page/ID.js for each adversarial clip: all versions that some row names, 16-bit samples in base64.

    Returns:
        For each ID the versions in the order of the script: kind, name, path, gain (dB, None where not amplified), defense.
    """
    folder = run.folder / SOUNDS
    shutil.rmtree(folder, ignore_errors=True)
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in run.rows:
        if has_sound(row):
            groups.setdefault(row["adversarial_audio"], []).append(row)
    if groups:
        folder.mkdir()
    index = {}
    for path, rows in groups.items():
        name, found = sound_id(path), versions(rows)
        index[name] = found
        content = json.dumps([samples_of(run, version["path"]) for version in found])
        write_bytes(folder / f"{name}.js", f'(window.speechadv = window.speechadv || {{}})["{name}"] = {content};\n'.encode("ascii"))
    return index


def sound_id(path: str) -> str:
    """The ID of an adversarial clip, from its path: letters and digits alone."""
    return hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def versions(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The versions of one adversarial clip that its rows name: clean, adversarial, perturbation, and after each defense once."""
    first = rows[0]
    found = [{"kind": "clean", "name": "clean", "path": first["clean_audio"]}, {"kind": "adversarial", "name": "adversarial", "path": first["adversarial_audio"]}]
    if first["perturbation_audio"]:
        found.append({"kind": "perturbation", "name": "perturbation", "path": first["perturbation_audio"], "gain": first["perturbation_gain_db"]})
    behind = {row["defense"]: row["defended_audio"] for row in reversed(rows) if row["defended_audio"]}
    found += [{"kind": "defended", "name": f"after {shown(defense)}", "path": path, "defense": defense} for defense, path in reversed(behind.items())]
    return [{"gain": None, "defense": None} | version for version in found]


def samples_of(run: SavedRun, path: str) -> str:
    """The 16-bit samples of a sound file, little-endian, in base64. Raises InputError."""
    return base64.b64encode(audio.to_pcm16(run.sound(path)).astype("<i2").tobytes()).decode("ascii")


def page_data(run: SavedRun, sounds: dict[str, Any]) -> dict[str, Any]:
    """What the scripts of the page get: a list of values a row, the versions of each sound, and which columns say nothing."""
    rows = [[row[key] for key in KEYS] + [outcome(row), sound_id(row["adversarial_audio"]) if has_sound(row) else None] for row in run.rows]
    constant = [key for key in OPTIONAL_COLUMNS if len({row[key] for row in run.rows}) <= 1]
    first = next((number for number, row in enumerate(run.rows) if has_sound(row) and outcome(row) in ("target heard", "other word heard")), 0)
    return {"keys": [*KEYS, "outcome", "sound"], "rows": rows, "sounds": sounds, "constant": constant, "first": first}


def summary(run: SavedRun) -> str:
    """One sentence: how much of what."""
    counts = {name: len({row[key] for row in run.rows}) for name, key in (("clip", "clip"), ("network", "model"), ("defense", "defense"), ("budget", "budget"))}
    words = ", ".join(f"{number} {name}{'s' if number != 1 else ''}" for name, number in counts.items())
    return f"{len(run.rows)} rows: {words}. Every sound and every verdict is that of the 16-bit files as saved."


def notices(run: SavedRun) -> list[str]:
    """What the reader has to know first."""
    found = []
    if run.environment.get("clips", {}).get("source") == "bundled":
        found.append(f'<p class="notice">{SYNTHETIC}</p>')
    if not run.result.get("finished", True):
        found.append('<p class="notice warn">This run is not finished: the numbers are those of the rows that are there.</p>')
    silent = sum(not has_sound(row) for row in run.rows)
    if silent:
        found.append(f'<p class="notice">The sound of {silent} of {len(run.rows)} rows was not kept; they say so.</p>')
    return found


def results_table(run: SavedRun) -> str:
    """The table of cells, columns that say nothing left out, and the sanity flags."""
    head = heads(run.result.get("goal") == "targeted", run.cells)
    lines = [cells_of_line(cell) for cell in run.cells]
    told = [i for i, name in enumerate(head) if name not in ("attack", "seed", "model", "defense", "budget", "clips") or len({line[i] for line in lines}) > 1]
    parts = ["".join(f'<th scope="col"{number_class(i)}>{text(head[i])}</th>' for i in told)]
    parts += ["".join(f"<td{number_class(i)}>{text(line[i])}</td>" for i in told) for line in lines]
    same = ", ".join(f"{text(head[i])} {text(lines[0][i])}" for i in range(len(head)) if i not in told) if lines else ""
    body = "".join(f"<tr>{part}</tr>" for part in parts[1:])
    table = (f'<div class="scroll-x" role="region" aria-labelledby="results-head" tabindex="0"><table><thead><tr>{parts[0]}</tr></thead><tbody>{body}</tbody></table></div>')
    note = ('<p class="facts">Rates in percent with 95 % Wilson intervals. Clean and robust accuracy are over all clips, success over those heard right before the '
            f'attack. Files: <a href="table.csv">table.csv</a>, <a href="table.md">table.md</a>, <a href="result.json">result.json</a>.{" In all lines: " + same + "." if same else ""}</p>')
    return table + note + flag_list(run)


def number_class(column: int) -> str:
    return ' class="number"' if column >= 5 else ""


def flag_list(run: SavedRun) -> str:
    """The sanity flags of the run."""
    flags = run.result.get("flags", [])
    if not flags:
        return ""
    parts = []
    for name in dict.fromkeys(flag["flag"] for flag in flags):
        those = [flag for flag in flags if flag["flag"] == name]
        items = "".join(f"<li>{text(', '.join(str(value) for value in flag['cell'].values()))}: {text(flag['figure'])}</li>" for flag in those)
        parts.append(f"<details><summary><strong>{text(name)}</strong> in {len(those)} cell{'s' if len(those) > 1 else ''}; see {text(those[0]['page'])}</summary><ul>{items}</ul></details>")
    return f"<h3>Sanity flags</h3>{''.join(parts)}"


def figure_section(run: SavedRun) -> str:
    """The figures that this run has something for, drawn into figures/."""
    parts = []
    for kind, (suffix, caption) in PICTURES.items():
        try:
            save(figures.draw(kind, run.folder), run.folder / "figures" / f"{kind}{suffix}")
        except InputError:  # the run lacks what this figure needs
            (run.folder / "figures" / f"{kind}{suffix}").unlink(missing_ok=True)
            continue
        parts.append(f'<figure><img src="figures/{kind}{suffix}" alt="{text(caption)}" loading="lazy"><figcaption>{text(caption)}</figcaption></figure>')
    return f'<section aria-labelledby="figures-head"><h2 id="figures-head">Figures</h2>{"".join(parts)}</section>' if parts else ""


def about(run: SavedRun) -> str:
    """How to make the run again, and what it was made with."""
    facts = [("speechadv", run.environment.get("speechadv")), ("code", revision(run.environment.get("git"))), ("python", run.environment.get("python"))]
    facts += list(run.environment.get("packages", {}).items()) + [("seeds", ", ".join(map(str, run.environment.get("seeds", []))))]
    items = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts if value)
    return (f"<p>The same run again, from its config:</p><pre><code>speechadv evaluate config.toml --out again</code></pre>"
            f"<details><summary>config.toml</summary><pre><code>{multiline(run.config_text)}</code></pre></details><details><summary>Versions</summary><dl>{items}</dl></details>")


def multiline(content: str) -> str:
    """Foreign text of several lines."""
    return "\n".join(text(line) for line in content.split("\n"))


def revision(git: dict[str, Any] | None) -> str | None:
    return None if not git else git["revision"] + (" with changes" if git["changed"] else "")
