"""The parts of the page that need no script: numbers, flags with what they mean, figures, and how the run was made. All foreign text is escaped."""
import base64
import html
import json
import re
import shlex
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import InputError, shown
from . import figures
from .assets import asset
from .saved import SavedDefense, SavedRun
from .sounds import LEFT_OUT, MISSING, NOT_KEPT, Sounds
from .style import save
from .tables import cells_of_line, heads

SYNTHETIC = "The clips of this run are spoken by synthetic voices (the package's bundled clips), not by people."
ALWAYS_TOLD = ("threat", "right")  # columns of the results that stay though all lines agree
SECURITY = "How the rate moves with {}; bands are 95 % Wilson intervals. The numbers stand in the table of results."
PICTURES = {  # the figure's file: (kind, what it runs over, what it shows)
    "success.svg": ("success", None, "How often each defended network was fooled, by the kind of attack; bars with 95 % Wilson intervals. The numbers stand in the "
                                     "table of results."),
    "security-eps.svg": ("security", "eps", SECURITY.format("the L-infinity budget")),
    "security-snr.svg": ("security", "snr", SECURITY.format("the least signal-to-noise ratio")),
    "security-margin.svg": ("security", "margin", SECURITY.format("the margin over the masking threshold")),
    "security-bitrate.svg": ("security", "bitrate", SECURITY.format("the MP3 bitrate")),
    "queries.svg": ("queries", None, "How the share of successes of black-box attacks grows with the queries spent on a clip; bands are 95 % Wilson intervals."),
    "minimum.svg": ("minimum", None, "How often the smallest perturbation that was found leaves at least this SNR; bands are 95 % Wilson intervals."),
    "spectrograms.png": ("spectrograms", None, "Spectrograms of one clip: clean, adversarial, and their difference, in one colour scale."),
    "masking.svg": ("masking", None, "Spectrum of the perturbation of the same clip beside the masking threshold, in the frame where it comes nearest to it."),
}
TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


def text(thing: object) -> str:
    """Foreign text as HTML text or attribute: markup escaped, control characters shown."""
    return html.escape(shown(thing))


def summary(run: SavedRun) -> str:
    """One sentence: how much of what."""
    counts = {name: len({row[key] for row in run.rows}) for name, key in (("clip", "clip"), ("network", "model"), ("defense", "defense"), ("budget", "budget"))}
    words = ", ".join(f"{number} {name}{'s' if number != 1 else ''}" for name, number in counts.items())
    return f"{len(run.rows)} row{'s' if len(run.rows) != 1 else ''}: {words}. Every sound and every verdict is that of the 16-bit files as saved."


def notices(run: SavedRun, sounds: Sounds) -> str:
    """What the reader has to know first."""
    found = []
    if run.environment.get("clips", {}).get("source") == "bundled":
        found.append(notice(SYNTHETIC))
    if not run.rows:
        found.append(notice("No row: every clip was heard as the target from the start, so there was nothing to attack.", "warn"))
    elif not run.result.get("finished", True):
        found.append(notice("This run is not finished: the numbers are those of the rows that are there.", "warn"))
    return "\n".join(found + silences(sounds))


def silences(sounds: Sounds) -> list[str]:
    """Of how many rows there is nothing to play, and why."""
    said = {NOT_KEPT: "The sound of {} rows was not kept (audio in the config says which is).", MISSING: "Sound files of {} rows are missing.",
            LEFT_OUT: "This file holds no sound of {} rows (--clips)."}
    counts = {why: sounds.silent.count(why) for why in said}
    return [notice(said[why].format(f"{count} of {len(sounds.ids)}") + " Their lines in the table say so.") for why, count in counts.items() if count]


def notice(words: str, kind: str = "") -> str:
    return f'<p class="notice {kind}">{text(words)}</p>'


def results_table(run: SavedRun, links: bool) -> str:
    """The table of cells, columns that say nothing left out, and the sanity flags. `links`: the run's other files lie beside the page."""
    head = heads(run.result.get("goal") == "targeted", run.cells)
    lines = [cells_of_line(cell) for cell in run.cells]
    told = [i for i, name in enumerate(head) if name in ALWAYS_TOLD or len({line[i] for line in lines}) > 1]
    parts = ["".join(f'<th scope="col"{number_class(i)}>{text(head[i])}</th>' for i in told)]
    parts += ["".join(f"<td{number_class(i)}>{text(line[i])}</td>" for i in told) for line in lines]
    same = ", ".join(f"{text(head[i])} {text(lines[0][i])}" for i in range(len(head)) if i not in told) if lines else ""
    body = "".join(f"<tr>{part}</tr>" for part in parts[1:])
    table = f'<div class="scroll-x" role="region" aria-labelledby="results-head" tabindex="0"><table><thead><tr>{parts[0]}</tr></thead><tbody>{body}</tbody></table></div>'
    files = " Files: " + ", ".join(f'<a href="{name}">{name}</a>' for name in ("table.csv", "table.md", "result.json")) + "." if links else ""
    note = ('<p class="facts">Rates in percent with 95 % Wilson intervals. Clean and robust accuracy are over all clips, success over those heard right before the '
            f'attack.{files}{" In all lines: " + same + "." if same else ""}</p>')
    return table + note + flag_list(run)


def number_class(column: int) -> str:
    return ' class="number"' if column >= 5 else ""


def flag_list(run: SavedRun) -> str:
    """The sanity flags of the run, each with its figures and what it means."""
    flags = run.result.get("flags", [])
    parts = []
    for name in dict.fromkeys(flag["flag"] for flag in flags):
        those = [flag for flag in flags if flag["flag"] == name]
        items = "".join(f"<li>{text(', '.join(str(value) for value in flag['cell'].values()))}: {text(flag['figure'])}</li>" for flag in those)
        meaning = explanations().get(name, f"<p>See {text(those[0]['page'])}.</p>")
        parts.append(f'<details class="flag"><summary><strong>{text(name)}</strong> in {len(those)} cell{"s" if len(those) > 1 else ""}</summary>{meaning}<ul>{items}</ul></details>')
    about = "A flag changes no number; it says where a number may not be trusted." if flags else "No sanity flag was raised."
    return f"<h3>Sanity flags</h3><p class=\"facts\">{about}</p>{''.join(parts)}"


@lru_cache
def explanations() -> dict[str, str]:
    """What each flag means, as HTML: the sections of docs/warnings.md."""
    sections = re.split(r"^## (.+)\n", asset("warnings.md"), flags=re.MULTILINE)[1:]
    return {name: "".join(f"<p>{inline(block)}</p>" for block in re.split(r"\n\s*\n", body.strip())) for name, body in zip(sections[::2], sections[1::2])}


def inline(block: str) -> str:
    """A paragraph of our own Markdown: code, emphasis, and the words of links."""
    block = html.escape(" ".join(block.split()), quote=False)
    for pattern, replacement in ((r"\[([^]]+)\]\([^)]*\)", r"\1"), (r"`([^`]+)`", r"<code>\1</code>"), (r"\*\*([^*]+)\*\*", r"<strong>\1</strong>"),
                                 (r"\*([^*]+)\*", r"<em>\1</em>")):
        block = re.sub(pattern, replacement, block)
    return block


def figure_section(run: SavedRun, inside: bool) -> str:
    """The figures that this run has something for, drawn into figures/; `inside` puts them into the page."""
    parts = []
    for name, (kind, over, caption) in PICTURES.items():
        path = run.folder / "figures" / name
        try:
            save(figures.draw(kind, run.folder, over=over), path)
        except InputError:  # the run lacks what this figure needs
            path.unlink(missing_ok=True)
            continue
        source = f"data:{TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}" if inside else f"figures/{name}"
        parts.append(f'<figure><div class="scroll-x plain" role="region" aria-label="Figure {name}" tabindex="0"><img src="{source}" alt="{text(caption)}" loading="lazy"></div>'
                     f"<figcaption>{text(caption)}</figcaption></figure>")
    return f'<section aria-labelledby="figures-head"><h2 id="figures-head">Figures</h2>{"".join(parts)}</section>' if parts else ""


def about_run(run: SavedRun) -> str:
    """How to make the run again, and what it was made with."""
    return command_again(command_of(run.environment), data_needed(run), elsewhere(run)) + facts_table(run.environment) + config_table(run)


def command_of(environment: dict[str, Any]) -> str:
    """The command that makes a run of such an environment again, ready for a shell in the run's folder (for `attack`: where its files lie)."""
    made = environment.get("command")
    if not isinstance(made, dict):
        return "speechadv evaluate config.toml --out again"
    words = ["speechadv", "attack", "--attack", made["attack"], "--budget", made["budget"], "--model", made["model"], "--seed", str(made["seed"])]
    words += ["--untargeted"] if made["target"] is None else ["--target", made["target"]]
    words += [word for key, value in made["options"].items() for word in ("--set", f"{key}={str(value).lower() if isinstance(value, bool) else value}")]
    words += [word for name in made.get("quality", ()) for word in ("--quality", name)]
    words += [] if made["defense"] == "none" else ["--defense", made["defense"]]
    words += [word for name in made.get("source", ()) for word in ("--source", name)]
    words += [word for key in ("labels", "sample_rate", "at") if key in made for word in ("--" + key.replace("_", "-"), str(made[key]))]
    words += ["--trust-model-file"] if made.get("trust") else []
    return shlex.join([*words, "--out", "again", "--", *made["files"]])


def data_needed(run: SavedRun) -> str:
    """What `SPEECHADV_DATA` must name for the command, in words."""
    clips = run.environment.get("clips", {})
    if not clips or clips.get("source") == "bundled" or run.config.get("data"):
        return ""
    return f"SPEECHADV_DATA must name the same data as then: {clips.get('number')} clips of this split whose SHA-256 is {clips.get('sha256')}."


def elsewhere(run: SavedRun) -> bool:
    """Whether the config names files by where they lay when the run was made."""
    words = [*run.config.get("models", []), *run.config.get("data", [])]
    return any(word != "bundled" and not Path(word).is_absolute() and (":" in word or "/" in word or Path(word).suffix) for word in map(str, words))


def command_again(command: str, more: str = "", moved: bool = False) -> str:
    where = "in this folder" if " evaluate " in command else "where its files lie"
    if moved and " evaluate " in command:
        where = "in the folder that the run was made from, config.toml being this folder's"
    return f"<p>The same again, {where}:</p><pre><code>{text(command)}</code></pre>" + (f'<p class="facts">{text(more)}</p>' if more else "")


def facts_table(environment: dict[str, Any]) -> str:
    """Versions, code, hardware and seeds."""
    facts = [("speechadv", environment.get("speechadv")), ("code", revision(environment.get("git"))), ("python", environment.get("python"))]
    facts += [*environment.get("packages", {}).items(), ("libsndfile", environment.get("libsndfile"))]
    facts += [(key, value) for key, value in environment.get("hardware", {}).items()] + [("seeds", ", ".join(map(str, environment.get("seeds", []))))]
    clips = environment.get("clips", {})
    facts += [("clips", clips.get("number")), ("clips from", clips.get("source")), ("SHA-256 of the clips", clips.get("sha256"))]
    facts += [(f"SHA-256 of {name}", value) for name, value in environment.get("models", {}).items()]
    return f"<details><summary>Versions, machine, seeds</summary>{definitions(facts)}</details>"


def definitions(facts: list[tuple[str, Any]]) -> str:
    """A table of names and values, what is unknown left out."""
    lines = "".join(f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in facts if value not in (None, "", [], {}))
    return f'<div class="scroll-x" role="region" aria-label="Facts" tabindex="0"><table class="facts-table"><tbody>{lines}</tbody></table></div>'


def config_table(run: SavedRun) -> str:
    """What was run, key by key, and config.toml as it stands."""
    facts = [(key, ", ".join(map(plain, value)) if isinstance(value, list) else plain(value)) for key, value in run.config.items()]
    raw = f"<details><summary>config.toml</summary><pre><code>{multiline(run.config_text)}</code></pre></details>"
    return definitions(facts) + raw if run.config_text else ""


def plain(value: Any) -> str:
    """A value of a config for people: words as they are, tables as TOML writes them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {json.dumps(each, ensure_ascii=False)}" for key, each in value.items()) + "}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def about_defense(saved: SavedDefense) -> str:
    """How to send the files through again."""
    made = saved.environment.get("command", {})
    command = shlex.join(["speechadv", "defend", "--defense", made["defense"], "--out", "again", "--", *made["files"]]) if made else ""
    return (command_again(command) if command else "") + facts_table(saved.environment)


def multiline(content: str) -> str:
    """Foreign text of several lines."""
    return "\n".join(text(line) for line in content.split("\n"))


def revision(git: dict[str, Any] | None) -> str | None:
    return None if not git else git["revision"] + (" with changes" if git["changed"] else "")
