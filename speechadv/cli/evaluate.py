"""speechadv evaluate"""
import json
import shlex
import sys
from pathlib import Path

import click

from ..errors import ConfigError
from .common import Voice, device_option, json_option, out_option, quiet_option, shard_option


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
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="Where rows are made: processes of this machine, or a Ray cluster (docs/cluster.md).")
@click.option("--address", metavar="HOST:PORT", help="Of the Ray cluster; auto for the one that this machine belongs to. Default: this machine alone.")
@click.option("--cores", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Of a task on Ray.")
@click.option("--gpus", type=click.FloatRange(0), default=0.0, show_default=True, help="Of a task on Ray; fractions share a GPU.")
@click.option("--trust-model-file", is_flag=True, help="Load TorchScript or torch.export models: that runs code from the file.")
@device_option
@json_option
@quiet_option
def command(config, out, overrides, audio, threats, workers, threads, shard, engine, address, cores, gpus, trust_model_file, corruptions, device, as_json, quiet):
    """Run the grid that CONFIG describes: models x defenses x threats x attacks x budgets x seeds.

    Every adversarial clip is saved, read back and scored from the file. OUT holds rows, sound, tables and a page. A run that was stopped goes on
    when the same command is given again, and ends as if it had not been.
    """
    from .. import config as configs
    from ..evaluation.settings import EvaluationConfig
    from ..evaluation.shards import parse_shard
    from .common import announce, check_writable, checked_device

    overrides = (*overrides, *([f"corruptions={json.dumps(corruptions.split(','))}"] if corruptions else []))
    overrides += () if audio is None else (f"audio='{audio}'",)
    settings, voice = configs.load(EvaluationConfig, config, overrides), Voice(as_json, quiet)
    part = parse_shard(shard)
    announce(voice, *settings.models)
    check_writable(out)
    checked_device(device)
    from ..errors import shown
    from ..evaluation.cells import under_threats
    from ..evaluation.folder import FAILED
    from ..evaluation.run import evaluate
    from ..report.tables import cells_of_line, heads

    settings = under_threats(settings, threats) if threats else settings
    try:
        result = evaluate(settings, out, workers=workers, threads=threads, device=device, trust=trust_model_file, bar=voice.bar, notice=voice.notice,
                          engine=on_ray(engine, address, cores, gpus, voice), shard=part)
    except KeyboardInterrupt:
        again = ["speechadv", "evaluate", str(config), "--out", str(out), *(word for override in overrides for word in ("--set", override)),
                 *(word for threat in threats for word in ("--threat", threat)), *(["--shard", shard] if shard else [])]
        click.echo(f"stopped; what is finished is kept. Go on with: {shlex.join(again)}", err=True)
        sys.exit(130)
    show(voice, heads(settings.targeted, result["cells"]), [cells_of_line(line) for line in result["cells"]], result["flags"], out)
    voice.advise(("a figure", ("plot", "success", out)), ("tables and page again", ("report", out)), ("judge it anew", ("verify", out)),
                 ("a written report", ("write-up", out, "--out", "report.html")), ("hand it on", ("bundle", out, "--out", "run.zip")))
    voice.document(result)
    if result.get("failed"):
        click.echo(f"{result['failed']} rows failed: {shown(out / FAILED)} says why; the same command tries them again", err=True)
        sys.exit(1)


def on_ray(engine: str, address: str | None, cores: float, gpus: float, voice: Voice):
    """The engine, or None for this machine's processes. Raises ConfigError: an address without Ray, or no cluster there."""
    if engine == "local":
        if address is not None:
            raise ConfigError("--address: belongs to --engine ray")
        return None
    from ..evaluation.cluster import OnRay, imported

    imported()
    return OnRay(address, cores, gpus, voice.notice)


def show(voice: Voice, head: list[str], lines: list[list[str]], flags: list[dict], out: Path) -> None:
    """The table on standard output, and where everything is."""
    from ..errors import shown

    voice.table(head, lines, numbers_from=5, whole=shown(out / "table.md"))
    say_flags(voice, flags)
    if not flags:
        voice.say("no sanity flag was raised")
    voice.say(f"tables: {shown(out / 'table.md')}, table.csv, table.tex; listen: {shown(out / 'index.html')}")


def say_flags(voice: Voice, flags: list[dict]) -> None:
    """A line a sanity flag; part of the result, whatever is quiet."""
    from ..errors import shown

    for flag in flags:
        voice.say(f"sanity flag {flag['flag']}: {shown(flag['figure'])} ({shown(', '.join(map(str, flag['cell'].values())))}); see {flag['page']}")
