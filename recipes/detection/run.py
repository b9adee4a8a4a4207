"""Detectors against attackers who do not and who do know them: see README.md beside this file."""
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _evaluating import settle
from _files import started

FOLDER = Path(__file__).resolve().parent
QUICK = ("data=['bundled']", "models=['resnet']", "detectors=['disagreement:bandpass:300-3400', 'margin:noise=0.002,copies=2']", "budgets=['linf:0.002']", "skip=[]",
         "attack={name='pgd', steps=8}", "searches=2", "validation_clips=24", "clean_clips=24", "clips=6")
RATES = ("false_alarms", "fooled", "detected", "undetected", "auc")


@click.command(epilog="Example: python recipes/detection/run.py --out runs/detection --quick")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run; a run that was stopped goes on.")
@click.option("--quick", "is_quick", is_flag=True, help="A rehearsal on a few bundled synthetic clips; its numbers say nothing about real speech.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of config.toml.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads of torch.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--check", is_flag=True, help="Compare with expected.json; exit status 1 where a number is farther away than its tolerance.")
@click.option("--record", is_flag=True, help="Write the numbers of this run into expected.json.")
def recipe(out, is_quick, overrides, threads, device, check, record):
    """Fix thresholds on clean validation clips, then attack test clips; table, ROC curves and a page are in the folder afterwards."""
    import torch

    from speechadv import config as configs
    from speechadv.cli.common import Voice, check_writable, checked_device
    from speechadv.evaluation.detection import detect
    from speechadv.evaluation.detection_settings import DetectionConfig
    from speechadv.report.detection import HEADS, table_of

    config, voice = configs.load(DetectionConfig, FOLDER / "config.toml", (*(QUICK if is_quick else ()), *overrides)), Voice()
    check_writable(out)
    torch.set_num_threads(threads or torch.get_num_threads())
    result = detect(config, out, device=checked_device(device), bar=voice.bar, notice=voice.notice)
    voice.table(HEADS, table_of(result["cells"]), 3, str(out / "table.csv"))
    settle(FOLDER, numbers(result), quick=is_quick, record=record, check=check, seed=config.seed)


def numbers(result: dict[str, Any]) -> dict[str, Any]:
    """The rates of a run: {"model|detector|budget|attacker": {"false_alarms", ...}}."""
    return {"|".join(line[key] for key in ("model", "detector", "budget", "attacker")): {name: line[name] for name in RATES} for line in result["cells"]}


if __name__ == "__main__":
    started(recipe)
