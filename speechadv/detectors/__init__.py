"""Detectors beside a classifier: the contract, the specifications by which users name them, and the attacker who knows them."""
from .. import registry
from .base import Detector, divergence
from .watched import Undetected, Watched

__all__ = ["Detector", "Undetected", "Watched", "divergence", "parse_detector"]


def parse_detector(spec: str, sample_rate: int = 16000) -> Detector:
    """The detector that a specification names.

    "margin", "margin:noise=0.002", "temporal:shift=50,parts=4", "disagreement:bandpass:300-3400,mp3:16".

    Args:
        spec: the specification.
        sample_rate: Hz of the waveforms that will be looked at.

    Raises:
        ConfigError: an unknown name or an argument that the detector does not take; the message says what was expected.

    Example:
        >>> detector = parse_detector("disagreement:mp3:16")
        >>> scores = detector(speechadv.load_model("resnet"), waveforms)    # (batch,), higher is more suspicious
    """
    name, _, argument = spec.strip().partition(":")
    return registry.lookup("detector", name).from_spec(argument, sample_rate).eval()
