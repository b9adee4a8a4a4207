"""A training run from its config: data, teachers, loop, and the weights with their card."""
import contextlib
import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from .. import config as configs
from ..audio import ASIDE, write_bytes
from ..budgets import parse_budget
from ..data import Task, data_roots, task as named_task
from ..data.loading import cache_folder
from ..data.samples import bundled_folder
from ..defenses import parse_defense
from ..errors import ConfigError, DataError, InputError, shown
from ..locks import locked
from ..models.committee import Committee, cards_of, committee_of
from ..models.further import identity, is_word, trainable
from ..models.layers import count_parameters
from ..models.pretrained import read_card, save_model
from ..models.resolve import resolve_model
from ..models.widening import widen
from ..randomness import derived_seed
from ..registry import create
from .examples import Examples, Material, recorded, rehearsal
from .loop import Trainer
from .processes import ALONE, Group
from .settings import TrainingConfig
from .targets import Targets
from .teaching import Teachers, cached_answers, check_size
from .validation import Validator
from .views import Views


def train(config: TrainingConfig, out: Path, *, device: str = "cpu", command: str = "", progress: Callable, say: Callable[[str], None],
          group: Group = ALONE) -> Path:
    """Train as the config says and write weights and card into `out`. A killed run goes on when it is called again.

    Args:
        config: the run.
        out: its folder; it may hold the same run, unfinished.
        device: torch device.
        command: what to print in the card to make it again.
        progress: wraps an iterable with a bar.
        say: prints a line.
        group: the processes that share the work; each calls this, the first one alone writes.

    Returns:
        The path of the weights.
    """
    with group.agreeing():
        if group.leads:
            check_folder(out, config)
    with group.agreeing():
        configs.require(config.batch_size >= group.size, "batch_size", f"a clip for each of the {group.size} processes", config.batch_size)
        task = named_task(config.task)
        model = new_model(config, task.labels).to(device)
        task = replace(task, labels=tuple(model.labels))
        material = group.one_a_machine(lambda: gather(config, task, model.sample_rate))
        train_set, validation = material.train.first(config.training_clips, config.seed), material.validation
        views = Views(train_set.clips, material.noises, train_set.silence, config.augmentation, config.seed, model.sample_rate, config.teaching)
        teachers = new_teachers(config, train_set.labels, model.sample_rate, device)
        if teachers is not None:
            check_size(config.views, len(train_set.clips), len(train_set.labels))
        adversary = config.adversary.budget if config.adversary else None
        for _, spec in config.adversary.budgets if config.adversary else ():
            parse_budget(spec, model.sample_rate)
        watched = train_set.part(~train_set.unlabelled).first(config.watched_clips, config.seed) if config.watched_clips else None
        defenses = [defense.to(device) for defense in parse_defense(config.defense, model.sample_rate)]
        validator = Validator(validation, adversary, config.validation_clips, seed=config.seed, defenses=defenses, noise_sigma=config.noise_sigma, watched=watched)
    with claimed(out, config) if group.leads else contextlib.nullcontext():  # all that can be wrong has been looked at
        say(f"{config.name}: {count_parameters(model):,} parameters, {len(train_set.clips):,} training and {len(validation.clips):,} validation clips")
        targets = make_targets(config, teachers, train_set, views, device, progress, group)
        started = time.monotonic()
        trainer = Trainer(config, model, views, targets, train_set, validator, out, progress, say, group)
        best = trainer.run()
        say(f"best on validation after epoch {trainer.state.best_epoch}: {trainer.state.best_score:.4f} ({time.monotonic() - started:.0f} s in this process)")
        content = card(config, best, trainer, command)
        return save_model(best, content, out) if group.leads else out / f"{config.name}.safetensors"


def gather(config: TrainingConfig, task: Task, sample_rate: int) -> Material:
    """The clips that the config names. Raises DataError where it names none and SPEECHADV_DATA is not set."""
    if config.data == ["bundled"]:
        return rehearsal(task)
    roots = data_roots(config.data)
    if not roots:
        raise DataError("no data to train on: set SPEECHADV_DATA to a folder in Speech Commands' layout, or `data` in the config")
    for root in (*roots, *config.train_only, *config.unlabelled):
        if Path(root).resolve().is_relative_to(bundled_folder().resolve()):
            raise DataError(f"data folder '{shown(root)}': the bundled clips are held out of all training; data = [\"bundled\"] rehearses with them")
    return recorded(roots, config.train_only, task, sample_rate, seed=config.seed, unknown=config.unknown or None, unlabelled=config.unlabelled)


def check_folder(out: Path, config: TrainingConfig) -> None:
    """Raise InputError unless the folder is missing, empty, or holds this very run."""
    path = out / "config.toml"
    if path.exists():
        if not same_config(path, config):
            raise InputError(f"--out '{shown(out)}': holds a training run with another config; name another folder")
    elif out.exists() and (not out.is_dir() or any(not file.name.startswith(ASIDE) for file in out.iterdir())):
        raise InputError(f"--out '{shown(out)}': expected a new folder or a training run to go on with, got foreign files")


def same_config(path: Path, config: TrainingConfig) -> bool:
    """Whether a folder's config says the same; that of an earlier version lacks keys, whose defaults are what it did."""
    try:
        return configs.dumps(configs.load(TrainingConfig, path)) == configs.dumps(config)
    except ConfigError:
        return False


@contextlib.contextmanager
def claimed(out: Path, config: TrainingConfig) -> Iterator[None]:
    """Make the folder or go on in it, and hold it until the end. Raises InputError where another process holds it."""
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        check_folder(out, config)  # it may have been another run's in between
        write_bytes(out / "config.toml", configs.dumps(config).encode("utf-8"))
        yield


def new_model(config: TrainingConfig, labels) -> nn.Module:
    """The network: one of the registry with fresh weights, or someone's with its own; or either with the weights that `start_from` names, or the mean of those and
    of the ones that `soup` names; or a committee of `members`. Raises ConfigError: weights that do not fit."""
    if config.members:
        model = committee_of(config.members)
        check_order("members", config.members[0], model, labels)
        return model
    model = further(config, labels) if is_word(config.model) else fresh(config, labels)
    if config.start_from:
        source = resolve_model(config.start_from, trust=same_code(config, config.start_from))
        if config.soup or not config.epochs:
            check_order("start_from", config.start_from, source, model.labels)
        with same_layers("start_from", config.start_from, config):
            if config.widen:
                widen(source, model, torch.Generator().manual_seed(0))
            else:
                model.load_state_dict(source.state_dict())
    for eaten, word in enumerate(config.soup, 1):
        source = resolve_model(word, trust=same_code(config, word))
        check_order("soup", word, source, model.labels)
        with same_layers("soup", word, config):
            stir(model, source.state_dict(), 1 / (eaten + 1))
    return model


def check_order(key: str, word: str, source: nn.Module, labels) -> None:
    """Raise ConfigError where weights that are to be kept, or mixed, name their outputs otherwise than the task does."""
    if list(source.labels) != list(labels):
        raise ConfigError(f"{key}: '{shown(word)}' hears {', '.join(source.labels)}; expected the task's words in this order: {', '.join(labels)}")


@contextlib.contextmanager
def same_layers(key: str, word: str, config: TrainingConfig) -> Iterator[None]:
    """Weights that do not fit become one line."""
    try:
        yield
    except RuntimeError:
        raise ConfigError(f"{key}: '{shown(word)}' has other layers than {shown(config.model)} with model_options") from None


def stir(model: nn.Module, weights: dict[str, Tensor], share: float) -> None:
    """Move the weights towards others by a share of the way: the mean of several, one after the other (model soups, Wortsman et al. 2022, arXiv:2203.05482)."""
    own = model.state_dict()
    model.load_state_dict({key: torch.lerp(own[key], value, share) if key in own and value.is_floating_point() and value.shape == own[key].shape else value
                           for key, value in weights.items()})


def further(config: TrainingConfig, labels) -> nn.Module:
    """Someone's network, to be trained further; its labels are the task's, in its own order. Raises ConfigError or InputError."""
    if config.model_options:
        raise ConfigError(f"model_options: '{shown(config.model)}' is ready made and takes none")
    model = trainable(config.model)
    if set(model.labels) != set(labels):
        odd = sorted(set(model.labels) ^ set(labels))[0]
        raise ConfigError(f"task: expected the words of '{shown(config.model)}', but '{shown(odd)}' is in only one of the two; name the words: task = [...]")
    return model


def same_code(config: TrainingConfig, weights: str) -> bool:
    """Whether these weights belong to the very factory that the config trains: it has run already."""
    return is_word(config.model) and Path(weights).suffix == ".safetensors" and read_card(weights)["architecture"] == config.model


def fresh(config: TrainingConfig, labels) -> nn.Module:
    """A registered network with weights drawn from the seed, without touching the global state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "weights"))
        try:
            return create("model", config.model, labels, **config.model_options)
        except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, ArithmeticError) as problem:
            # whatever torch makes of values that fit no layer
            raise ConfigError(f"model_options: no {config.model} can be made of them: {shown(problem)}") from None


def new_teachers(config: TrainingConfig, labels, sample_rate: int, device: str) -> Teachers | None:
    """The networks that soft labels come from, if the config names any."""
    if not config.teaching.models:
        return None
    models = [resolve_model(word, sample_rate=sample_rate) for word in config.teaching.models]
    return Teachers(models, labels).to(device).eval().requires_grad_(False)


def make_targets(config: TrainingConfig, teachers: Teachers | None, train_set: Examples, views: Views, device: str, progress: Callable,
                 group: Group = ALONE) -> Targets:
    """What should be heard in each batch: labels, or what the teachers hear in the same view, kept on disk where the views are fixed."""
    if teachers is None:
        return Targets(config, train_set, views)

    def answer(waveforms: Tensor) -> Tensor:
        with torch.no_grad():
            return teachers(waveforms).cpu()

    if not config.views:
        return Targets(config, train_set, views, answer)
    path = cache_folder() / f"teacher-{cache_key(config, train_set, views, answer, device)}.npy"
    table = group.one_a_machine(lambda: cached_answers(path, len(train_set.clips), config.views, len(train_set.labels),
                                                       lambda indices, view: answer(views(indices, view).to(device)), progress))
    return Targets(config, train_set, views, answer, table)


def cache_key(config: TrainingConfig, train_set: Examples, views: Views, answer: Callable[[Tensor], Tensor], device: str) -> str:
    """What the teachers' answers depend on: the clips, their views with the noise in them, and the teachers, known by what they hear in some of the clips."""
    content = configs.as_dict(config)
    parts = {key: content[key] for key in ("seed", "views", "augmentation")} | {"teachers": config.teaching.models, "clips": len(train_set.clips)}
    if config.teaching.mixtures:
        parts |= {"mixtures": config.teaching.mixtures, "mixture_db": config.teaching.mixture_db}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode() + train_set.classes.tobytes())
    if train_set.unlabelled.any():
        digest.update(train_set.unlabelled.tobytes())
    some = train_set.clips[:: max(1, len(train_set.clips) // 64)]
    digest.update(some.tobytes())
    for noise in views.noises:
        digest.update(noise.tobytes())
    heard = answer(torch.from_numpy(some.astype(np.float32) / 32768).to(device))
    digest.update(heard.clamp(min=-60).round(decimals=2).numpy().tobytes())
    return digest.hexdigest()[:16]


def card(config: TrainingConfig, model: nn.Module, trainer: Trainer, command: str) -> dict:
    """The model card, without the sums that `save_model` adds. Folders stand in it by their last name: cards travel, machines do not."""
    epoch = next(row for row in trainer.state.history if row["epoch"] == trainer.state.best_epoch)
    results = {"clips": len(trainer.validator.examples.clips), **{k: v for k, v in epoch.items() if k not in ("loss", "score") and not k.startswith("guard_")}}
    if trainer.validator.part:
        results |= {"attacked_clips": len(trainer.validator.part.clips), "budget": config.adversary.budget,
                    "attack": "worst of PGD-20 with cross-entropy and with margin loss"}
    folders = [*data_roots(config.data), *config.train_only, *config.unlabelled]
    architecture, configuration = ("committee", model.configuration) if isinstance(model, Committee) else (config.model, config.model_options or identity(model))
    content = {"name": config.name, "architecture": architecture, "configuration": configuration, "parameters": count_parameters(model),
               "task": config.task, "labels": list(model.labels), "sample_rate": model.sample_rate,
               "data": ", ".join(map(str, folders)), "recipe": configs.as_dict(config), "training": how(config, trainer), "seed": config.seed,
               "command": command, "results": {"validation": results}}
    if config.members:
        content["members"] = [{key: member.get(key, "") for key in ("name", "sha256", "data", "command")} for member in cards_of(config.members)]
    return without_folders(content, [str(path) for path in (*folders, trainer.folder.absolute())])


def how(config: TrainingConfig, trainer: Trainer) -> dict:
    """What the network was trained to do, in a line of the card."""
    objective, about = trainer.objective, {"objective": trainer.objective.name}
    if config.adversary:
        about |= {"inner": objective.kind} | ({"beta": config.adversary.beta} if objective.weighted else {})
    return about | {"defense": config.defense} | ({"noise_sigma": config.noise_sigma} if config.noise_sigma else {})


def without_folders(content, folders: list[str]):
    """The same content with each of these absolute folders shortened to its last name."""
    if isinstance(content, dict):
        return {key: without_folders(value, folders) for key, value in content.items()}
    if isinstance(content, list):
        return [without_folders(value, folders) for value in content]
    for folder in folders if isinstance(content, str) else ():
        if Path(folder).is_absolute():
            content = content.replace(folder, Path(folder).name)
    return content
