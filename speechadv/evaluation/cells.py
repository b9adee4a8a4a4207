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
from ..rooms import overlapping
from .settings import EvaluationConfig

CELL_KEYS = ("model", "defense", "attack", "threat", "budget", "seed")
WORST = "worst-of"  # the attack of the aggregated row over all attacks
TOGETHER = " & "  # between the words of models whose logits are averaged
SENT_ON = ("oblivious", "transfer")  # threats whose clips go to something that the attack did not know
ALL, HONEST = "all", ("oblivious", "adaptive", "black-box")
BLACK_BOX = "square"  # the attack that stands for a black box where a config names none


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
    def at_edge(self) -> bool:
        """Whether its clips stand at the edge of the decision by design: they say nothing about what they are sent through."""
        return lookup("attack", self.name).at_edge

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
    drawing = {name for name, chain in zip(defenses, chains) if any(defense.stochastic for defense in chain)}
    grid = [cell for model in models for defense in defenses for threat in config.threats for attack in attacks
            for budget in budgets for seed in config.seeds if (cell := _cell(model, defense, threat, attack, budget, seed, config.sources, choices, drawing))]
    for attack in attacks:
        if not any(cell.attack == attack.label for cell in grid):
            raise ConfigError(f"config: threats: attack '{shown(attack.label)}' needs the threat {_needed(attack)}, got {', '.join(config.threats)}")
    _check_rooms(attacks, dict(zip(defenses, chains)))
    return _without(grid, config.skip)


def _needed(attack: AttackSpec) -> str:
    """The threats under which an attack has a cell, in words."""
    if not attack.white_box:
        return "black-box"
    if attack.at_edge:
        return "adaptive (its clips stand at the edge by design)"
    return "oblivious or adaptive" if attack.gradient == SURROGATE else "adaptive and a defense that has this gradient"


def under_threats(config: EvaluationConfig, words: Sequence[str]) -> EvaluationConfig:
    """The config under other threats; "all" stands for the honest three: oblivious, adaptive and black-box.

    Where "all" finds no black-box attack but noise in the config, Square is added. Raises ConfigError: an unknown threat, or no attack with gradients
    for "all".
    """
    if ALL not in words:
        return dataclasses.replace(config, threats=list(words))
    specs = attack_specs(config.attacks)
    if not any(spec.white_box and spec.gradient != NO_GRADIENT for spec in specs):
        raise ConfigError(f"--threat {ALL}: expected an attack with gradients among the config's attacks, got {', '.join(spec.label for spec in specs)}")
    missing = [] if any(not spec.white_box and spec.name != "noise" for spec in specs) else [{"name": BLACK_BOX}]
    return dataclasses.replace(config, threats=[*HONEST, *(word for word in words if word not in (ALL, *HONEST))], attacks=[*config.attacks, *missing])


def groups(grid: Sequence[Cell]) -> dict[Craft, list[Cell]]:
    """The cells by the craft that they score."""
    found: dict[Craft, list[Cell]] = {}
    for cell in grid:
        found.setdefault(cell.craft, []).append(cell)
    return found


def left_out(config: EvaluationConfig) -> list[str]:
    """A line for each attack that has no row under some threat of the config because its clips are not made to be sent on."""
    sent = [threat for threat in config.threats if threat in SENT_ON]
    return [f"attack '{shown(spec.label)}' stands at the edge of the decision by design: no {' or '.join(sent)} rows are made for it"
            for spec in attack_specs(config.attacks) if sent and spec.at_edge]


def _check_rooms(attacks: Sequence[AttackSpec], chains: dict[str, list]) -> None:
    """Raise ConfigError where an attack would be scored in rooms that it was made for."""
    for attack in attacks:
        own = getattr(attack.make(), "rooms", None)
        for name, chain in chains.items():
            if own is not None and any(overlapping(own, defense.rooms) for defense in chain if hasattr(defense, "rooms")):
                raise ConfigError(f"config: defenses: '{shown(name)}': attack '{shown(attack.label)}' is made for rooms {shown(own)}: score it in others")


def _cell(model: str, defense: str, threat: str, attack: AttackSpec, budget: str, seed: int, sources: Sequence[str],
          choices: dict[str, tuple[str, ...]], drawing: set[str]) -> Cell | None:
    """The cell, or None where threat and attack, threat and model, or attack and defense do not go together. `choices`: a defense's gradients; `drawing`: the
    defenses that are random, where leaving early would stop at a lucky draw, which the verdict does not see again."""
    if attack.white_box == (threat == "black-box") or (threat == "transfer" and model in sources):
        return None
    sent_on = threat in SENT_ON
    if sent_on and attack.at_edge or lookup("attack", attack.name).sent and not sent_on and defense != NONE:
        return None
    crafted_on = {"oblivious": (model, NONE), "transfer": (TOGETHER.join(sources), NONE)}.get(threat, (model, defense))
    craft = Craft(*crafted_on, attack.spending_all() if sent_on or crafted_on[1] in drawing else attack, budget, seed)
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
