"""Measure what docs/theory.md says of our networks: see README.md beside this file."""
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _evaluating import evaluation_recipe, numbers, seed_of, settle

FOLDER = Path(__file__).resolve().parent
DOCUMENT = FOLDER.parents[1] / "docs/theory.md"
QUICK = ["clips=8", "attacks=[{name='fmn', steps=20}, {name='ensemble', steps=4, targets=1, queries=10}]", "audio='all'"]
MEASURED = "theory.jsonl"


def measured(out: Path) -> dict[str, str]:
    """The passages, from the run and from what was measured of its clips (kept in theory.jsonl, so that they can be written again)."""
    from measure import of_clips, of_sounds
    from printed import passages

    from speechadv.evaluation.clips import load_clips
    from speechadv.evaluation.folder import read_config
    from speechadv.report.saved import SavedRun, read_lines

    config, run = read_config(out), SavedRun(out)
    if not (out / MEASURED).exists():
        clips = load_clips(config, 16000)
        lines = [{"of": "clip"} | clip for model in config.models for clip in of_clips(model, clips)]
        lines += [{"of": "sound"} | sound for sound in of_sounds(run, "ensemble")]
        (out / MEASURED).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    lines = read_lines(out / MEASURED)
    return passages(run.rows, [line for line in lines if line["of"] == "clip"], [line for line in lines if line["of"] == "sound"], config.models)


def as_markdown(found: dict[str, str]) -> str:
    """All passages, between the marks by which docs/theory.md finds them."""
    return "\n".join(marked(name, content) for name, content in found.items())


def marked(name: str, content: str) -> str:
    return f"<!-- measured: {name} -->\n{content}\n<!-- end -->\n"


def put_into(document: str, found: dict[str, str]) -> str:
    """A document with its measured passages replaced."""
    for name, content in found.items():
        document, count = re.subn(rf"<!-- measured: {name} -->\n.*?<!-- end -->\n", lambda _: marked(name, content), document, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{DOCUMENT.name}: expected one passage <!-- measured: {name} -->, found {count}")
    return document


def recipe() -> click.Command:
    """The evaluation recipe, which then measures and prints; with --write-docs it puts what it printed into docs/theory.md."""
    command = evaluation_recipe(FOLDER, QUICK)
    run_it = command.callback

    @click.pass_context
    def with_measures(context, write_docs, check, record, **options):
        out, is_quick = options["out"], options["is_quick"]
        context.invoke(run_it, **options, check=False, record=False)
        text = as_markdown(found := measured(out))
        (out / "theory.md").write_text(text, encoding="utf-8")
        click.echo(text)
        if write_docs:
            DOCUMENT.write_text(put_into(DOCUMENT.read_text(encoding="utf-8"), found), encoding="utf-8")
        settle(FOLDER, numbers(out), quick=is_quick, record=record, check=check, seed=seed_of(out))

    command.callback = with_measures
    command.params.append(click.Option(["--write-docs"], is_flag=True, help="Put the measured passages into docs/theory.md."))
    return command


if __name__ == "__main__":
    recipe()()
