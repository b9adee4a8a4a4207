"""`speechadv models`: the pretrained models and the networks behind them."""
from pathlib import Path
from typing import Any, Iterator

import click

from ..errors import ConfigError, shown
from .common import Voice, json_option, quiet_option


@click.group("models", epilog="Example: speechadv models describe resnet")
def command():
    """List and describe networks. All pretrained weights are inside the package."""


@command.command("list", epilog="Example: speechadv models list --json")
@json_option
@quiet_option
def list_command(as_json, quiet):
    """Print the pretrained models, and the networks that can be trained.

    With --json: a list of {"name", "architecture", "pretrained", "parameters", "labels"}; the last two are null where there are no weights.
    """
    from ..models.pretrained import list_models, read_card, weights_path
    from ..registry import names

    voice = Voice(as_json, quiet)
    cards = [read_card(weights_path(name)) for name in list_models()]
    rows = [{"name": c["name"], "architecture": c["architecture"], "pretrained": True, "parameters": c["parameters"], "labels": c["labels"]} for c in cards]
    rows += [{"name": name, "architecture": name, "pretrained": False, "parameters": None, "labels": None}
             for name in names("model") if name not in list_models()]
    voice.table(["name", "weights", "network", "parameters", "labels"], [_line(row) for row in rows], numbers_from=3)
    voice.advise(("a model card", ("models", "describe", rows[0]["name"])), ("weights of your own", ("train", "CONFIG.toml", "--out", "FOLDER")))
    voice.document(rows)


def _line(row: dict[str, Any]) -> list[str]:
    """A model's line of the list."""
    if not row["pretrained"]:
        return [row["name"], "none", row["architecture"], "–", "–"]
    return [row["name"], "pretrained", row["architecture"], f"{row['parameters']:,}", str(len(row["labels"]))]


@command.command("describe", epilog="Example: speechadv models describe kws.tflite")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="Where the first card of a .tflite or .onnx file goes, instead of beside it.")
@json_option
@quiet_option
def describe_command(name, out, as_json, quiet):
    """Print the model card of NAME, after its weights have been checked against it.

    NAME is a pretrained model, a .safetensors file with its card, or a network without weights (then: what it is and its options). Of a .tflite or
    .onnx file everything is printed that it says of itself, and a first card, FILE.toml, is written for you to complete, where none is there.
    """
    from ..models.describing import describe_file, file_of
    from ..models.pretrained import list_models, load_checkpoint, read_card, weights_path
    from ..registry import closest, names

    voice = Voice(as_json, quiet)
    if out and not file_of(name):
        raise ConfigError("--out: only for .tflite and .onnx files")
    if file_of(name):
        content = describe_file(*file_of(name), out)
        voice.notice(f"card {content['card']}: " + ("written, fill in each \"?\"" if content["card_is"] == "written" else "is there already"))
    elif name in list_models() or Path(name).suffix == ".safetensors":
        path = Path(name) if name not in list_models() else weights_path(name)
        load_checkpoint(path)
        content = read_card(path)
    elif name in names("model"):
        content = _network(name)
    else:
        known = sorted({*list_models(), *names("model")})
        raise ConfigError(f"unknown model '{shown(name)}'{closest(name, known)} (known: {', '.join(known)})")
    for line in _lines(content):
        voice.say(line)
    voice.document(content)


@command.command("download", epilog="Example: speechadv models download")
@json_option
@quiet_option
def download_command(as_json, quiet):
    """Nothing to do: all pretrained weights are inside the package."""
    from ..models.pretrained import list_models

    voice = Voice(as_json, quiet)
    voice.say(f"Nothing to download: all pretrained weights are inside the package ({', '.join(list_models())}).")
    voice.document({"downloaded": [], "pretrained": list_models()})


def _network(name: str) -> dict[str, Any]:
    """What a registered network is, and its constructor's keywords with their defaults."""
    import inspect

    from ..registry import lookup

    network = lookup("model", name)
    options = {p.name: p.default for p in inspect.signature(network).parameters.values() if p.default is not p.empty}
    return {"name": name, "pretrained": False, "description": inspect.getdoc(network), "configuration": options}


def _lines(content: dict[str, Any], indent: str = "") -> Iterator[str]:
    """`key: value` lines, nested tables indented, texts of several lines below their key."""
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{shown(key)}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, str) and "\n" in value:
            yield f"{indent}{shown(key)}:"
            yield from (f"{indent}  {shown(line)}" for line in value.splitlines())
        else:
            yield f"{indent}{shown(key)}: {_plain(value)}"


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)) and not any(isinstance(v, (dict, list, tuple)) for v in value):
        return " ".join(shown(v) for v in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and value >= 10000 else shown(value)
