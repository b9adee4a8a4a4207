"""The config of a detection run."""
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..attacks.pgd import PGD
from ..config import as_dict, keywords_of, require
from ..registry import create
from .settings import GOALS

SKIPPABLE = ("model", "detector", "budget")


@dataclass
class DetectionConfig:
    """What to measure: models x detectors x budgets. Raises ConfigError: a value out of range."""

    made_by: ClassVar[str] = "recipes/detection/run.py"

    detectors: list[str]  # see `speechadv.detectors.parse_detector`
    budgets: list[str]
    models: list[str] = field(default_factory=lambda: ["resnet"])
    skip: list[dict[str, Any]] = field(default_factory=list)  # {model = "resnet-at", budget = "linf:0.002"}: not these
    attack: dict[str, Any] = field(default_factory=lambda: {"name": "pgd", "steps": 40})  # of both attackers; the loss is the margin's
    searches: int = 5  # weights of the detector's score that the adaptive attacker tries
    draws: int = 4  # passes that he averages over where something is random
    false_alarms: float = 0.05  # share of clean validation clips that may be suspected
    goal: str = "untargeted"
    task: str | list[str] = "v2-12"
    validation_clips: int | None = None  # stratified parts of the splits; all by default
    clean_clips: int | None = None  # of the test split, heard clean
    clips: int = 100  # of these, attacked
    seed: int = 0
    data: list[str] = field(default_factory=list)

    def __post_init__(self):
        for key in ("detectors", "budgets", "models"):
            require(bool(getattr(self, key)), key, "at least one", "none")
            require(len(set(getattr(self, key))) == len(getattr(self, key)), key, "each one once", ", ".join(getattr(self, key)))
        require(self.goal in GOALS, "goal", f"one of {', '.join(GOALS)}", self.goal)
        require(0 <= self.false_alarms < 1, "false_alarms", "a share from 0 up to but not 1", self.false_alarms)
        for key in ("searches", "draws", "clips", "validation_clips", "clean_clips"):
            require(getattr(self, key) is None or getattr(self, key) >= 1, key, "1 or more", getattr(self, key))
        require(0 <= self.seed < 2**63, "seed", "a whole number from 0 on", self.seed)
        require(set(self.attack) >= {"name"}, "attack", "a table with a name", self.attack)
        for entry in self.skip:
            require(set(entry) <= {*SKIPPABLE}, "skip", f"some of {', '.join(SKIPPABLE)}", ", ".join(entry))
        self.attacker()

    def identity(self) -> dict[str, Any]:
        """What makes this run the same as another one."""
        return as_dict(self)

    def attacker(self, full: bool = False) -> PGD:
        """The attack; `full`: it spends all its steps. Raises ConfigError: none that follows a goal's own loss, or a wrong option."""
        name, options = self.attack["name"], {key: value for key, value in self.attack.items() if key != "name"}
        attack = create("attack", name, **{"loss": "margin"} | keywords_of("attack", name, options, "config: attack") | ({"full": True} if full else {}))
        require(isinstance(attack, PGD) and "full" not in options, "attack", "pgd with its own options, full aside", self.attack)
        return attack

    @property
    def cells(self) -> list[tuple[str, str]]:
        """(model, budget), in order."""
        return [(model, budget) for model in self.models for budget in self.budgets if self.detectors_of(model, budget)]

    def detectors_of(self, model: str, budget: str | None = None) -> list[str]:
        """The detectors that are measured beside a model, within this budget or within any."""
        budgets = [budget] if budget else self.budgets
        return [detector for detector in self.detectors if any(not self._left_out(model, detector, each) for each in budgets)]

    def _left_out(self, *place: str) -> bool:
        cell = dict(zip(SKIPPABLE, place))
        return any(all(cell[key] == value for key, value in entry.items()) for entry in self.skip)
