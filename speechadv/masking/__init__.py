"""Psychoacoustic masking: which sounds a clip hides from a listener, and how to keep a perturbation below that threshold."""
from .projection import CappedSpectrum
from .spectrum import FULL_SCALE_DB, Spectrum
from .threshold import CALIBRATIONS, MASKERS, MaskingModel

__all__ = ["CALIBRATIONS", "FULL_SCALE_DB", "MASKERS", "CappedSpectrum", "MaskingModel", "Spectrum"]
