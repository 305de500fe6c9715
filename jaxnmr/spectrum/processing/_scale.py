"""Units of the intensity."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxnmr.errors import is_concrete
from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spectrum.processing._regions import Regions, chosen, spacing

__all__ = ["integral", "normalise", "scale"]


def scale(spectrum: Spectrum, factor: ArrayLike) -> Spectrum:
    """The spectrum times a number, imaginary part and all.

    Raises:
        ValueError: a factor that is not one finite number.
    """
    if jnp.ndim(factor) or (is_concrete(factor) and not np.isfinite(np.asarray(factor))):
        raise ValueError(f"factor: got {factor!r}; give one finite number.")
    number = jnp.asarray(factor, spectrum.intensity.dtype)
    imaginary = None if spectrum.imaginary is None else spectrum.imaginary * number
    return dataclasses.replace(spectrum, intensity=spectrum.intensity * number, imaginary=imaginary)


def integral(spectrum: Spectrum, regions: Regions | None = None) -> Float[Array, ""]:
    r"""Area $\int S\,d\nu$ over the axis or over regions, intensity times Hz, by the rectangle of each point.

    Differentiable in the intensities.

    Args:
        spectrum: of any spacing.
        regions: ends in ppm, (from, to) or several pairs, or a mask; the whole axis by default.

    Raises:
        ValueError: regions without points.
    """
    weight = spacing(spectrum)
    if regions is not None:
        weight = np.where(chosen(spectrum, regions), weight, 0.0)
    return jnp.asarray(weight, spectrum.intensity.dtype) @ spectrum.intensity


def normalise(spectrum: Spectrum, regions: Regions | None = None, *, area: float | int = 1.0) -> Spectrum:
    """The spectrum with a given area over the axis, or over regions: with area 1, a density per Hz as simulated ones.

    Args:
        spectrum: measured, its base corrected.
        regions: as in `integral`.
        area: to come to.

    Raises:
        ValueError: an area that is zero or negative, as measured or as wanted (correct phase and base first).
    """
    if not (np.isfinite(area) and area > 0):
        raise ValueError(f"area: got {area!r}; give a number > 0.")
    found = integral(spectrum, regions)
    if is_concrete(found) and not float(found) > 0:
        raise ValueError(f"spectrum: its area is {float(found):g}, not > 0; correct phase and base first, or `scale` it.")
    return scale(spectrum, area / found)
