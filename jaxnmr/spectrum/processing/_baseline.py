"""Smooth curves below the lines."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from jaxnmr.errors import is_concrete
from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spectrum.processing._empty import polynomial_basis
from jaxnmr.spectrum.processing._regions import Regions, chosen, concrete

__all__ = ["Polynomial", "Spline", "baseline", "correct_baseline", "projector"]

Real = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Polynomial:
    """A polynomial of the point's number.

    Attributes:
        degree: 0 for an offset, 1 for a slope too, and so on.

    Raises:
        ValueError: a degree that is not an integer from 0 to 20.
    """

    degree: int = 3

    def __post_init__(self):
        """Refuse what is no degree."""
        if not isinstance(self.degree, int | np.integer) or not 0 <= self.degree <= 20:
            raise ValueError(f"degree: got {self.degree!r}; give an integer from 0 to 20.")

    def basis(self, points: int) -> tuple[Real, Real]:
        """Columns, (points, coefficient), and rows that are held small, (row, coefficient)."""
        return polynomial_basis(points, self.degree), np.zeros((0, self.degree + 1))


@dataclasses.dataclass(frozen=True)
class Spline:
    """A cubic spline with equally spaced knots whose bends are held small.

    Attributes:
        intervals: between knots; the narrowest feature of the base is about two of them wide.
        smoothing: weight of the squared second differences of the coefficients against the squared residuals of one
            interval's points. It also carries the curve across regions with lines.

    Raises:
        ValueError: no interval, a negative smoothing.

    References:
        Eilers and Marx, Statist. Sci. 11, 89 (1996).
    """

    intervals: int = 16
    smoothing: float = 1e-2

    def __post_init__(self):
        """Refuse sizes that cannot work."""
        if not isinstance(self.intervals, int | np.integer) or self.intervals < 1:
            raise ValueError(f"intervals: got {self.intervals!r}; give an integer >= 1.")
        if not (np.isfinite(self.smoothing) and self.smoothing >= 0):
            raise ValueError(f"smoothing: got {self.smoothing!r}; give a number >= 0.")

    def basis(self, points: int) -> tuple[Real, Real]:
        """Columns, (points, coefficient), and rows that are held small, (row, coefficient)."""
        count = self.intervals + 3
        position = np.linspace(0, self.intervals, points)[:, None] - np.arange(-1, count - 1)[None, :]
        # The cubic B-spline about each knot: (2 - |x|)^3 - 4 (1 - |x|)^3, cut at zero, by six.
        far, near = np.maximum(2 - np.abs(position), 0), np.maximum(1 - np.abs(position), 0)
        bends = np.diff(np.eye(count), 2, axis=0)
        return (far**3 - 4 * near**3) / 6, bends * np.sqrt(self.smoothing * points / self.intervals)


def baseline(
    spectrum: Spectrum, shape: Polynomial | Spline | None = None, regions: Regions | None = None
) -> Float[Array, " points"]:
    """The smooth curve that fits the spectrum best where it is empty.

    Linear in the intensities, and so differentiable in them; regions found from the data are held fixed.

    Args:
        spectrum: measured.
        shape: `Polynomial(degree)`, of degree 3 by default, or `Spline(intervals)`.
        regions: ends in ppm, (from, to) or several pairs, or a mask, of what holds no line; by default `empty_regions`.

    Returns:
        In the units of the intensity, (points,).

    Raises:
        ValueError: no empty region found, or too few points in it for the shape; intensities that are not numbers;
            intensities that are traced, without regions.
    """
    shape = Polynomial() if shape is None else shape
    if not isinstance(shape, Polynomial | Spline):
        raise ValueError(f"shape: got {type(shape).__name__}; give Polynomial(degree) or Spline(intervals).")
    if is_concrete(spectrum.intensity):
        concrete("intensity", spectrum.intensity)
    found_by = shape.degree if isinstance(shape, Polynomial) else 3
    empty = chosen(spectrum, regions, min(found_by, 5))
    columns, solve = projector(shape, empty)
    dtype = spectrum.intensity.dtype
    coefficients = jnp.asarray(solve, dtype) @ spectrum.intensity[np.flatnonzero(empty)]
    return jnp.asarray(columns, dtype) @ coefficients


def correct_baseline(
    spectrum: Spectrum, shape: Polynomial | Spline | None = None, regions: Regions | None = None
) -> Spectrum:
    """The spectrum without its `baseline`, whose arguments these are; an imaginary part stays as it is.

    Raises:
        ValueError: as `baseline`.
    """
    return dataclasses.replace(spectrum, intensity=spectrum.intensity - baseline(spectrum, shape, regions))


def projector(shape: Polynomial | Spline, empty: NDArray[np.bool_]) -> tuple[Real, Real]:
    """Columns (points, coefficient), and the matrix (coefficient, empty points) from intensities to coefficients."""
    columns, small = shape.basis(len(empty))
    count = int(empty.sum())
    if count + len(small) < columns.shape[1]:
        raise ValueError(
            f"regions: {count} points for {columns.shape[1]} coefficients of {shape}; give more of the base, or a plainer "
            "shape."
        )
    solve = np.linalg.pinv(np.concatenate([columns[empty], small]))[:, :count]
    return columns, np.asarray(solve, np.float64)
