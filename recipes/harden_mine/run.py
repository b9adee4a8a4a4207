"""Someone's own model, adversarially fine-tuned: see README.md beside this file."""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _files import command, inside, judged, overrides, put, started

FOLDER = Path(__file__).resolve().parent
FILES = ("tflite:", "onnx:")
QUICK = ("data=['bundled']", "validation_clips=8", "batch_size=16", "averaging=0.5", "learning_rate=0.01", "epochs=2", "validate_every=2")
STAGES = {"first.toml": "first", "second.toml": "second", "config.toml": "training"}
TABLES = {"harden_mine_validation": ("table.toml", "split='validation'", "budgets=['linf:0.002']"),
          "harden_mine": ("table.toml", "split='test'"), "harden_mine_clean": ("all.toml",)}
QUICK_TABLES = {"harden_mine": ("table.toml", "split='test'", "data=['bundled']", "clips=4", "budgets=['linf:0.001']",
                                "attacks=[{name='pgd', steps=4}, {name='ensemble', steps=4, targets=1, queries=10}]")}


@click.command(epilog="Example: python recipes/harden_mine/run.py --model tflite:kws.tflite --out runs/harden_mine")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of everything that is made; what was stopped goes on.")
@click.option("--model", metavar="WORD", help="tflite:FILE or onnx:FILE with its card beside it, or package.module:factory.")
@click.option("--front-end", "front_end", multiple=True, metavar="KEY=VALUE", help="Another value for a key of the card's front end, such as offset=1.0.")
@click.option("--quick", is_flag=True, help="A rehearsal on bundled clips with a tiny network of its own; its numbers mean nothing.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Override a key of all stages of the training.")
@click.option("--threads", type=int, default=1, show_default=True, help="Threads of torch.")
@click.option("--check", is_flag=True, help="Compare with expected.json; exit status 1 where a number is farther away than its tolerance.")
@click.option("--record", is_flag=True, help="Write the numbers of this run into expected.json.")
def recipe(out, model, front_end, quick, changes, threads, check, record):
    """Train, export as ONNX, float and int8, and judge before and after: on validation, then on test."""
    sys.path += [str(Path.cwd()), str(FOLDER)]  # a factory of the user's, or tiny.py, whatever the folder in which the steps run
    before, start = sources("tiny:factory" if quick and not model else model, front_end, out)
    changed = [f"model='{start}'", *(QUICK if quick else ()), *changes]
    with inside(out):
        for config, name in STAGES.items():
            command("train", FOLDER / config, "--out", name, "--threads", threads, *overrides(changed))
        for file, options in (("hardened.onnx", ()), ("hardened.int8.onnx", ("--int8",))):
            if not Path(file).exists():
                command("export", "training/hardened.safetensors", "--out", file, "--trust-model-file", *options)
        models = [f"models=['{before}', 'onnx:hardened.onnx', 'onnx:hardened.int8.onnx']"]
        for name, (config, *more) in (QUICK_TABLES if quick else TABLES).items():
            command("evaluate", FOLDER / config, "--out", name, "--threads", threads, *overrides([*models, *more]))
    runs = [out / name for name in (QUICK_TABLES if quick else TABLES)]
    judged(FOLDER, runs, "--model tflite:kws_ref_model.tflite --front-end offset=1.0", quick, record, check, learned(out))


def learned(out: Path) -> dict[str, float]:
    """What the model card says of validation."""
    results = json.loads((out / "training/hardened.json").read_text(encoding="utf-8"))["results"]["validation"]
    return {name: results[name] for name in ("accuracy", "robust_accuracy")}


def sources(word: str | None, front_end: tuple[str, ...], out: Path) -> tuple[str, str]:
    """The model as it is, and what training starts from: words that are right inside `out`. Files are copied there with their cards."""
    from speechadv.config import parse_override
    from speechadv.errors import ConfigError

    if not word:
        raise ConfigError("--model: expected tflite:FILE, onnx:FILE or package.module:factory")
    kind, _, file = word.partition(":")
    if f"{kind}:" not in FILES:
        if front_end:
            raise ConfigError("--front-end: only files with a card have one that can be named")
        return word, word
    before = put(Path(file), out / "before")
    start = put(Path(file), out / "start", dict(map(parse_override, front_end)))
    return before.replace(":", ":before/"), start.replace(":", ":start/")


if __name__ == "__main__":
    started(recipe)
