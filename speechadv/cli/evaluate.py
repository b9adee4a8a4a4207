"""speechadv evaluate"""
import json
from pathlib import Path

import click

from .common import Voice, device_option, json_option, out_option, quiet_option, shard_option
from .engines import chosen_engine, engine_options, stopped, tell_failures


@click.command("evaluate", epilog="Example: speechadv evaluate recipes/evaluation_table/config.toml --out runs/table --set clips=100 --workers 2")
@click.argument("config", type=click.Path(path_type=Path))
@out_option
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the config; may be given several times.")
@click.option("--threat", "threats", multiple=True, metavar="THREAT",
              help="Instead of the config's threats: oblivious, adaptive, black-box or transfer, several times; all: the first three, with Square as the "
                   "black box where the config has none.")
@click.option("--corruptions", metavar="NAMES", help="Also hear the clips through everyday damage: all, or names separated by commas (docs/corruptions.md).")
@click.option("--audio", metavar="WHICH", help="Which clips' sound is kept: all, failures (right before, wrong after) or sample:N; the same as --set audio=WHICH.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes on this machine.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads of torch in each process; default: the cores are shared.")
@shard_option
@engine_options
@click.option("--trust-model-file", is_flag=True, help="Load TorchScript or torch.export models: that runs code from the file.")
@device_option
@json_option
@quiet_option
def command(config, out, overrides, audio, threats, workers, threads, shard, engine, address, cores, gpus, trust_model_file, corruptions, device, as_json,
            quiet):
    """Run the grid that CONFIG describes: models x defenses x threats x attacks x budgets x seeds.

    Every adversarial clip is saved, read back and scored from the file. OUT holds rows, sound, tables and a page. A run that was stopped goes on
    when the same command is given again, and ends as if it had not been.
    """
    from .. import config as configs
    from ..evaluation.engine import nursery
    from ..evaluation.settings import EvaluationConfig
    from ..evaluation.shards import parse_shard
    from .common import announce, check_writable, checked_device

    overrides = (*overrides, *([f"corruptions={json.dumps(corruptions.split(','))}"] if corruptions else []))
    overrides += () if audio is None else (f"audio='{audio}'",)
    settings, voice = configs.load(EvaluationConfig, config, overrides), Voice(as_json, quiet)
    part = parse_shard(shard)
    if workers > 1 and engine == "local":
        nursery()  # imports beside what follows
    announce(voice, *settings.models)
    check_writable(out)
    checked_device(device)
    from ..evaluation.cells import under_threats
    from ..evaluation.run import evaluate
    from ..report.tables import cells_of_line, heads

    settings = under_threats(settings, threats) if threats else settings
    try:
        result = evaluate(settings, out, workers=workers, threads=threads, device=device, trust=trust_model_file, bar=voice.bar, notice=voice.notice,
                          engine=chosen_engine(engine, address, cores, gpus, voice, (settings.cores, settings.gpus)), shard=part)
    except KeyboardInterrupt:
        stopped()
    show(voice, heads(settings.targeted, result["cells"]), [cells_of_line(line) for line in result["cells"]], result["flags"], out)
    voice.advise(("a figure", ("plot", "success", out)), ("tables and page again", ("report", out)), ("judge it anew", ("verify", out)),
                 ("a written report", ("write-up", out, "--out", "report.html")), ("hand it on", ("bundle", out, "--out", "run.zip")))
    voice.document(result)
    tell_failures(result.get("failed", 0), "rows", out)


def show(voice: Voice, head: list[str], lines: list[list[str]], flags: list[dict], out: Path) -> None:
    """The table on standard output, and where everything is."""
    from ..errors import shown

    voice.table(head, lines, numbers_from=5, whole=shown(out / "table.md"))
    say_flags(voice, flags)
    if not flags:
        voice.say("no sanity flag was raised")
    page = f"; listen: {shown(out / 'index.html')}" if (out / "index.html").exists() else ""
    voice.say(f"tables: {shown(out / 'table.md')}, table.csv, table.tex{page}")


def say_flags(voice: Voice, flags: list[dict]) -> None:
    """A line a sanity flag; part of the result, whatever is quiet."""
    from ..errors import shown

    for flag in flags:
        voice.say(f"sanity flag {flag['flag']}: {shown(flag['figure'])} ({shown(', '.join(map(str, flag['cell'].values())))}); see {flag['page']}")
