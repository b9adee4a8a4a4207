"""Train the whole zoo, one network after the other: see README.md beside this file."""
import hashlib
import json
import sys
from pathlib import Path
from typing import Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _evaluating import settle
from _files import started
from _stages import Stage, accuracies, plainly, stages_of, table, train_all, training_options, use_threads, with_voices, write_table
from _training import origins

FOLDER = Path(__file__).resolve().parent
WEIGHTS = FOLDER.parents[1] / "speechadv/models/weights"
LARGEST = 10_000_000  # bytes, of all weights in the package together
COMMAND = "python recipes/train_zoo/run.py --out runs/train_zoo --voices runs/voices"


@click.command(epilog="Example: python recipes/train_zoo/run.py --out runs/train_zoo --voices runs/voices --packaged resnet")
@training_options("Folder of all runs; what is finished is skipped, what was stopped goes on.", "the weights are of no use", "Override a key of all stages.")
@click.option("--only", multiple=True, metavar="NETWORK", help="Train this network alone, from what is there; may be given several times.")
@click.option("--voices", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Synthetic voices of data/make_training_voices.py, for the stages that learn from them.")
@click.option("--packaged", multiple=True, metavar="NETWORK", help="Take this network from the package instead of training it; may be given several times.")
@click.option("--pack", multiple=True, metavar="NETWORK", help="Train nothing: put this finished network into the package, with its card; may be given several times.")
def recipe(out, quick, voices, only, packaged, changes, threads, device, pack, check, record):
    """Train the networks of config.toml and print what each reached on validation and how long it took."""
    from speechadv.cli.common import Voice
    from speechadv.errors import ConfigError

    stages = [with_voices(stage, voices) for stage in stages_of(FOLDER, out, changes, quick, packaged)]
    if unknown := {*only, *pack} - {stage.settings.name for stage in stages}:
        raise ConfigError(f"--only, --pack: no stage makes '{sorted(unknown)[0]}'")
    use_threads(threads)
    if not pack:
        wanted = [stage for stage in stages if not only or stage.settings.name in only]
        if not voices and not quick and (deaf := [stage.folder for stage in wanted if stage.entry.get("voices")]):
            raise ConfigError(f"--voices: '{deaf[0]}' learns from synthetic voices too; data/make_training_voices.py makes them, or leave its network out with --packaged")
        train_all(wanted, out, plainly(lambda stage: command(stage.settings.name, packaged), device), Voice().progress)
    rows = table(stages, out)
    click.echo(write_table(rows, out))
    for name in pack:
        packed([stage for stage in stages if stage.settings.name == name][-1], out)
    settle(FOLDER, accuracies(rows), quick=quick, record=record, check=check, options=f"{'' if quick else '--voices runs/voices '}{taken(packaged)}")


def taken(packaged: Sequence[str]) -> str:
    """The options that name the networks that are there already."""
    return " ".join(f"--packaged {name}" for name in packaged)


def command(name: str, packaged: Sequence[str]) -> str:
    """What makes one network again."""
    return " ".join(filter(None, (COMMAND, taken(packaged), f"--only {name}")))


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
    if stage.entry.get("half"):
        content = halved(content)
        card |= {"sha256": hashlib.sha256(content).hexdigest(), "stored": "in float16, rounded after validation"}
    others = sum(path.stat().st_size for path in WEIGHTS.glob("*.safetensors") if path.name != source.name)
    if others + len(content) > LARGEST:
        raise InputError(f"--pack '{card['name']}': expected at most {LARGEST:,} bytes of weights in the package, got {others + len(content):,}")
    write_bytes(WEIGHTS / source.name, content)
    write_bytes(WEIGHTS / f"{card['name']}.json", (json.dumps(card | origins(card), indent=1, ensure_ascii=False) + "\n").encode("utf-8"))
    click.echo(f"in the package: {source.name}, {len(content):,} bytes; all together {others + len(content):,}")


def halved(content: bytes) -> bytes:
    """The same weights in half the bytes, each rounded to float16."""
    import safetensors.torch

    return safetensors.torch.save({name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in safetensors.torch.load(content).items()})


if __name__ == "__main__":
    started(recipe)
