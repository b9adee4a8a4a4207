"""What the training recipes share: the command line in front of `speechadv train`, and the quick rehearsal on bundled clips."""
import json
from pathlib import Path

import click

QUICK = ("data=['bundled']", "epochs=2", "views=0", "teaching.models=[]", "validation_clips=8", "validate_every=1", "batch_size=16", "averaging=0.5")
QUICK_ADVERSARY = ("adversary.steps=[[0, 1]]",)
RECORDINGS = "recordings: 12,681 clips of Speech Commands 0.01 and 0.02 (Pete Warden, Google, 2018, CC BY 4.0), of its training split"
RESYNTHESISED = "; training only: 9,800 clips of training speakers, resynthesised from log-mel spectrograms of the same data set"
SYNTHETIC = "; and 5,552 of synthetic voices (eSpeak NG 1.51; data/make_training_voices.py)"
TEACHERS = [
    {"name": "KWT-1", "origin": "ARM-software/keyword-transformer", "revision": "237e4097afd4f6851e0b82f0a8d65c2dfe8eae30", "licence": "Apache-2.0"},
    {"name": "BC-ResNet-2, 35 words", "origin": "re9ulus/BC-ResNet", "revision": "086ce35", "licence": "MIT"},
]


def origins(card: dict) -> dict:
    """What a card in the package says of data and teachers, beside what the training wrote."""
    recipe = card["recipe"]
    voices = any(Path(root).name == "voices" for root in recipe["train_only"])
    return {"data": RECORDINGS + RESYNTHESISED * bool(recipe["train_only"]) + SYNTHETIC * voices} | ({"teachers": TEACHERS} if recipe["teaching"]["models"] else {})


def training_recipe(folder: Path) -> click.Command:
    """The click command of a training recipe's folder."""
    adversarial = "[adversary]" in (folder / "config.toml").read_text(encoding="utf-8")

    @click.command(epilog=f"Example: python recipes/{folder.name}/run.py --out runs/{folder.name} --quick")
    @click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
    @click.option("--quick", is_flag=True, help="A rehearsal of two epochs on the bundled synthetic clips; the weights are of no use.")
    @click.option("--config", "file", default="config.toml", show_default=True, help="The stage: a config in the recipe's folder.")
    @click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of config.toml.")
    @click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
    @click.option("--device", default="cpu", show_default=True)
    def recipe(out, quick, file, overrides, threads, device):
        """Train the network of config.toml and print what it reached on validation."""
        from speechadv.cli import run

        words = [str(folder / file), "--out", str(out), "--device", device]
        for override in (*((QUICK + QUICK_ADVERSARY * adversarial) if quick else ()), *overrides):
            words += ["--set", override]
        status = run(["train", *words, *(["--threads", str(threads)] if threads else [])])
        if status:
            raise SystemExit(status)
        click.echo(json.dumps(results(out), indent=1))

    return recipe


def results(out: Path) -> dict:
    """The numbers of the card that a run wrote."""
    (card,) = (json.loads(p.read_text(encoding="utf-8")) for p in out.glob("*.json"))
    return card["results"]
