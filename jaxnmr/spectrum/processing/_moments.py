"""Area, centre and width of a line without a model of its shape, with errors from the noise."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.errors import is_concrete
from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spectrum.processing._baseline import Polynomial, projector
from jaxnmr.spectrum.processing._noise import Noise, noise as estimate
from jaxnmr.spectrum.processing._regions import Regions, chosen, concrete, spacing

__all__ = ["Moments", "moments"]

Scalar = Float[Array, ""]


class Moments(NamedTuple):
    r"""Moments of a line and their standard errors.

    Attributes:
        area: $\int S\,d\nu$, intensity times Hz.
        centre: centre of gravity, Hz from the reference.
        second: second moment about the centre, Hz². In units of the local field it is $(2\pi/\gamma)^2$ of that.
        fourth: fourth moment about the centre, Hz⁴; $3\,\mathrm{second}^2$ for a Gaussian.
        area_stderr: of the area.
        centre_stderr: of the centre, Hz.
        second_stderr: of the second moment, Hz².
        fourth_stderr: of the fourth moment, Hz⁴.
    """

    area: Scalar
    centre: Scalar
    second: Scalar
    fourth: Scalar
    area_stderr: Scalar
    centre_stderr: Scalar
    second_stderr: Scalar
    fourth_stderr: Scalar


def moments(
    spectrum: Spectrum,
    regions: Regions,
    *,
    base: Regions | None = None,
    degree: int = 1,
    noise: Noise | None = None,
) -> Moments:
    r"""Moments of what lies in given regions, after a polynomial base through the empty ones is taken off.

    $$M_0 = \int S\,d\nu,\qquad \bar\nu = \int \nu S\,d\nu\,/\,M_0,\qquad M_n = \int (\nu - \bar\nu)^n S\,d\nu\,/\,M_0$$

    An error of the intensities changes them by

    $$\delta M_n = \int [(\nu - \bar\nu)^n - M_n - n M_{n-1}(\nu - \bar\nu)]\,\delta S\,d\nu\,/\,M_0 .$$

    The points of the base count too, through the polynomial: often its error is the larger part of the second moment's. With
    the noise's deviation σ and correlation length τ the variance is $\sigma^2\tau\sum(\partial M_n/\partial S_i)^2$.
    What lies outside the regions is cut off: moments of lines with long wings grow with the regions, and a Lorentzian has
    none. Differentiable in the intensities, both modes.

    Args:
        spectrum: measured; in phase.
        regions: the line's, ends in ppm, (from, to) or several pairs, or a mask.
        base: regions without a line; by default `empty_regions` outside `regions`.
        degree: of the polynomial base; -1 for none.
        noise: of the spectrum; by default that of `base`.

    Raises:
        ValueError: regions without points, no base found, regions and base that overlap.
    """
    if is_concrete(spectrum.intensity):
        concrete("intensity", spectrum.intensity)
    line = chosen(spectrum, regions)
    if base is not None or degree >= 0 or noise is None:
        empty = (
            chosen(spectrum, base, max(degree, 0)) if base is not None else chosen(spectrum, None, max(degree, 0)) & ~line
        )
    else:
        empty = np.zeros_like(line)
    if (empty & line).any():
        raise ValueError(f"base: {int((empty & line).sum())} points of it lie in the regions of the line; keep them apart.")
    if noise is None:
        noise = estimate(spectrum, empty, degree=max(degree, 0))
    # From intensities to the line's rectangles, base taken off: one row of weights for each functional.
    width = np.where(line, spacing(spectrum), 0.0)
    columns, solve = projector(Polynomial(degree), empty) if degree >= 0 else (np.zeros((len(line), 0)), np.zeros((0, 0)))
    dtype = spectrum.intensity.dtype
    unit = float(np.ptp(np.asarray(spectrum.hz, np.float64)[line])) or 1.0  # powers of Hz overflow in float32
    offset = float(np.mean(np.asarray(spectrum.hz, np.float64)[line]))
    x = jnp.asarray((np.asarray(spectrum.hz, np.float64) - offset) / unit, dtype)
    at, used = np.flatnonzero(empty), jnp.asarray(width, dtype)
    intensity = spectrum.intensity
    if degree >= 0:
        intensity = intensity - jnp.asarray(columns, dtype) @ (jnp.asarray(solve, dtype) @ intensity[at])
    density = used * intensity
    area = density.sum()
    mean = (x @ density) / area
    d = x - mean
    second, third, fourth = ((d**n) @ density / area for n in (2, 3, 4))

    def error(weight: Array) -> Scalar:
        direct = used * weight
        if degree < 0:
            total = direct @ direct
        else:
            through = (direct @ jnp.asarray(columns, dtype)) @ jnp.asarray(solve, dtype)
            total = direct @ direct + through @ through
        return jnp.sqrt(total * (noise.sigma**2 * noise.correlation_length))

    errors = (
        error(jnp.ones_like(x)),
        error(d) / jnp.abs(area) * unit,
        error(d**2 - second) / jnp.abs(area) * unit**2,
        error(d**4 - fourth - 4 * third * d) / jnp.abs(area) * unit**4,
    )
    return Moments(area, mean * unit + offset, second * unit**2, fourth * unit**4, *errors)
