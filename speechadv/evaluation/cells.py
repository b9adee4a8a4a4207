"""The grid: cells that are reported, and the crafts (attacks on one model) that they share."""
import dataclasses
from dataclasses import dataclass
from typing import Any, Sequence

from .. import config as configs
from ..attacks.base import Attack
from ..budgets import parse_budget
from ..defenses import NONE, defense_name, parse_defense, surrogates
from ..defenses.base import GRADIENTS, NO_GRADIENT, SURROGATE, gradients
from ..errors import ConfigError, shown
from ..registry import closest, create, keywords, lookup
from .settings import EvaluationConfig

CELL_KEYS = ("model", "defense", "attack", "threat", "budget", "seed")
WORST = "worst-of"  # the attack of the aggregated row over all attacks


@dataclass(frozen=True)
class AttackSpec:
    """An attack of the config. `label` names it in rows and tables; `options` are its keywords as sorted pairs.

    `gradient` and `draws` say how it asks a defended model, see `Defended`.
    """

    label: str
    name: str
    options: tuple[tuple[str, Any], ...]
    gradient: str = SURROGATE
    draws: int = 1

    @property
    def white_box(self) -> bool:
        """Whether it asks for gradients."""
        return lookup("attack", self.name).white_box

    @property
    def can_spend_all(self) -> bool:
        """Whether it has the option `full`."""
        return "full" in keywords("attack", self.name)

    def spending_all(self) -> "AttackSpec":
        """The same attack with the whole budget spent on every clip: early leavers stand at the edge and do not survive a codec."""
        return dataclasses.replace(self, options=tuple(sorted({**dict(self.options), "full": True}.items()))) if self.can_spend_all else self

    def make(self) -> Attack:
        """The attack. Raises ConfigError."""
        return create("attack", self.name, **{key: list(value) if isinstance(value, tuple) else value for key, value in self.options})

    @property
    def said(self) -> dict[str, Any]:
        """What the config says of it beside its name."""
        return dict(self.options) | ({} if self.gradient == SURROGATE else {"gradient": self.gradient})

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={_text(value)}" for key, value in self.said.items())])


@dataclass(frozen=True)
class Craft:
    """One attack on one (defended) model: makes the adversarial clips that one cell or several score."""

    model: str
    defense: str
    attack: AttackSpec
    budget: str
    seed: int

    def __str__(self) -> str:
        """Names everything that the clips depend on beside the seed; random numbers are drawn from it."""
        return "|".join((self.model, self.defense, str(self.attack), self.budget))


@dataclass(frozen=True)
class Cell:
    """One line of the table. `adaptive`: the attack knew all of the defended model."""

    model: str
    defense: str
    attack: str
    threat: str
    adaptive: bool
    budget: str
    seed: int
    craft: Craft = dataclasses.field(compare=False, repr=False)

    @property
    def key(self) -> tuple:
        """(model, defense, attack, threat, budget, seed)"""
        return tuple(getattr(self, key) for key in CELL_KEYS)


def cells(config: EvaluationConfig) -> list[Cell]:
    """The grid in the order of the table. Raises ConfigError: an unknown name, something twice, an attack that no threat uses."""
    attacks = [dataclasses.replace(spec, draws=config.draws) for spec in attack_specs(config.attacks)]
    chains = [parse_defense(word) for word in config.defenses]
    defenses = _each_once("defenses", [defense_name(chain) for chain in chains])
    choices = {name: gradients(chain) for name, chain in zip(defenses, chains)} | {NONE: (SURROGATE,)}
    budgets = _each_once("budgets", [parse_budget(word).name for word in config.budgets])
    models = _each_once("models", config.models)
    grid = [cell for model in models for defense in defenses for threat in config.threats for attack in attacks
            for budget in budgets for seed in config.seeds if (cell := _cell(model, defense, threat, attack, budget, seed, config.source, choices))]
    for attack in attacks:
        if not any(cell.attack == attack.label for cell in grid):
            needed = ("oblivious or adaptive" if attack.gradient == SURROGATE else "adaptive and a defense that has this gradient") if attack.white_box else "black-box"
            raise ConfigError(f"config: threats: attack '{shown(attack.label)}' needs the threat {needed}, got {', '.join(config.threats)}")
    return _without(grid, config.skip)


def groups(grid: Sequence[Cell]) -> dict[Craft, list[Cell]]:
    """The cells by the craft that they score."""
    found: dict[Craft, list[Cell]] = {}
    for cell in grid:
        found.setdefault(cell.craft, []).append(cell)
    return found


def _cell(model: str, defense: str, threat: str, attack: AttackSpec, budget: str, seed: int, source: str | None,
          choices: dict[str, tuple[str, ...]]) -> Cell | None:
    """The cell, or None where threat and attack, threat and model, or attack and defense do not go together. `choices`: a defense's gradients."""
    if attack.white_box == (threat == "black-box") or (threat == "transfer" and model == source):
        return None
    crafted_on = {"oblivious": (model, NONE), "transfer": (source, NONE)}.get(threat, (model, defense))
    sent_on = threat in ("oblivious", "transfer")
    craft = Craft(*crafted_on, attack.spending_all() if sent_on else attack, budget, seed)
    if attack.gradient not in choices[crafted_on[1]]:
        return None
    adaptive = threat == "adaptive" and attack.gradient != NO_GRADIENT or (defense == NONE and threat != "transfer")
    return Cell(model, defense, attack.label, threat, adaptive, budget, seed, craft)


def attack_specs(entries: Sequence[dict[str, Any] | str]) -> list[AttackSpec]:
    """The attacks of a config. The label is the name alone where no other attack has it, else the name with the options in which they differ.

    Raises ConfigError: an unknown attack or option, a value of another type or out of range, the same attack twice.
    """
    plain = [_spec(entry, f"config: attacks[{number}]") for number, entry in enumerate(entries)]
    specs = [dataclasses.replace(spec, label=_label(spec, plain)) for spec in plain]
    _each_once("attacks", [spec.label for spec in specs])
    return specs


def _spec(entry: dict[str, Any] | str, where: str) -> AttackSpec:
    options = {"name": entry} if isinstance(entry, str) else dict(entry)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"{where}: expected {{name = \"pgd\", ...}}, got {shown(repr(entry))[:80]}")
    gradient = options.pop("gradient", SURROGATE)
    typed = configs.keywords_of("attack", name, options, where)
    spec = AttackSpec(name, name, tuple(sorted((key, _hashable(typed[key])) for key in options)), gradient)
    known = (*GRADIENTS, *surrogates()) if spec.white_box else (SURROGATE,)
    if gradient not in known:
        asks = "" if spec.white_box else f", since {name} asks for none"
        raise ConfigError(f"{where}: gradient: expected one of {', '.join(known)}{asks}, got {shown(repr(gradient))[:80]}")
    spec.make()
    return spec


def _label(spec: AttackSpec, all_specs: Sequence[AttackSpec]) -> str:
    same = [other.said for other in all_specs if other.name == spec.name]
    differing = [key for key in sorted({key for options in same for key in options}) if len({repr(options.get(key)) for options in same}) > 1]
    own = spec.said
    return " ".join([spec.name, *(f"{key}={_text(own[key])}" for key in differing if key in own)])


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without(grid: list[Cell], skip: Sequence[dict[str, Any]]) -> list[Cell]:
    """The cells that match no entry of `skip` in all of its keys. Raises ConfigError: an unknown key, an entry that fits no cell, no cell left."""
    left = grid
    for number, entry in enumerate(skip):
        where = f"config: skip[{number}]"
        for key in entry:
            if key not in CELL_KEYS:
                raise ConfigError(f"{where}: unknown key '{shown(key)}'{closest(key, CELL_KEYS)} (known: {', '.join(CELL_KEYS)})")
        fits = [cell for cell in grid if entry and all(getattr(cell, key) == value for key, value in entry.items())]
        if not fits:
            raise ConfigError(f"{where}: expected keys of some cell, none has {shown(entry)}")
        left = [cell for cell in left if cell not in fits]
    if not left:
        raise ConfigError("config: skip: leaves no cell")
    return left


def _each_once(key: str, names: list[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"config: {key}: expected each one once, got '{shown(name)}' twice")
    return names
