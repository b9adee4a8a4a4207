"""What a model heard, as rows keep it: the word, and the likeliest words with their probabilities."""
from typing import Any, Sequence

from torch import Tensor

PROBABILITIES = ("clean_probabilities", "adversarial_probabilities")  # keys of rows, beside the predictions
LIKELIEST = 3  # words that are kept
DIGITS = 3  # of a probability: what rounds differently in another batch lies far below


def words(logits: Tensor, labels: Sequence[str]) -> list[str]:
    """The likeliest label of each clip; logits (batch, labels)."""
    return [labels[index] for index in logits.argmax(1).tolist()]


def likeliest(logits: Tensor, labels: Sequence[str]) -> list[dict[str, float] | None]:
    """The three likeliest labels of each clip with their softmax probabilities, likeliest first; None where a logit is not finite.

    Args:
        logits: (batch, labels)
        labels: their words.
    """
    shares, order = logits.double().softmax(1).topk(min(LIKELIEST, len(labels)), 1)
    finite = logits.isfinite().all(1).tolist()
    return [{labels[index]: round(share, DIGITS) for index, share in zip(*row)} if whole else None
            for *row, whole in zip(order.tolist(), shares.tolist(), finite)]


def part_of(row: dict[str, Any]) -> tuple[str, ...]:
    """The keys of this module that a row has; rows of older runs have none."""
    return tuple(key for key in PROBABILITIES if key in row)
