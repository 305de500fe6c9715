"""What a file says, before it is known whether that is enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIDRecord", "Meta", "SpectrumRecord", "Told"]

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Meta:
    """What is known of the experiment; units as in `Spectrum`."""

    isotope: str | None = None
    field: float | None = None
    rate: float | None = None
    label: str = ""


@dataclass(frozen=True)
class Told:
    """What the user adds to a file; None leaves it to the file. Units as in `Spectrum.read`."""

    isotope: str | None = None
    field: float | None = None
    rate: float | None = None
    larmor_frequency: float | None = None
    zero: float | None = None
    label: str | None = None


@dataclass(frozen=True, eq=False)
class SpectrumRecord:
    """A spectrum's columns in the file's order; an axis that the file does not have is None.

    Attributes:
        intensity: absorption, (points,).
        imaginary: dispersion, or None.
        ppm: from the reference, or None.
        hz: from the reference, or None.
        larmor: of the reference, Hz, or None.
        meta: the rest.
    """

    intensity: Real
    imaginary: Real | None
    ppm: Real | None
    hz: Real | None
    larmor: float | None
    meta: Meta


@dataclass(frozen=True, eq=False)
class FIDRecord:
    """A decay's points, s and Hz; the attributes are those of `FID`."""

    signal: NDArray[np.complex128]
    dt: float
    carrier: float
    start: float
    larmor: float | None
    meta: Meta
