"""A measured spectrum beside the calculated ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxnmr.spectrum import Spectrum
from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._result import Result

__all__ = ["Comparison", "compared", "compared_or_why", "measured_of"]


class Comparison(NamedTuple):
    """One calculated line on the points of the measured one.

    Attributes:
        name: A, B, C or D.
        scale: by which the calculated line is multiplied, least squares.
        residual: norm of what is left, of that of the measured line.
        line: calculated and scaled, (point,).
    """

    name: str
    scale: float
    residual: float
    line: np.ndarray


def measured_of(config: RunConfig) -> Spectrum | None:
    """The measured spectrum as it stands in its file; None where none was given.

    Raises:
        ValueError: a file that is not there, that is no spectrum, or that shares no points with the axis.
    """
    asked = config.measured
    if asked.file is None:
        return None
    field = config.experiment.fields_t[asked.field]
    try:
        whole = Spectrum.read(asked.file, isotope=config.experiment.isotope, field=field)
    except OSError as error:
        raise ValueError(f"measured.file: {error.strerror or error}; correct its name.") from None
    except ValueError as error:
        raise ValueError(f"measured.file: {str(error).removeprefix('path: ')}") from None
    ppm, ends = np.asarray(whole.ppm, np.float64), config.axis.ppm
    if ((ppm >= min(ends)) & (ppm <= max(ends))).sum() < 2:
        raise ValueError(
            f"measured.file: {asked.file} has no points between {min(ends):g} and {max(ends):g} ppm, the ends of axis.ppm; "
            f"it goes from {ppm.min():g} to {ppm.max():g} ppm."
        )
    return whole


def compared_or_why(result: Result) -> tuple[tuple[Spectrum, tuple[Comparison, ...]] | None, tuple[str, ...]]:
    """`compared`, or a remark where a file that could be compared at first cannot be any more: the report is still due."""
    try:
        return compared(result), ()
    except (ValueError, OSError) as error:
        return None, (f"the measured spectrum is left out: {error}",)


def compared(result: Result) -> tuple[Spectrum, tuple[Comparison, ...]] | None:
    """The measured spectrum within the window, and each calculated one scaled to it; None where none was given.

    Raises:
        ValueError: a file that is no spectrum, or one that shares no points with the axis.
    """
    asked = result.config.measured
    whole = measured_of(result.config)
    if whole is None:
        return None
    field = result.config.experiment.fields_t[asked.field]
    found = result.spectra[asked.field]
    ppm, intensity = np.asarray(whole.ppm, np.float64), np.asarray(whole.intensity, np.float64)
    inside = (ppm >= found.ppm.min()) & (ppm <= found.ppm.max())
    if inside.sum() < 2:
        raise ValueError(f"measured.file: {asked.file} has no points between {min(found.ppm):g} and {max(found.ppm):g} ppm.")
    ppm, intensity = ppm[inside], intensity[inside]
    lines = {"A": found.still, "B": found.moving[asked.temperature]}
    if len(found.both):
        lines |= {"C": found.fast[asked.temperature], "D": found.both[asked.temperature]}
    order, rows = np.argsort(found.ppm), []
    for name, line in lines.items():
        here = np.interp(ppm, found.ppm[order], line[order])
        scale = float(here @ intensity / (here @ here))
        left = float(np.linalg.norm(intensity - scale * here) / np.linalg.norm(intensity))
        rows.append(Comparison(name, scale, left, scale * here))
    larmor = float(np.asarray(whole.larmor_frequency))
    return Spectrum(ppm, 1e-6 * larmor * ppm, intensity, whole.label, field=field), tuple(rows)
