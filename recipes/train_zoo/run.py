"""Train the whole zoo, one network after the other: see README.md beside this file."""
import json
import sys
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _files import started
from _stages import Stage, judge, stages_of, table, train_all, write_table
from _training import origins

FOLDER = Path(__file__).resolve().parent
WEIGHTS = FOLDER.parents[1] / "speechadv/models/weights"
LARGEST = 10_000_000  # bytes, of all weights in the package together
COMMAND = "python recipes/train_zoo/run.py --out runs/train_zoo"


@click.command(epilog="Example: python recipes/train_zoo/run.py --out runs/train_zoo --packaged resnet --packaged resnet-at")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of all runs; what is finished is skipped, what was stopped goes on.")
@click.option("--quick", is_flag=True, help="A rehearsal on the bundled synthetic clips with tiny networks; the weights are of no use.")
@click.option("--only", multiple=True, metavar="NETWORK", help="Train this network alone, from what is there; may be given several times.")
@click.option("--packaged", multiple=True, metavar="NETWORK", help="Take this network from the package instead of training it; may be given several times.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Override a key of all stages.")
@click.option("--threads", type=int, help="Threads of torch.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--pack", multiple=True, metavar="NETWORK", help="Train nothing: put this finished network into the package, with its card; may be given several times.")
@click.option("--check", is_flag=True, help="Compare with expected.json; exit status 1 where a number is farther away than its tolerance.")
@click.option("--record", is_flag=True, help="Write the numbers of this run into expected.json.")
def recipe(out, quick, only, packaged, changes, threads, device, pack, check, record):
    """Train the networks of config.toml and print what each reached on validation and how long it took."""
    from speechadv.cli.common import Voice
    from speechadv.errors import ConfigError
    from speechadv.training.run import train

    stages = stages_of(FOLDER, out, changes, quick, packaged)
    if unknown := {*only, *pack} - {stage.settings.name for stage in stages}:
        raise ConfigError(f"--only, --pack: no stage makes '{sorted(unknown)[0]}'")
    if threads:
        import torch

        torch.set_num_threads(threads)

    def learn(stage: Stage, folder: Path, progress: Callable) -> Path:
        click.echo(f"{stage.folder}:", err=True)
        return train(stage.settings, folder, device=device, command=command(stage.settings.name, packaged), progress=progress,
                     say=lambda line: click.echo(line, err=True))

    if not pack:
        train_all([stage for stage in stages if not only or stage.settings.name in only], out, learn, Voice().progress)
    rows = table(stages, out)
    click.echo(write_table(rows, out))
    for name in pack:
        packed([stage for stage in stages if stage.settings.name == name][-1], out)
    judge(FOLDER, rows, COMMAND + "".join(f" --packaged {name}" for name in packaged), quick, record, check)


def command(name: str, packaged: tuple[str, ...]) -> str:
    """What makes one network again."""
    return COMMAND + "".join(f" --packaged {other}" for other in packaged) + f" --only {name}"


def packed(stage: Stage, out: Path) -> None:
    """Copy weights and card of a finished stage into the package; the card names data, teachers and their licences. Raises SpeechAdvError."""
    from speechadv.audio import write_bytes
    from speechadv.errors import InputError
    from speechadv.models.pretrained import load_checkpoint

    if not stage.finished(out):
        raise InputError(f"--pack '{stage.settings.name}': expected the finished stage '{stage.folder}' in --out")
    source = stage.weights(out)
    load_checkpoint(source)  # whole, and what its card says
    content, card = source.read_bytes(), json.loads(source.with_suffix(".json").read_text(encoding="utf-8"))
    others = sum(path.stat().st_size for path in WEIGHTS.glob("*.safetensors") if path.name != source.name)
    if others + len(content) > LARGEST:
        raise InputError(f"--pack '{card['name']}': expected at most {LARGEST:,} bytes of weights in the package, got {others + len(content):,}")
    write_bytes(WEIGHTS / source.name, content)
    write_bytes(WEIGHTS / f"{card['name']}.json", (json.dumps(card | origins(card), indent=1, ensure_ascii=False) + "\n").encode("utf-8"))
    click.echo(f"in the package: {source.name}, {len(content):,} bytes; all together {others + len(content):,}")


if __name__ == "__main__":
    started(recipe)
