"""Processing of measured spectra and decays: each function returns a new one and leaves what it was given."""

from jaxnmr.spectrum.processing._baseline import Polynomial, Spline, baseline, correct_baseline
from jaxnmr.spectrum.processing._decay import apodise, remove_delay, sine_bell, start_at, truncate, zero_fill
from jaxnmr.spectrum.processing._moments import Moments, moments
from jaxnmr.spectrum.processing._noise import Noise, noise
from jaxnmr.spectrum.processing._phase import Phased, autophase, dispersion, phase
from jaxnmr.spectrum.processing._regions import Regions, binned, crop, empty_regions, mask
from jaxnmr.spectrum.processing._scale import integral, normalise, scale

__all__ = [
    "Moments",
    "Noise",
    "Phased",
    "Polynomial",
    "Regions",
    "Spline",
    "apodise",
    "autophase",
    "baseline",
    "binned",
    "correct_baseline",
    "crop",
    "dispersion",
    "empty_regions",
    "integral",
    "mask",
    "moments",
    "noise",
    "normalise",
    "phase",
    "remove_delay",
    "scale",
    "sine_bell",
    "start_at",
    "truncate",
    "zero_fill",
]
