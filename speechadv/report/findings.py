"""What a run found, computed from its rows: the numbers and comparisons that a written report puts into words."""
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Callable

from ..data.speech_commands import SILENCE
from ..errors import InputError, shown
from ..evaluation import rows as row_files
from ..evaluation.aggregate import by_cell, classes, table
from ..evaluation.comparison import paired
from ..evaluation.folder import ROWS, read_config, read_environment, read_probes
from ..evaluation.metrics import right_before, robust, succeeded
from ..evaluation.rows import Row
from ..evaluation.sanity import flags
from ..evaluation.statistics import mcnemar

CHANCE = 0.05  # a paired difference counts from this p-value down
LEAST_CLIPS = 10  # of a label, to be named as a weak one
Line = dict[str, Any]  # of the table


@dataclass(frozen=True)
class Subject:
    """What is attacked: a network behind a defense."""

    model: str
    defense: str

    def __str__(self) -> str:
        return self.model if self.defense == "none" else f"{self.model} behind {self.defense}"


@dataclass(frozen=True)
class Difference:
    """Two subjects on the same clips. `better` and `worse` count the clips on which they differ; `p` is the exact two-sided test of McNemar."""

    better: int
    worse: int

    @property
    def p(self) -> float:
        return mcnemar(self.better, self.worse)

    @property
    def word(self) -> str:
        """better, worse or "no difference"."""
        if self.p > CHANCE or self.better == self.worse:
            return "no difference"
        return "better" if self.better > self.worse else "worse"


@dataclass(frozen=True)
class Comparison:
    """A subject against the base: the paired difference under each budget."""

    subject: Subject
    differences: list[tuple[str, Difference]]

    @property
    def words(self) -> set[str]:
        return {difference.word for _, difference in self.differences}

    @property
    def helped(self) -> bool:
        """Whether it is better under some budget."""
        return "better" in self.words

    @property
    def most(self) -> tuple[str, Difference]:
        """The budget with the largest gain."""
        return max(self.differences, key=lambda item: item[1].better - item[1].worse)

    @property
    def least(self) -> tuple[str, Difference]:
        """The budget with the smallest gain, or the largest loss."""
        return min(self.differences, key=lambda item: item[1].better - item[1].worse)


def finite(text: str) -> float | None:
    """The number that a text is, or None."""
    try:
        return float(text)
    except ValueError:
        return None


class Findings:
    """An evaluation run as the report sees it. Only the first seed is compared; the others stand in the run's own table.

    Args:
        folder: of the run.

    Raises:
        InputError: the folder is no run or has no rows. DataError: a row is broken.
    """

    def __init__(self, folder: Path):
        self.folder, self.name = folder, folder.resolve().name
        self.config, self.rows = read_config(folder), row_files.read_finished(folder / ROWS)
        if not self.rows:
            raise InputError(f"'{shown(folder)}': has no rows yet; go on with `speechadv evaluate`")

    @property
    def targeted(self) -> bool:
        return self.config.targeted

    @property
    def rate(self) -> str:
        """The column that says how the attack fared: targeted success, or robust accuracy where there is no target."""
        return "targeted_success" if self.targeted else "robust_accuracy"

    @cached_property
    def lines(self) -> list[Line]:
        """The table."""
        return table(self.rows, self.targeted)

    @cached_property
    def seed(self) -> int:
        return self.lines[0]["seed"]

    @cached_property
    def subjects(self) -> list[Subject]:
        return list(dict.fromkeys(Subject(line["model"], line["defense"]) for line in self.lines))

    @cached_property
    def budgets(self) -> list[str]:
        return list(dict.fromkeys(line["budget"] for line in self.lines))

    @cached_property
    def environment(self) -> dict[str, Any]:
        return read_environment(self.folder)

    @cached_property
    def flags(self) -> list[dict[str, Any]]:
        """Sanity flags."""
        return flags(self.rows, self.config, read_probes(self.folder))

    def measured(self, subject: Subject, budget: str) -> list[Line]:
        """The lines of a subject under a budget."""
        wanted = (subject.model, subject.defense, budget, self.seed)
        return [line for line in self.lines if (line["model"], line["defense"], line["budget"], line["seed"]) == wanted]

    def verdict(self, subject: Subject, budget: str) -> Line | None:
        """The line that did worst to a subject, whatever the attack knew; None unless some attack knew all of it."""
        lines = self.measured(subject, budget)
        if not any(line["adaptive"] for line in lines):
            return None
        drawable = [line for line in lines if line[self.rate] is not None]
        return min(drawable, key=lambda line: (self.harmlessness(line), not line["adaptive"]), default=None)

    def not_adaptive(self, subject: Subject) -> list[str]:
        """The budgets under which the verdict on a subject came from an attack that did not know all of it."""
        return [budget for budget in self.budgets if (line := self.verdict(subject, budget)) and not line["adaptive"]]

    def oblivious(self, subject: Subject, budget: str) -> Line | None:
        """The worst of the lines whose attack did not know the defense."""
        lines = [line for line in self.measured(subject, budget) if line["threat"] in ("oblivious", "transfer") and not line["adaptive"]]
        lines = [line for line in lines if line[self.rate] is not None]
        return min(lines, key=self.harmlessness, default=None)

    def harmlessness(self, line: Line) -> float:
        """Larger is better for the defender."""
        return -line[self.rate] if self.targeted else line[self.rate]

    @cached_property
    def base(self) -> Subject:
        """What others are compared with: the first network without a defense."""
        return next((subject for subject in self.subjects if subject.defense == "none"), self.subjects[0])

    @cached_property
    def best(self) -> Subject:
        """Whose verdicts are best on average over the budgets."""
        def score(subject: Subject) -> float:
            found = [line for budget in self.budgets if (line := self.verdict(subject, budget))]
            return sum(map(self.harmlessness, found)) / len(found) if found else float("-inf")

        return max(self.subjects, key=score)

    def difference(self, subject: Subject, other: Subject, budget: str) -> Difference | None:
        """`subject` against `other` in their verdicts under a budget, clip by clip; None where one has no verdict.

        In a targeted run over the clips that both hear right before.
        """
        mine, theirs = self.verdict(subject, budget), self.verdict(other, budget)
        if not (mine and theirs):
            return None
        if not self.targeted:
            return self._paired(mine, theirs, robust)
        return self._paired(mine, theirs, lambda row: not succeeded(row), among=right_before)  # a clip that is wrong anyway is no success, and no merit of the defense

    def price(self, subject: Subject, other: Subject) -> Difference:
        """`subject` against `other` on clean clips."""
        return self._paired(self.clean(subject), self.clean(other), right_before)

    def _paired(self, mine: Line, theirs: Line, good: Callable[[Row], bool], among: Callable[[Row], bool] = lambda row: True) -> Difference:
        found = paired(self.of_line(theirs), self.of_line(mine), good, among)
        return Difference(better=found.only_b, worse=found.only_a)

    @cached_property
    def _cells(self) -> dict[tuple, list[Row]]:
        return by_cell(self.rows)

    def of_line(self, line: Line) -> list[Row]:
        """The rows that a line of the table counts."""
        return self._cells[tuple(line[key] for key in ("model", "defense", "attack", "threat", "budget", "seed"))]

    def clean(self, subject: Subject) -> Line:
        """A line of the subject, for its clean accuracy, which is the same under all budgets."""
        return next(line for line in self.lines if (line["model"], line["defense"]) == (subject.model, subject.defense))

    def misleading(self) -> list[tuple[Subject, str, Line, Line]]:
        """(subject, budget, oblivious, verdict) where an attack that did not know the defense would have flattered it, the largest gap of each subject."""
        found = []
        for subject in self.subjects:
            pairs = [(budget, *pair) for budget in self.budgets if all(pair := (self.oblivious(subject, budget), self.verdict(subject, budget)))]
            gaps = [(self.harmlessness(seen) - self.harmlessness(real), budget, seen, real) for budget, seen, real in pairs if not seen["adaptive"]]
            if gaps and (top := max(gaps, key=lambda gap: gap[0]))[0] > 0:
                found.append((subject, *top[1:]))
        return sorted(found, key=lambda item: self.harmlessness(item[3]) - self.harmlessness(item[2]))

    @cached_property
    def compared(self) -> list["Comparison"]:
        """Every other subject against the base, under each budget where both have a verdict."""
        pairs = ((subject, [(budget, found) for budget in self.budgets if (found := self.difference(subject, self.base, budget))]) for subject in self.subjects)
        return [Comparison(subject, differences) for subject, differences in pairs if subject != self.base and differences]

    @property
    def top(self) -> "Comparison | None":
        """How the best subject compares; None where that is the base itself."""
        return next((item for item in self.compared if item.subject == self.best), None)

    def over_size(self, subject: Subject) -> list[list[tuple[str, Line]]]:
        """(budget, verdict) of budgets that differ in their size alone, two or more of a kind, by size."""
        kinds: dict[str, list[tuple[float, str, Line]]] = {}
        for budget in self.budgets:
            kind, _, size = budget.partition(":")
            line = self.verdict(subject, budget)
            if line and (value := finite(size)) is not None:
                kinds.setdefault(kind, []).append((value, budget, line))
        return [[item[1:] for item in sorted(items, key=lambda item: item[0])] for items in kinds.values() if len(items) > 1]

    def over_bitrate(self, model: str, budget: str) -> list[tuple[str, Line]]:
        """(defense, verdict) of a network behind MP3 alone, by bitrate; empty below two bitrates."""
        behind = [subject for subject in self.subjects if subject.model == model and subject.defense.startswith("mp3:")]
        rates = [(finite(subject.defense.removeprefix("mp3:")), subject) for subject in behind]
        found = [(subject.defense, line) for rate, subject in sorted((pair for pair in rates if pair[0] is not None), key=lambda pair: pair[0])
                 if (line := self.verdict(subject, budget))]
        return found if len(found) > 1 else []

    def hardest(self, subject: Subject) -> str | None:
        """The budget under which a subject does worst."""
        found = {budget: line for budget in self.budgets if (line := self.verdict(subject, budget))}
        return min(found, key=lambda budget: self.harmlessness(found[budget]), default=None)

    def weak_labels(self, subject: Subject, budget: str, number: int = 3) -> list[dict[str, Any]]:
        """The labels of at least LEAST_CLIPS clips with the lowest robust accuracy: {"label", "clips", "robust_accuracy"}."""
        line = self.verdict(subject, budget)
        if not line:
            return []
        (entry,) = classes([row | {"adaptive": True} for row in self.of_line(line)])
        enough = [label for label in entry["labels"] if label["clips"] >= LEAST_CLIPS and label["robust_accuracy"] is not None]
        return sorted(enough, key=lambda label: label["robust_accuracy"])[:number]

    def confusions(self, subject: Subject, budget: str, number: int = 3) -> list[tuple[str, str, int]]:
        """(label, heard instead, clips): what clips that were right before are heard as, the most frequent."""
        line = self.verdict(subject, budget)
        fallen = [row for row in self.of_line(line) if right_before(row) and not robust(row)] if line else []
        counts = Counter((row["label"], row["adversarial_prediction"]) for row in fallen)
        return [(*pair, count) for pair, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number]]

    @cached_property
    def labels(self) -> dict[str, int]:
        """Clips of each label."""
        return dict(sorted(Counter({row["clip"]: row["label"] for row in self.rows}.values()).items()))

    @cached_property
    def speakers(self) -> int | None:
        """Speakers of the clips by the names of the files; None where names are not those of Speech Commands."""
        spoken = {row["clip"] for row in self.rows if row["label"] != SILENCE}
        return len({name.rpartition("/")[2].partition("_nohash_")[0] for name in spoken}) if all("_nohash_" in name for name in spoken) else None
