"""The written report and the slides: everything computed from saved runs, put into Jinja2 templates that people can edit."""
import base64
import hashlib
import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from ..audio import write_bytes
from ..errors import ConfigError, InputError, shown
from ..evaluation import certificates as certificate_lines
from ..evaluation.quality import MEASURES
from ..models.pretrained import list_models, read_card, weights_path
from . import pictures, theory
from .findings import Findings, Subject
from .printing import pages, to_pdf
from .saved import history
from .tables import measures, percent

REPORT, SLIDES = "report.html.jinja", "slides.html.jinja"
MOST_PAGES = 8  # of the report in print
CERTIFICATES = "certificates.jsonl"
TEMPLATES = (REPORT, "report.css", SLIDES, "slides.css", "slides.js", "shared.html.jinja")


@dataclass(frozen=True)
class Limits:
    """How much goes in. A report that prints on more than MOST_PAGES pages is made again with less."""

    runs: int  # in detail
    lines: int  # of a table
    columns: int  # budgets
    figures: int
    items: int  # of a list of findings

    def less(self) -> "Limits":
        """About three quarters of everything, never nothing."""
        return Limits(*(max(1, value * 3 // 4) for value in (self.runs, self.lines, self.columns, self.figures, self.items)))


@dataclass(frozen=True)
class Training:
    """A training run: its name and the lines of history.jsonl."""

    folder: Path
    name: str
    history: list[dict[str, Any]]

    @property
    def measures(self) -> list[str]:
        """The validation measures that it kept."""
        return [key for key in dict.fromkeys(key for line in self.history for key in line) if "accuracy" in key]

    def best(self, measure: str) -> dict[str, Any]:
        """The epoch with the highest value of a measure."""
        return max((line for line in self.history if measure in line), key=lambda line: line[measure])


@dataclass(frozen=True)
class Certified:
    """A run of `certify`: what its certificates add up to."""

    folder: Path
    name: str
    summary: dict[str, Any]  # see evaluation.certificates.summary


@dataclass(frozen=True)
class Content:
    """What the templates get, beside `limits` and the pictures."""

    runs: list[Findings]
    trainings: list[Training]
    certified: list[Certified]
    networks: list[dict[str, Any]]  # {"name", "card" or None, "sha256" of the run}
    command: str
    title: str
    theory_runs: list[Findings]  # of recipes/theory: they add what they measured to the theory, and are compared with nothing
    measured: dict[str, str]  # passages that these printed, Markdown

    @property
    def verdicts(self) -> int:
        """How many rows the comparisons rest on."""
        return sum(len(run.rows) for run in self.runs)


def read(folders: Sequence[Path], command: str, title: str) -> Content:
    """Read runs. Raises InputError: one is neither an evaluation nor a training run, or none is an evaluation."""
    runs, trainings, certified, theory_runs, measured = [], [], [], [], {}
    places = [folder.resolve() for folder in folders]
    if twice := next((folder for folder, place in zip(folders, places) if places.count(place) > 1), None):
        raise InputError(f"write-up: expected each run once, got '{shown(twice)}' twice")
    for folder in folders:
        if (folder / "history.jsonl").is_file():
            trainings.append(Training(folder, folder.resolve().name, history(folder / "history.jsonl")))
        elif (folder / CERTIFICATES).is_file():
            certified.append(Certified(folder, folder.resolve().name, certificates(folder / CERTIFICATES)))
        elif (folder / theory.PRINTED).is_file():
            theory_runs.append(Findings(folder))
            measured |= theory.passages((folder / theory.PRINTED).read_text(encoding="utf-8", errors="replace"), theory.MEASURED)
        else:
            runs.append(Findings(folder))
    if not runs:
        raise InputError("write-up: expected at least one run of `speechadv evaluate`, got others alone")
    return Content(runs, trainings, certified, networks(runs), command, title, theory_runs, measured)


def certificates(path: Path) -> dict[str, Any]:
    """What a file of certificates adds up to. Raises InputError."""
    lines = certificate_lines.read(path)
    if not lines:
        raise InputError(f"'{shown(path)}': holds no whole certificate yet; go on with `speechadv certify`")
    return certificate_lines.summary(lines)


def networks(runs: Sequence[Findings]) -> list[dict[str, Any]]:
    """The networks of the runs, with the card where they come with the package."""
    words = dict.fromkeys(subject.model for run in runs for subject in run.subjects)
    prints = {word: digest for run in runs for word, digest in run.environment.get("models", {}).items()}
    return [{"name": word, "card": read_card(weights_path(word)) if word in list_models() else None, "sha256": prints.get(word)} for word in words]


def write(content: Content, outs: Sequence[Path], *, slides: bool = False, templates: Path | None = None) -> dict[str, Any]:
    """Write the report, or the slides, as HTML and PDF.

    Args:
        content: what was read.
        outs: files that end in .html or .pdf.
        slides: the deck instead of the report.
        templates: a folder whose files stand in for the package's of the same name.

    Returns:
        {"pages" (None without a PDF), "shortened": whether less than usual went in so that the report fits its pages}.

    Raises:
        ConfigError: Jinja2 is missing. InputError: a template is broken. SpeechAdvError: no Chromium, or a file cannot be written.
    """
    kinds = {check_suffix(out) for out in outs}
    limits, usual = limits_for(content), limits_for(content)
    page = render(content, limits, slides, templates)
    pdf = to_pdf(page) if ".pdf" in kinds else None
    while pdf and not slides and pages(pdf) > MOST_PAGES and limits.less() != limits:
        limits = limits.less()
        page = render(content, limits, slides, templates)
        pdf = to_pdf(page)
    for out in outs:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(out, pdf if check_suffix(out) == ".pdf" else page.encode("utf-8"))
    return {"pages": pages(pdf) if pdf else None, "shortened": limits != usual}


def check_suffix(out: Path) -> str:
    """".html" or ".pdf". Raises InputError."""
    if out.suffix.lower() not in (".html", ".pdf"):
        raise InputError(f"--out '{shown(out)}': expected a file that ends in .html or .pdf")
    return out.suffix.lower()


def limits_for(content: Content) -> Limits:
    """What fits on the pages: the more runs, the shorter each table."""
    many = len(content.runs)
    return Limits(runs=6, lines=max(5, 40 // many), columns=4, figures=4, items=8)


def render(content: Content, limits: Limits, slides: bool, templates: Path | None) -> str:
    """The page."""
    environment = jinja(templates)
    values = {
        "content": content, "runs": content.runs[: limits.runs], "more_runs": content.runs[limits.runs :], "limits": limits,
        "clip_pictures": pictures.clip_pictures(content.runs), "rate_pictures": pictures.rate_pictures(content.runs, limits.figures),
        "bitrate_pictures": pictures.bitrate_pictures(content.runs, 1),
        "cost_pictures": pictures.cost_pictures(content.runs + content.theory_runs, 2),
        "training_pictures": [pictures.picture("training", run.folder, run.name) for run in content.trainings[: limits.figures]],
        "certified_pictures": [pictures.picture("certified", run.folder, run.name) for run in content.certified[: limits.figures]],
        "theory": theory.passages(theory.theory_text()), "measured": content.measured,
    }
    try:
        return environment.get_template(SLIDES if slides else REPORT).render(values)
    except Exception as problem:
        if where := place_in_template(problem):  # people edit templates: they are told where, not shown a traceback
            raise InputError(f"template {where}: {shown(problem)}") from problem
        raise


def place_in_template(problem: Exception) -> str | None:
    """'FILE', line N of what a template did wrong; None where the problem is none of a template."""
    import traceback

    import jinja2

    if isinstance(problem, jinja2.TemplateSyntaxError):
        return f"'{shown(problem.filename or problem.name)}', line {problem.lineno}"
    places = [frame for frame in traceback.extract_tb(problem.__traceback__) if frame.filename.endswith(".jinja")]
    return f"'{shown(places[-1].filename)}', line {places[-1].lineno}" if places else None


def jinja(templates: Path | None):
    """The environment: everything escaped, names that do not exist are errors, no attribute with an underscore is reached."""
    try:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment
        from markupsafe import Markup
    except ImportError:
        raise ConfigError("write-up needs Jinja2: pip install 'speechadv[write-up]'") from None
    loaders = [jinja2.FileSystemLoader(str(templates))] if templates else []
    loader = jinja2.ChoiceLoader([*loaders, jinja2.FileSystemLoader(str(importlib.resources.files(__package__) / "templates"))])
    environment = ImmutableSandboxedEnvironment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, finalize=visible, trim_blocks=True,
                                                lstrip_blocks=True)
    environment.filters |= {"markdown": lambda text: Markup(theory.as_html(text)), "percent": percent_words, "points": points, "loudness": loudness}
    environment.globals |= {"Subject": Subject, "include_raw": lambda name: Markup(environment.loader.get_source(environment, name)[0]),
                            "script_hash": lambda name: script_hash(environment.loader.get_source(environment, name)[0]), "speech": speech}
    return environment


def visible(value: Any) -> Any:
    """Foreign text with its control characters shown; lines stay lines. Markup is left alone."""
    return "\n".join(map(shown, value.split("\n"))) if type(value) is str else value


def percent_words(line: dict[str, Any], name: str) -> str:
    """"88.2 % [86.0, 90.1] of 960", or a dash."""
    rate, _, interval = percent(line, name).partition(" ")
    return f"{rate} % {interval} of {line['clips_right' if name == 'targeted_success' else 'clips']}" if interval else rate


def loudness(line: dict[str, Any]) -> str:
    """How loud the adversarial clips of a line are, and how they sound, in medians: "SNR 35.1 dB, segmental SNR 7.6 dB"."""
    found = [f"SNR {line['snr_db_median']:.1f} dB"] if line["snr_db_median"] is not None else []
    found += [MEASURES[name].in_words(line[f"{name}_median"]) for name in measures([line]) if line[f"{name}_median"] is not None]
    return ", ".join(found) or "without a level"


def points(after: float, before: float) -> str:
    """A difference of two rates: "+3.1 points"."""
    return f"{100 * (after - before):+.1f} points".replace("-", "−")


def speech(words: Sequence[Any], last: str = "and") -> str:
    """"a, b and c"."""
    words = [str(word) for word in words]
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def script_hash(script: str) -> str:
    """For the page's policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def export(folder: Path) -> list[Path]:
    """Copy the package's templates into a folder, to be edited. Raises SpeechAdvError where one cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    source = importlib.resources.files(__package__) / "templates"
    for name in TEMPLATES:
        write_bytes(folder / name, (source / name).read_bytes())
    return [folder / name for name in TEMPLATES]
