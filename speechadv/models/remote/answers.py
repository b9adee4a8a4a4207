"""What a black box answers, read strictly: labels with scores, or a label alone."""
import json
import math
from dataclasses import dataclass
from typing import Any

from ...errors import InputError, shown

LONGEST = 1 << 20  # bytes of an answer
LONGEST_LABEL = 100  # letters of a label that comes as plain text
FORMS = '{"labels": [...], "scores": [...]}, {"scores": {label: score}}, [{"label": ..., "score": ...}], {"label": ...} or a label as plain text'
SURE = 1e-12  # the probability that 0 is taken for
ALIKE = 1e-3  # how far probabilities may miss a sum of 1


@dataclass(frozen=True)
class Answer:
    """`scores` by label, in the order in which they came; without scores `label` alone."""

    label: str
    scores: dict[str, float] | None = None


def parse(content: bytes, where: str) -> Answer:
    """The answer in some bytes. Raises InputError where they are in none of FORMS."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise nonsense(where, repr(content[:40])) from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = text.strip()
        if not found.isprintable() or not 0 < len(found) <= LONGEST_LABEL or found[0] in "{[<":
            raise nonsense(where, text[:60] or "nothing") from None
    answer = _read(found)
    if answer is None:
        raise nonsense(where, text[:60])
    return answer


def nonsense(where: str, came: str) -> InputError:
    """The error for an answer in none of the forms."""
    return InputError(f"{where}: expected {FORMS} as the answer, got {shown(came)}")


def _read(found: Any) -> Answer | None:
    if isinstance(found, str) and found:
        return Answer(found)
    if isinstance(found, list):
        return _read({"labels": [_get(entry, "label") for entry in found], "scores": [_get(entry, "score") for entry in found]})
    if not isinstance(found, dict):
        return None
    labels, scores = found.get("labels"), found.get("scores")
    if isinstance(scores, dict):
        labels, scores = list(scores), list(scores.values())
    if scores is None and isinstance(found.get("label"), str) and found["label"]:
        return Answer(found["label"])
    return _scored(labels, scores)


def _get(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else None


def _scored(labels: Any, scores: Any) -> Answer | None:
    if not isinstance(labels, list) or not isinstance(scores, list) or not labels or len(labels) != len(scores) or len(set(map(str, labels))) < len(labels):
        return None
    if not all(isinstance(label, str) and label for label in labels) or not all(map(_is_number, scores)):
        return None
    table = dict(zip(labels, map(float, scores)))
    return Answer(max(table, key=table.__getitem__), table)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30 and math.isfinite(value)


def logits(answer: Answer, labels: tuple[str, ...], where: str) -> list[float]:
    """A number a label: the logarithm of scores that are probabilities, other scores as they are, without scores 0 for the label and -30 for the rest.

    Raises InputError: the answer's labels are not the expected ones.
    """
    for label in answer.scores or [answer.label]:
        if label not in labels:
            raise InputError(f"{where}: answers with the label '{shown(label)}', expected one of {shown(', '.join(labels))}")
    if answer.scores is None:
        return [0.0 if label == answer.label else -30.0 for label in labels]
    missing = [label for label in labels if label not in answer.scores]
    if missing:
        raise InputError(f"{where}: answers without a score for '{shown(missing[0])}', expected one for each of {shown(', '.join(labels))}")
    scores = [answer.scores[label] for label in labels]
    if min(scores) >= 0 and abs(sum(scores) - 1) <= ALIKE:
        return [math.log(max(score, SURE)) for score in scores]
    return scores
