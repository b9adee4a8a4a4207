"""The config of a training run."""
import re
from dataclasses import dataclass, field
from typing import Any

from ..config import require
from ..errors import ConfigError

OBJECTIVES = ("at", "trades", "mart", "fast", "free", "ard", "rslad")  # classes of `training.objectives`, which imports torch
NEED_TEACHERS = ("ard", "rslad")
INNER = ("soft", "hard", "kl", "margin")


@dataclass
class Augmentation:
    """What happens to a training clip before the network (and its teacher) hears it."""

    shift_ms: float = 100.0  # uniform, both ways
    gain_db: list[float] = field(default_factory=lambda: [-9.0, 6.0])  # uniform
    noise_share: float = 0.7  # of the clips get background noise ...
    noise_snr_db: list[float] = field(default_factory=lambda: [5.0, 35.0])  # ... at a uniform SNR
    mix_share: float = 0.0  # of the clips get another clip on top ...
    mix_snr_db: list[float] = field(default_factory=lambda: [3.0, 20.0])  # ... this much quieter

    def __post_init__(self):
        for name in ("noise_share", "mix_share"):
            require(0 <= getattr(self, name) <= 1, f"augmentation.{name}", "a share from 0 to 1", getattr(self, name))
        for name in ("gain_db", "noise_snr_db", "mix_snr_db"):
            pair = getattr(self, name)
            require(len(pair) == 2 and pair[0] <= pair[1], f"augmentation.{name}", "[lowest, highest]", pair)
        require(0 <= self.shift_ms <= 500, "augmentation.shift_ms", "0 to 500 ms", self.shift_ms)


@dataclass
class Teaching:
    """Soft labels from other networks (Hinton et al. 2015; consistent views: Beyer et al. 2022, arXiv:2106.05237)."""

    models: list[str] = field(default_factory=list)  # words of --model
    temperature: float = 1.0
    hard_share: float = 0.1  # of the label that stays one-hot
    mixtures: float = 0.0  # of the clips are heard with another word on top, as loud as this level says: there the teachers' labels alone count
    mixture_db: list[float] = field(default_factory=lambda: [-3.0, 3.0])  # how much louder the first one is, uniform

    def __post_init__(self):
        require(0 <= self.mixtures <= 1, "teaching.mixtures", "a share from 0 to 1", self.mixtures)
        require(len(self.mixture_db) == 2 and self.mixture_db[0] <= self.mixture_db[1], "teaching.mixture_db", "[lowest, highest]", self.mixture_db)
        require(bool(self.models) or not self.mixtures, "teaching.mixtures", "0 without teaching.models (a mixture has no label of its own)", self.mixtures)
        require(self.temperature > 0, "teaching.temperature", "a positive number", self.temperature)
        require(0 <= self.hard_share <= 1, "teaching.hard_share", "a share from 0 to 1", self.hard_share)


@dataclass
class Adversary:
    """What is learned under attack (docs/training.md has the objectives), and the inner maximisation. `steps` is a schedule of [first epoch, steps]: weak and fast
    first, stronger later.

    Validation attacks within `budget`; so does training, unless `budgets`, a schedule of [first epoch, budget], says otherwise from some epoch on.
    """

    objective: str = "at"
    beta: float = 6.0  # of trades, mart, ard and rslad: weight of the second part
    inner: str = ""  # what the adversary climbs: soft, hard, kl or margin; "" is the objective's own
    replays: int = 4  # of free
    guard: float = 0.2  # of fast and free: fall of the accuracy under PGD-10 that is taken for catastrophic overfitting; 0 switches it off
    guard_clips: int = 128  # of validation
    budget: str = "linf:0.002"
    budgets: list[list[Any]] = field(default_factory=list)
    steps: list[list[int]] = field(default_factory=lambda: [[0, 7]])
    step_size: float = 0.0  # in budgets; 0 stands for 1.25 / steps, at most 1
    loss: str = "cross_entropy"  # or margin: the same as inner = "margin"
    clean_share: float = 0.0  # of each batch stays clean
    precision: str = "float32"  # of the inner attack's products; bfloat16 takes less time where a processor has instructions for it

    def __post_init__(self):
        require(self.precision in ("float32", "bfloat16"), "adversary.precision", "float32 or bfloat16", self.precision)
        require(self.objective in OBJECTIVES, "adversary.objective", f"one of {', '.join(OBJECTIVES)}", self.objective)
        require(self.inner in ("", *INNER), "adversary.inner", f"one of {', '.join(INNER)}", self.inner)
        require(not (self.inner and self.loss == "margin"), "adversary.inner", "none beside loss = margin", self.inner)
        require(self.objective != "free" or not self.inner and self.loss != "margin", "adversary.inner", "none with objective free, which climbs what it learns from",
                self.inner or self.loss)
        require(self.beta >= 0, "adversary.beta", "0 or a positive number", self.beta)
        require(self.replays >= 1, "adversary.replays", "1 or more", self.replays)
        require(0 <= self.guard <= 1, "adversary.guard", "a share from 0 to 1", self.guard)
        require(self.guard_clips >= 1, "adversary.guard_clips", "1 or more", self.guard_clips)
        require(bool(self.steps) and all(len(p) == 2 and p[1] >= 0 <= p[0] for p in self.steps), "adversary.steps", "pairs [first epoch, steps]", self.steps)
        require(0 <= self.clean_share < 1, "adversary.clean_share", "a share from 0 to below 1", self.clean_share)
        require(self.step_size >= 0, "adversary.step_size", "0 or a positive number", self.step_size)
        require(self.loss in ("cross_entropy", "margin"), "adversary.loss", "cross_entropy or margin", self.loss)
        require(all(len(p) == 2 and isinstance(p[0], int) and isinstance(p[1], str) for p in self.budgets), "adversary.budgets",
                "pairs [first epoch, budget]", self.budgets)

    def budget_at(self, epoch: int) -> str:
        """The budget that training attacks within in an epoch."""
        return max((pair for pair in self.budgets if pair[0] <= epoch), default=[0, self.budget])[1]

    def steps_at(self, epoch: int) -> int:
        """Inner steps in an epoch."""
        return max((pair for pair in self.steps if pair[0] <= epoch), default=[0, 0])[1]


@dataclass
class TrainingConfig:
    """A training run. Train is the only split it learns from, validation the only one it chooses on; asking for test is an error."""

    name: str
    task: str | list[str] = "v2-12"
    model: str = "resnet"  # of the registry, with fresh weights; or someone's, as --model names it: tflite:FILE, onnx:FILE, package.module:factory
    model_options: dict[str, Any] = field(default_factory=dict)
    start_from: str = ""  # word of --model whose weights the run starts from
    soup: list[str] = field(default_factory=list)  # further such words, of the same layers: the run starts from the mean of them all
    members: list[str] = field(default_factory=list)  # instead of `model`: words of trained networks that become one, a committee, each with its weights
    widen: bool = False  # start_from names a narrower network of the same kind: its channels are copied until all of the wider one's are filled
    data: list[str] = field(default_factory=list)  # default: SPEECHADV_DATA; "bundled" for the clips in the package
    train_only: list[str] = field(default_factory=list)  # roots that only training may see
    unlabelled: list[str] = field(default_factory=list)  # folders of sound that only training may see, and of whose labels it knows nothing: teachers label it
    split: str = "train"
    unknown: float = 1.0  # clips of `_unknown_` as a multiple of a keyword's mean number; 0 stands for all there are
    training_clips: int = 0  # a random part of so many clips is learned from; 0 stands for all
    seed: int = 0
    epochs: int = 60  # 0, with start_from or members: what the run starts from is validated and kept as it is
    batch_size: int = 128
    learning_rate: float = 0.003
    warmup_epochs: float = 2.0
    weight_decay: float = 0.02
    label_smoothing: float = 0.0
    averaging: float = 0.998  # of the weights, a step (exponential); 0 switches it off
    views: int = 0  # fixed augmented versions of each clip; 0 draws new ones each epoch
    validate_every: int = 1
    patience: int = 0  # validations in a row without a better one, after which the run ends; 0 stands for none
    watched_clips: int = 0  # training clips that are scored beside validation, as they are, to see overfitting
    noise_sigma: float = 0.0  # standard deviation of white noise on every training clip, a fraction of full scale: for `certify --sigma`
    defense: str = "none"  # what the network is trained, attacked and validated behind, as --defense names it; the weights are those of the network alone
    validation_clips: int = 0  # of which the validation set is cut for the attack; 0 stands for all
    augmentation: Augmentation = field(default_factory=Augmentation)
    teaching: Teaching = field(default_factory=Teaching)
    adversary: Adversary | None = None

    def __post_init__(self):
        if self.split != "train":
            raise ConfigError(f"split: training uses train alone and chooses on validation, got '{self.split}'")
        require(bool(re.fullmatch(r"[^\W_][\w.+-]{0,99}", self.name)), "name", "letters, digits, . + - _ (it names the files)", self.name)
        require(self.batch_size >= 2, "batch_size", "2 or more (batch normalisation needs two)", self.batch_size)
        require(self.epochs > 0 or bool(self.start_from or self.members) and self.epochs == 0, "epochs", "a positive number, or 0 with start_from or members", self.epochs)
        for key in ("learning_rate", "validate_every"):
            require(getattr(self, key) > 0, key, "a positive number", getattr(self, key))
        require(0 <= self.averaging < 1, "averaging", "0 to below 1", self.averaging)
        for key in ("views", "weight_decay", "label_smoothing", "validation_clips", "warmup_epochs", "seed", "patience", "watched_clips", "training_clips"):
            require(getattr(self, key) >= 0, key, "0 or more", getattr(self, key))
        require(self.training_clips != 1, "training_clips", "0 or 2 and more (batch normalisation needs two)", self.training_clips)
        require(0 <= self.noise_sigma < 1, "noise_sigma", "0 to below 1 (full scale)", self.noise_sigma)
        for key in ("widen", "soup"):
            require(bool(self.start_from) or not getattr(self, key), key, "start_from beside it", "none")
        require(not (self.widen and self.soup), "widen", "false beside soup", self.widen)
        for key in ("start_from", "model_options"):
            require(not (self.members and getattr(self, key)), key, "none beside members, which have their own", getattr(self, key))
        taught = bool(self.teaching.models)
        require(taught or not self.unlabelled, "unlabelled", "none without teaching.models, whose labels it gets", ", ".join(self.unlabelled))
        objective = self.adversary.objective if self.adversary else "at"
        require(taught or objective not in NEED_TEACHERS, "adversary.objective", "another one without teaching.models", objective)
