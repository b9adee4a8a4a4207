"""What the files of a run must look like before anything is made of them: the run may be a stranger's, with checksums that fit."""
from typing import Any, Callable, Mapping

from ..errors import InputError, shown
from .corruptions.base import STRENGTHS

LARGEST = 1e30  # a number in a row: sums of some stay finite
Check = Callable[[Any], bool]


def text(value: Any) -> bool:
    """A string."""
    return isinstance(value, str)


def truth(value: Any) -> bool:
    """True or false."""
    return isinstance(value, bool)


def whole(value: Any) -> bool:
    """A whole number of 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def finite(value: Any) -> bool:
    """A number that one can count with; NaN is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def or_none(check: Check) -> Check:
    """The same, or null."""
    return lambda value: value is None or check(value)


def table_of(check: Check) -> Check:
    """An object with such values."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def list_of(check: Check, length: int | None = None) -> Check:
    """An array of such values."""
    return lambda value: isinstance(value, list) and length in (None, len(value)) and all(map(check, value))


def anything(value: Any) -> bool:
    """Whatever JSON can hold."""
    return True


SOUND = or_none(text)
ROW: dict[str, Check] = {
    "model": text, "defense": text, "attack": text, "threat": text, "adaptive": truth, "budget": text, "seed": whole, "clip": text, "label": text,
    "target": or_none(text), "clean_prediction": text, "adversarial_prediction": text, "linf": finite, "snr_db": or_none(finite),
    "masking_excess_db": or_none(finite), "passes": whole, "queries": whole, "clean_audio": SOUND, "adversarial_audio": SOUND, "perturbation_audio": SOUND,
    "defended_audio": SOUND, "perturbation_gain_db": or_none(finite), "reached": truth,
}
PROBABILITIES = or_none(table_of(finite))
MEASURE, GAPS = or_none(finite), or_none(text)
PROBE: dict[str, Check] = {"model": text, "defense": text, "clips": whole, "largest_difference": finite, "sums": list_of(finite, 2), "lowest_output": finite,
                           "zero_gradients": whole, "unbounded_tried": whole, "unbounded_reached": whole}
DAMAGED: dict[str, Check] = {"model": text, "defense": text, "corruption": text, "strength": lambda value: whole(value) and 1 <= value <= STRENGTHS, "value": finite, "seed": whole, "clip": text, "label": text,
                             "prediction": text, "audio": SOUND}
CERTIFICATE: dict[str, Check] = {"clip": text, "label": text, "model": text, "predicted": or_none(text), "radius": or_none(finite), "sigma": finite, "n": whole,
                                 "n0": whole, "alpha": finite, "ceiling": finite, "votes": whole, "snr_db": or_none(finite)}
CLIPS: dict[str, Check] = {"number": whole, "sha256": text, "source": text}
ENVIRONMENT: dict[str, Check] = {
    "clips": lambda value: isinstance(value, dict) and fits_where_there(value, CLIPS), "models": table_of(text), "packages": table_of(or_none(text)),
    "hardware": table_of(anything), "command": table_of(anything), "seeds": list_of(whole), "git": or_none(table_of(anything)),
}


def fits(value: Any, shape: Mapping[str, Check]) -> bool:
    """Whether an object has all keys of a shape with such values."""
    return isinstance(value, dict) and all(key in value and check(value[key]) for key, check in shape.items())


def fits_where_there(value: Any, shape: Mapping[str, Check]) -> bool:
    """Whether an object has no other values than such where it has the keys."""
    return isinstance(value, dict) and all(key not in value or check(value[key]) for key, check in shape.items())


def required(good: bool, path: Any, what: str) -> None:
    """Raise InputError unless it is good."""
    if not good:
        raise InputError(f"'{shown(path)}': expected {what}")
