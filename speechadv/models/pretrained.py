"""Weights with their model cards: NAME.safetensors beside NAME.json, inside the package or anywhere else.

A card says what the weights are: `name, weights, sha256, parameters, task, labels, sample_rate, data, recipe, seed, command, results,
architecture, configuration`. Here `architecture` and `configuration` (a registered network and its constructor keywords) rebuild the network, and
`sha256` is checked each time. Neither file can run code: where `architecture` is a word of `--model` that names code (`package.module:factory`),
the network is made only when it is trusted.
"""
import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from ..audio import write_bytes
from ..errors import DataError, SpeechAdvError, shown
from ..registry import closest, create
from .layers import count_parameters

WEIGHTS = Path(__file__).parent / "weights"
LARGEST_CARD = 1 << 20  # bytes
NEEDED = {"name": str, "sha256": str, "architecture": str, "labels": list, "sample_rate": int, "configuration": dict}  # to rebuild the network


def list_models() -> list[str]:
    """Names of the pretrained models inside the package, sorted."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def load_pretrained(name: str) -> nn.Module:
    """A pretrained model by name, in evaluation mode. Raises DataError for an unknown name or a damaged file."""
    return load_checkpoint(weights_path(name))


def weights_path(name: str) -> Path:
    """The weights file of a pretrained model. Raises DataError for an unknown name, with the closest match."""
    known = list_models()
    if name not in known:
        raise DataError(f"unknown pretrained model '{shown(name)}'{closest(name, known)} (known: {', '.join(known) or 'none'})")
    return WEIGHTS / f"{name}.safetensors"


def load_checkpoint(path: str | Path, trust: bool = False) -> nn.Module:
    """A network from a `.safetensors` file and the card beside it.

    Args:
        path: of the weights.
        trust: make a network whose card names code.

    Returns:
        The network in evaluation mode, with `.labels` and `.sample_rate`.

    Raises:
        DataError: a file is missing or damaged, the SHA-256 is not the card's, or the weights do not fit the architecture.
        ConfigError: the card names an unknown architecture or constructor keyword.
        InputError: the card names code that is not trusted, or a file that is missing.
    """
    path, card = Path(path), read_card(path)
    content = _content(path)
    found = hashlib.sha256(content).hexdigest()
    if found != card["sha256"].lower():
        raise DataError(f"'{shown(path)}': expected the SHA-256 of its card, {shown(card['sha256'])}, got {found}: the file is damaged or another one")
    try:
        weights = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError) as problem:
        raise DataError(f"'{shown(path)}': expected a safetensors file: {shown(problem)}") from None
    model = build(card, card_path(path), trust)
    try:
        model.load_state_dict(weights)
    except RuntimeError as problem:
        raise DataError(f"'{shown(path)}': the weights do not fit {card['architecture']}: {shown(str(problem).splitlines()[-1].strip())[:200]}") from None
    return model.eval()


def build(card: dict[str, Any], where: Path, trust: bool = False) -> nn.Module:
    """The network that a card describes, without its weights. Raises ConfigError, DataError or InputError."""
    if ":" in card["architecture"]:
        from .further import rebuilt  # it knows all words, those of this module among them

        return rebuilt(card["architecture"], card["configuration"], trust, f"model card '{shown(where)}'")
    keywords = {"sample_rate": card["sample_rate"], **card["configuration"]}
    try:
        with torch.random.fork_rng(devices=[]):  # fresh weights are drawn and thrown away: not from the caller's random numbers
            return create("model", card["architecture"], card["labels"], **keywords)
    except SpeechAdvError as problem:
        raise type(problem)(f"'{shown(where)}': {problem}") from None
    except (TypeError, ValueError, RuntimeError, MemoryError, LookupError, AttributeError, ArithmeticError) as problem:
        raise DataError(f"'{shown(where)}': configuration: {card['architecture']} cannot be made of it: {shown(problem)}") from None


def card_path(path: str | Path) -> Path:
    """Where the card of a weights file is."""
    return Path(path).with_suffix(".json")


def read_card(path: str | Path) -> dict[str, Any]:
    """The card beside a weights file. Raises DataError where it is missing, broken or incomplete."""
    where = card_path(path)
    named = f"model card '{shown(where)}'"
    try:
        if where.stat().st_size > LARGEST_CARD:
            raise DataError(f"{named}: expected at most {LARGEST_CARD} bytes, got {where.stat().st_size}")
        card = json.loads(where.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{named}: no such file; weights are loaded with their card beside them") from None
    except OSError as problem:
        raise DataError(f"{named}: {problem.strerror}") from None
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{named}: expected JSON: {shown(problem)}") from None
    check_card(card, named)
    return card


def check_card(card: Any, named: str) -> None:
    """Raise DataError unless the card has what rebuilding the network needs."""
    if not isinstance(card, dict):
        raise DataError(f"{named}: expected an object with {', '.join(NEEDED)}")
    for key, kind in NEEDED.items():
        if not isinstance(card.get(key), kind) or isinstance(card[key], bool):
            raise DataError(f"{named}: '{key}': expected {kind.__name__}, got {shown(repr(card.get(key)))[:80]}")
    if not card["labels"] or not all(isinstance(label, str) for label in card["labels"]) or len(set(card["labels"])) != len(card["labels"]):
        raise DataError(f"{named}: 'labels': expected different words")
    if card["sample_rate"] <= 0:
        raise DataError(f"{named}: 'sample_rate': expected Hz above 0, got {card['sample_rate']}")


def save_model(model: nn.Module, card: dict[str, Any], folder: str | Path) -> Path:
    """Write `NAME.safetensors` and `NAME.json`, each all or nothing.

    Args:
        model: a registered network.
        card: the model card; `name`, `architecture` and `configuration` must be there. `weights`, `sha256`, `parameters`, `labels` and
            `sample_rate` are taken from the model.
        folder: where to; made if missing.

    Returns:
        The path of the weights.

    Raises:
        SpeechAdvError: the card is incomplete, does not rebuild the model, or a file cannot be written.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = safetensors.torch.save(weights)
    path = Path(folder) / f"{card.get('name')}.safetensors"
    card = {**card, "weights": path.name, "sha256": hashlib.sha256(content).hexdigest(), "parameters": count_parameters(model),
            "labels": list(model.labels), "sample_rate": model.sample_rate}
    check_card(card, f"model card '{shown(card.get('name'))}'")
    expected = {name: tensor.shape for name, tensor in build(card, card_path(path), trust=True).state_dict().items()}
    if expected != {name: tensor.shape for name, tensor in weights.items()}:
        raise DataError(f"model card '{shown(card['name'])}': 'architecture' and 'configuration' do not rebuild the model")
    text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise SpeechAdvError(f"cannot make '{shown(path.parent)}': {problem.strerror}") from None
    write_bytes(path, content)
    write_bytes(card_path(path), text.encode("utf-8"))
    return path


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"'{shown(path)}': no such file") from None
    except OSError as problem:
        raise DataError(f"'{shown(path)}': {problem.strerror}") from None
