"""The rows of a run as the page's table gets them: column by column, words that repeat as numbers, so that ten thousand rows stay small."""
from typing import Any, Sequence

from ..evaluation.quality import MEASURES
from .saved import first_shown, outcome
from .sounds import Sounds

KEYS = ("label", "target", "model", "defense", "attack", "threat", "budget", "seed", "clip", "clean_prediction", "adversarial_prediction", "snr_db", "linf",
        "masking_excess_db", "passes", "queries")  # of a row, as the page gets them
PROBABILITIES = ("clean_probabilities", "adversarial_probabilities")


def page_data(rows: Sequence[dict[str, Any]], sounds: Sounds) -> dict[str, Any]:
    """What the scripts of the page get.

    Args:
        rows: of the run.
        sounds: of the same rows.

    Returns:
        `count` rows; `columns`, each a list of values or {"words", "at"}; `probabilities`, the same for lists of [word, probability]; `measures` of
        quality as [key, head, digits]; `first`, the row that the page opens with.
    """
    columns = {key: pack([row.get(key) for row in rows]) for key in KEYS}
    columns["outcome"] = pack([outcome(row) for row in rows])
    columns["sound"] = [sounds.ids[number] for number in range(len(rows))]
    columns["silent"] = pack([sounds.silent[number] for number in range(len(rows))])
    measures = [name for name in MEASURES if any(name in row for row in rows)]
    columns |= {name: [rounded(row.get(name)) for row in rows] for name in measures}
    if measures:
        columns["quality_gaps"] = pack([row.get("quality_gaps") for row in rows])
    heard = [number for number in range(len(rows)) if sounds.ids[number]]
    first = heard[first_shown([rows[number] for number in heard])] if heard else 0
    return {"count": len(rows), "columns": columns, "probabilities": {key: pack_probabilities([row.get(key) for row in rows]) for key in PROBABILITIES},
            "measures": [[name, MEASURES[name].head, int(MEASURES[name].form[1])] for name in measures], "first": first}


def pack(values: Sequence[Any]) -> Any:
    """Values as they are, numbers short; of words each once, and for every row its place (-1 for none)."""
    if not any(isinstance(value, str) for value in values):
        return [rounded(value) for value in values]
    place = {word: number for number, word in enumerate(dict.fromkeys(value for value in values if value is not None))}
    return {"words": list(place), "at": [-1 if value is None else place[value] for value in values]}


def rounded(value: Any) -> Any:
    """A number with as many digits as anybody sees on the page."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def pack_probabilities(values: Sequence[dict[str, float] | None]) -> dict[str, Any]:
    """For each row [place of a word, its probability in thousandths, …], likeliest first, or None."""
    place = {word: number for number, word in enumerate(dict.fromkeys(word for value in values if value for word in value))}
    return {"words": list(place), "at": [value and [number for word, share in value.items() for number in (place[word], round(1000 * share))] for value in values]}
