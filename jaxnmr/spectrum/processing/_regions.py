"""Parts of a spectrum: chosen by their ends, the empty ones found from the data, and bins of neighbours."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from jaxnmr.errors import is_concrete
from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spectrum.processing._empty import find_empty

__all__ = ["Regions", "binned", "chosen", "concrete", "crop", "empty_regions", "mask", "spacing"]

Number = float | int
Ends = tuple[Number, Number]
# Ends in ppm of one region or several, in either order, or a mask of points as `mask` makes.
Regions = Ends | Sequence[Ends] | Bool[np.ndarray, " points"]


def mask(
    spectrum: Spectrum, *, ppm: Ends | Sequence[Ends] | None = None, hz: Ends | Sequence[Ends] | None = None
) -> Bool[np.ndarray, " points"]:
    """Which points lie in a region, or in any of several.

    Masks combine by `&`, `|` and `~`; every function here that takes `regions` takes one, and `jaxnmr.fit` does as
    `weights`.

    Args:
        spectrum: whose axis is looked at; its values must be known, its intensities need not.
        ppm: (from, to), either order, ends included, or several of them.
        hz: the same in Hz from the reference, instead of `ppm`.

    Returns:
        True inside, (points,).

    Raises:
        ValueError: both or neither unit, ends that are not two finite numbers, a region without a point.
    """
    if (ppm is None) == (hz is None):
        raise ValueError("mask: give either ppm=(from, to) or hz=(from, to), or several pairs.")
    unit, ends = ("ppm", ppm) if hz is None else ("hz", hz)
    axis = concrete(unit, spectrum.ppm if hz is None else spectrum.hz)
    pairs = np.asarray(ends, np.float64)
    if pairs.ndim == 1:
        pairs = pairs[None]
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or not np.isfinite(pairs).all():
        raise ValueError(f"{unit}: got {ends!r}; give (from, to), finite, or a sequence of such pairs.")
    inside = np.zeros(len(axis), bool)
    for low, high in np.sort(pairs, axis=1):
        found = (axis >= low) & (axis <= high)
        if not found.any():
            raise ValueError(
                f"{unit}: no point between {low:g} and {high:g}; the axis runs from {axis[0]:g} to {axis[-1]:g}."
            )
        inside |= found
    return inside


def crop(spectrum: Spectrum, *, ppm: Ends | None = None, hz: Ends | None = None) -> Spectrum:
    """The part of a spectrum within a region, its points in the same order.

    Differentiable in the intensities.

    Args:
        spectrum: of any spacing.
        ppm: (from, to), either order, ends included.
        hz: the same in Hz from the reference, instead of `ppm`.

    Raises:
        ValueError: as `mask`; several regions, or fewer than two points in it.
    """
    inside = np.flatnonzero(mask(spectrum, ppm=ppm, hz=hz))
    ends = np.asarray(ppm if hz is None else hz)
    if ends.ndim != 1 or len(inside) < 2:
        raise ValueError(f"crop: got {ends.tolist()}; give one region that holds two points or more (`mask` takes several).")
    part = slice(int(inside[0]), int(inside[-1]) + 1)
    imaginary = None if spectrum.imaginary is None else spectrum.imaginary[part]
    return dataclasses.replace(
        spectrum, ppm=spectrum.ppm[part], hz=spectrum.hz[part], intensity=spectrum.intensity[part], imaginary=imaginary
    )


def binned(spectrum: Spectrum, size: int) -> Spectrum:
    """Means of neighbouring points, for axes much denser than the lines; points left over at the end are dropped.

    White noise falls by the root of `size`. Differentiable in the intensities.

    Args:
        spectrum: of any spacing.
        size: how many points become one.

    Raises:
        ValueError: a size below 1, or one that leaves fewer than two points.
    """
    count = len(spectrum.ppm) // size if size >= 1 else 0
    if count < 2:
        raise ValueError(f"size: got {size} for {len(spectrum.ppm)} points; give 1 to {len(spectrum.ppm) // 2}.")

    def mean(column: Any) -> Any:
        return None if column is None else jnp.mean(column[: count * size].reshape(count, size), axis=1)

    return dataclasses.replace(
        spectrum,
        ppm=mean(spectrum.ppm),
        hz=mean(spectrum.hz),
        intensity=mean(spectrum.intensity),
        imaginary=mean(spectrum.imaginary),
    )


def empty_regions(spectrum: Spectrum, *, degree: int = 1) -> Bool[np.ndarray, " points"]:
    """The points where there is no line, found from the data.

    Of all polynomials the one is taken for the base that runs through most of the quiet blocks of points; points leave whose
    residual exceeds four deviations of its own, or whose running means do so at one of two longer scales; so broad weak
    wings are seen too. Neighbours of what left are left out with it. No gradient: the choice is made once.

    Args:
        spectrum: values must be known; some of it has to be without a line.
        degree: of the polynomial through the base.

    Returns:
        True where empty, (points,).

    Raises:
        ValueError: points that are not numbers, fewer than 64 points, or no empty region found.
    """
    intensity = concrete("intensity", spectrum.intensity)
    if len(intensity) < 64:
        raise ValueError(f"spectrum: {len(intensity)} points are too few to tell line from base; give regions.")
    empty = find_empty(intensity, degree)
    if empty.sum() < max(16, len(intensity) // 50):
        raise ValueError(
            "spectrum: no empty region found, lines fill the axis; give regions=[(from, to), ...] in ppm, or the noise."
        )
    return empty


def chosen(spectrum: Spectrum, regions: Regions | None, degree: int = 1) -> Bool[np.ndarray, " points"]:
    """Regions as a mask; the empty ones for None."""
    if regions is None:
        return empty_regions(spectrum, degree=degree)
    array = np.asarray(regions)
    if array.dtype == np.bool_:
        if array.shape != spectrum.intensity.shape:
            raise ValueError(f"regions: a mask of shape {array.shape} for {len(spectrum.intensity)} points; use `mask`.")
        if not array.any():
            raise ValueError("regions: the mask has no point in it.")
        return array
    return mask(spectrum, ppm=regions)  # type: ignore[arg-type]


def concrete(name: str, values: object) -> NDArray[np.float64]:
    """Values that are known, and finite."""
    if not is_concrete(values):
        raise ValueError(f"{name}: traced, but its values are needed here; choose regions outside jit and pass a mask.")
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{name}: point {bad + 1} is not a finite number (NaN or infinity); crop or replace it first.")
    return array


def spacing(spectrum: Spectrum) -> NDArray[np.float64]:
    """Width that each point stands for, Hz, (points,): half the way to its neighbours."""
    return np.abs(np.gradient(concrete("hz", spectrum.hz)))
