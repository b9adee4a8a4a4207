"""The config of an evaluation."""
import re
from dataclasses import dataclass, field
from typing import Any

from ..config import as_dict, require
from ..data.speech_commands import SPLITS
from .quality import DEFAULT

GOALS = ("untargeted", "targeted")
THREATS = ("oblivious", "transfer", "adaptive", "black-box")
BUNDLED = "bundled"
NOT_IDENTITY = ("batch_size", "cores", "gpus")  # change the speed alone


@dataclass
class EvaluationConfig:
    """What to run: models x defenses x threats x attacks x budgets x seeds, on the clips of one split.

    Threats: "oblivious" crafts on the undefended model with the whole budget spent and sends the result through the defense; "transfer" does so
    with the model `source`, or with several models whose logits are averaged, and sends the result to the other models;
    "adaptive" attacks the defended model itself, with gradients; "black-box" are the attacks that ask for no gradients, on the defended model.

    Raises ConfigError: a value out of range.
    """

    attacks: list[dict[str, Any] | str]  # {name = "pgd", steps = 20}: the attack's own keywords, and `gradient` (see docs/defenses.md)
    budgets: list[str]
    models: list[str] = field(default_factory=lambda: ["resnet"])  # words of --model
    defenses: list[str] = field(default_factory=lambda: ["none"])
    task: str | list[str] = "v2-12"
    split: str = "test"
    goal: str = "untargeted"
    threats: list[str] = field(default_factory=lambda: ["oblivious", "adaptive", "black-box"])
    source: str | list[str] | None = None  # the model that "transfer" crafts on, or several
    skip: list[dict[str, Any]] = field(default_factory=list)  # cells that are left out: {model = "resnet-at", threat = "oblivious"} for all such
    seeds: list[int] = field(default_factory=lambda: [0])
    clips: int | None = None  # a stratified part of the split; all of it by default
    clip_list: str | None = None  # a file of clip names, one a line
    data: list[str] = field(default_factory=list)  # default: SPEECHADV_DATA, else the bundled clips; ["bundled"] for these in any case
    draws: int = 8  # passes that an attack averages over where a model or defense is random
    batch_size: int = 0  # clips at a time; 0: the usual number; -1: the fastest here, as measured, which may be another one in the next run and round single samples otherwise
    cores: float = 1.0  # of a task of `--engine ray`
    gpus: float = 0.0  # of such a task; fractions share a GPU
    quality: list[str] = field(default_factory=lambda: list(DEFAULT))  # measures of how it sounds, see docs/quality.md; the default needs no extra
    corruptions: list[str] = field(default_factory=list)  # everyday damage to hear the clips through, or ["all"]; see docs/corruptions.md
    corruption_reference: str = "resnet"  # the model that errors under corruptions are relative to
    audio: str = "all"  # which clips' sound is kept: "all", "failures" (right before, wrong after) or "sample:N" clips

    def __post_init__(self):
        for key in ("attacks", "budgets", "models", "defenses", "threats", "seeds"):
            require(bool(getattr(self, key)), key, "at least one", "none")
        for key, known in (("goal", GOALS), ("split", SPLITS)):
            require(getattr(self, key) in known, key, f"one of {', '.join(known)}", getattr(self, key))
        for threat in self.threats:
            require(threat in THREATS, "threats", f"some of {', '.join(THREATS)}", threat)
        require(len(set(self.threats)) == len(self.threats), "threats", "each one once", ", ".join(self.threats))
        require(len(set(self.sources)) == len(self.sources), "source", "each one once", ", ".join(self.sources))
        require("transfer" not in self.threats or bool(self.source), "source", "the model that the threat 'transfer' crafts on", "none")
        require(all(0 <= seed < 2**63 for seed in self.seeds), "seeds", "whole numbers from 0 on", self.seeds)
        require(len(set(self.seeds)) == len(self.seeds), "seeds", "each one once", self.seeds)
        require(self.batch_size >= -1, "batch_size", "1 or more, 0 for the usual number, -1 for the fastest", self.batch_size)
        require(self.cores > 0, "cores", "more than 0", self.cores)
        require(self.gpus >= 0, "gpus", "0 or more", self.gpus)
        require(self.draws >= 1, "draws", "1 or more", self.draws)
        require(self.clips is None or self.clips >= 1, "clips", "1 or more", self.clips)
        require(bool(re.fullmatch(r"all|failures|sample:[1-9][0-9]{0,8}", self.audio)), "audio", "all, failures or sample:N", self.audio)

    @property
    def sources(self) -> list[str]:
        """The models that "transfer" crafts on."""
        return [self.source] if isinstance(self.source, str) else list(self.source or ())

    @property
    def targeted(self) -> bool:
        """Whether each clip is to be heard as a word of ours."""
        return self.goal == "targeted"

    def identity(self) -> dict[str, Any]:
        """What makes this run the same as another one: the config without what changes the speed alone."""
        return {key: value for key, value in as_dict(self).items() if key not in NOT_IDENTITY}
