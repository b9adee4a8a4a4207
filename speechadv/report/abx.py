"""Blind listening tests: the CSV files that the page's ABX test saves, one listener a file, and what they say together."""
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from ..errors import InputError, shown
from ..evaluation.statistics import sign_test, wilson

COLUMNS = ("trial", "a", "b", "x", "answer", "correct")
VERDICTS = {"true": True, "false": False, "1": True, "0": False}
FEWEST = 12  # trials of a listener: with fewer even a sharp ear proves little
LARGEST = 10_000_000  # bytes of a file


@dataclass(frozen=True)
class Listener:
    """What one file holds.

    Attributes:
        file: its path.
        answers: whether each trial was right, in their order.
    """

    file: Path
    answers: tuple[bool, ...]

    @property
    def correct(self) -> int:
        """Trials that were right."""
        return sum(self.answers)


def read_listener(file: str | Path) -> Listener:
    """One listener's trials.

    Args:
        file: CSV with the columns trial, a, b, x, answer and correct, in any order; `correct` is true or false (1 or 0) and must be what x and answer say.

    Raises:
        InputError: the file cannot be read, lacks a column, or a line contradicts itself.
    """
    file = Path(file)
    lines = _lines(file)
    answers, seen = [], set()
    for number, line in lines:
        where = f"'{shown(file)}': line {number}"
        if None in line or None in line.values():
            raise InputError(f"{where}: expected as many fields as columns")
        fields = {key: value.strip() for key, value in line.items()}
        verdict = VERDICTS.get(fields["correct"].lower())
        if verdict is None:
            raise InputError(f"{where}: correct: expected true or false, got '{shown(fields['correct'])}'")
        if not fields["x"] or not fields["answer"] or (fields["x"].lower() == fields["answer"].lower()) != verdict:
            raise InputError(f"{where}: x is '{shown(fields['x'])}', the answer '{shown(fields['answer'])}', and correct says {fields['correct']}")
        if fields["trial"] in seen:
            raise InputError(f"{where}: trial {shown(fields['trial'])} stands there twice")
        seen.add(fields["trial"])
        answers.append(verdict)
    if not answers:
        raise InputError(f"'{shown(file)}': expected trials, there is none")
    return Listener(file, tuple(answers))


def _lines(file: Path) -> list[tuple[int, dict[str, str]]]:
    """The lines after the head, each with its number in the file. Raises InputError."""
    try:
        if file.stat().st_size > LARGEST:
            raise InputError(f"'{shown(file)}': expected the CSV file of a listening test, it is too large")
        with open(file, encoding="utf-8-sig", newline="") as content:
            reader = csv.DictReader(content, strict=True)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"'{shown(file)}': expected the columns {', '.join(COLUMNS)}, there is no {missing[0]}")
            return [(reader.line_num, line) for line in reader]
    except (UnicodeDecodeError, csv.Error) as problem:
        raise InputError(f"'{shown(file)}': expected CSV in UTF-8: {shown(problem)}") from None
    except OSError as problem:
        raise InputError(f"'{shown(file)}': {problem.strerror}") from None


def pooled(listeners: Sequence[Listener]) -> dict[str, Any]:
    """What several listeners say together.

    Returns:
        {"listeners": a list of {"file", trials, correct, share, share_low, share_high, p}, "pooled": the same over all trials}. The interval is
        Wilson's, 95 %; `p` is the chance of at least `correct` right of `trials` by guessing (exact, one-sided binomial).
    """
    lines = [{"file": str(listener.file)} | _figures(listener.correct, len(listener.answers)) for listener in listeners]
    return {"listeners": lines, "pooled": {"listeners": len(lines)} | _figures(sum(line["correct"] for line in lines), sum(line["trials"] for line in lines))}


def _figures(correct: int, trials: int) -> dict[str, Any]:
    low, high = wilson(correct, trials)
    return {"trials": trials, "correct": correct, "share": correct / trials, "share_low": low, "share_high": high, "p": sign_test(correct, trials - correct)}
