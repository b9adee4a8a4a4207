"""Judge the pretrained weights on the test split, and put the numbers into their cards: see README.md beside this file."""
import json
import shlex
import sys
from pathlib import Path
from typing import Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import click
from _evaluating import evaluation_recipe
from _training import origins

WEIGHTS = Path(__file__).resolve().parents[2] / "speechadv/models/weights"
RARE = ("on", "off")  # few clips in the test list: told apart


def results(cells: list[dict], classes: list[dict], model: str, command: str) -> dict:
    """What a card says of the test split, from the rows of the worst case over the attacks, which `command` makes."""
    (cell,) = (c for c in cells if c["model"] == model and c["attack"] == "worst-of")
    (by_class,) = (c for c in classes if c["model"] == model and c["attack"] == "worst-of")
    rates = {f"{name}{end}": round(cell[f"{name}{end}"], 4) for name in ("clean_accuracy", "robust_accuracy") for end in ("", "_low", "_high")}
    few = {label["label"]: {"clips": label["clips"], "clips_right": label["clips_right"]} for label in by_class["labels"] if label["label"] in RARE}
    return {"clips": cell["clips"], **rates, "budget": cell["budget"], "few_clips": few,
            "attack": "worst of the ensemble and of PGD-100 with cross-entropy and with margin loss, two restarts each", "command": command}


def write_cards(run: Path, overrides: Sequence[str]) -> None:
    """Put the numbers of a finished run into the cards of the package."""
    command = " ".join(["python recipes/judge_weights/run.py", *(f"--set {shlex.quote(word)}" for word in overrides)])
    content = json.loads((run / "result.json").read_text(encoding="utf-8"))
    for model in dict.fromkeys(cell["model"] for cell in content["cells"]):
        path = WEIGHTS / f"{model}.json"
        card = json.loads(path.read_text(encoding="utf-8"))
        card |= origins(card)
        card["results"]["test"] = results(content["cells"], content["classes"], model, command)
        path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        click.echo(f"{model}: {json.dumps(card['results']['test'])}")


def recipe() -> click.Command:
    """The evaluation recipe with the option --write-cards."""
    folder = Path(__file__).parent
    command = evaluation_recipe(folder, quick=["models=['resnet']", "attacks=[{name='pgd', steps=3}, {name='pgd', steps=3, loss='margin'}]", "clips=12"])
    run_it = command.callback

    @click.pass_context
    def with_cards(context, cards, **options):
        if cards and options["is_quick"]:
            raise click.UsageError("--write-cards: a rehearsal (--quick) measures nothing that a card may say")
        try:
            context.invoke(run_it, **options)
        except SystemExit as end:  # of --check
            if end.code:
                raise
        if cards:
            write_cards(options["out"], options["overrides"])

    command.callback = with_cards
    command.params.append(click.Option(["--write-cards", "cards"], is_flag=True, help="Put the numbers into the model cards of the package."))
    return command


if __name__ == "__main__":
    recipe()()
