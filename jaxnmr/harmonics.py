r"""Real spherical harmonics of ranks 0 to 4: the basis in which generators are written.

A resonance frequency is a polynomial of degree four at most in the direction **n** of the magnetic field, seen
from the crystal. It is stored as coefficients of

$$Y_{lm}(\mathbf n) = N_{lm}\,P_l^{|m|}(\cos\theta)\,\{\cos m\varphi\ (m \ge 0),\ \sin|m|\varphi\ (m < 0)\},$$

normalised so that the mean of $Y_{lm}^2$ over the sphere is one and without the Condon-Shortley phase: the
coefficient of rank 0 is the powder average.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

__all__ = ["components", "fibonacci_hemisphere", "frames", "harmonics", "project", "quadrature", "smoothed", "zonal"]

MAX_RANK = 4


@cache
def components(ranks: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The (l, m) of each coefficient, in storage order: ranks as given, m from -l to l."""
    return tuple((rank, m) for rank in ranks for m in range(-rank, rank + 1))


@cache
def _legendre(rank: int, order: int) -> tuple[float, ...]:
    r"""Coefficients, highest power first, of $N_{lm} P_l^m(z) / (1 - z^2)^{m/2}$, a polynomial in z."""
    polynomial = np.polynomial.legendre.leg2poly([0.0] * rank + [1.0])
    derivative = np.polynomial.polynomial.polyder(polynomial, order) if order else polynomial
    norm = (2 * rank + 1) * math.factorial(rank - order) / math.factorial(rank + order) * (2 if order else 1)
    return tuple(float(c) for c in math.sqrt(norm) * derivative[::-1])


def _horner(coefficients: tuple[float, ...], z):
    if len(coefficients) == 1:
        return coefficients[0] + 0 * z
    # Every other coefficient is zero; what is not added need not be compiled.
    value = coefficients[0] * z
    for c in coefficients[1:-1]:
        value = (value + c) * z if c else value * z
    return value + coefficients[-1] if coefficients[-1] else value


def harmonics(vectors, ranks: tuple[int, ...]) -> list:
    """Values of the basis at unit vectors, by plain arithmetic: NumPy and JAX arrays both do.

    Args:
        vectors: x, y and z, three arrays of one shape.
        ranks: which ranks, in order.

    Returns:
        One array per coefficient, in the order of `components`.
    """
    x, y, z = vectors
    cosine, sine = [1.0], [0.0]  # real and imaginary part of (x + iy)^m
    for _ in range(max(ranks)):
        c, s = cosine[-1], sine[-1]
        cosine.append(c * x - s * y)
        sine.append(c * y + s * x)
    return [_horner(_legendre(rank, abs(m)), z) * (cosine[m] if m >= 0 else sine[-m]) for rank, m in components(ranks)]


@cache
def quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Directions (45, 3) and weights that integrate degree 8 exactly: products of two functions of rank 4."""
    z, weight = np.polynomial.legendre.leggauss(MAX_RANK + 1)
    phi = 2 * np.pi * np.arange(2 * MAX_RANK + 1) / (2 * MAX_RANK + 1)
    s = np.sqrt(1 - z**2)
    directions = np.stack(
        [
            np.outer(s, np.cos(phi)).ravel(),
            np.outer(s, np.sin(phi)).ravel(),
            np.repeat(z, phi.size),
        ],
        axis=-1,
    )
    return directions, np.repeat(weight / 2, phi.size) / phi.size


@cache
def project(ranks: tuple[int, ...]) -> np.ndarray:
    """Matrix (coefficient, direction) from values at the `quadrature` directions to coefficients."""
    directions, weights = quadrature()
    return np.stack(harmonics(directions.T, ranks)) * weights


def frames(directions: np.ndarray) -> np.ndarray:
    """Right-handed frames (..., 3, 3) whose columns are two transverse axes and the given unit vectors."""
    n = np.asarray(directions, dtype=np.float64)
    # The Cartesian axis least along n is safe to orthogonalise against it.
    axis = np.eye(3)[np.argmin(np.abs(n), axis=-1)]
    first = axis - (axis * n).sum(-1, keepdims=True) * n
    first = first / np.linalg.norm(first, axis=-1, keepdims=True)
    return np.stack([first, np.cross(n, first), n], axis=-1)


def fibonacci_hemisphere(count: int) -> np.ndarray:
    """Unit vectors (count, 3) along a Fibonacci spiral on the hemisphere, each standing for the same solid angle.

    References:
        Swinbank and Purser, Q. J. R. Meteorol. Soc. 132, 1769 (2006).
    """
    i = np.arange(count)
    z = (i + 0.5) / count
    phi = np.pi * (np.sqrt(5) - 1) * i
    s = np.sqrt(1 - z**2)
    return np.stack([s * np.cos(phi), s * np.sin(phi), z], axis=-1)


def zonal(z, ranks: tuple[int, ...]) -> list:
    r"""$P_l(z)$ for each coefficient: a turn about an axis at $\arccos z$ to the field scales rank l by it.

    Args:
        z: cosine of the angle, a number, NumPy or JAX scalar.
        ranks: which ranks, in order.
    """
    legendre = [1 + 0 * z, z]
    for rank in range(1, max(ranks)):
        legendre.append(((2 * rank + 1) * z * legendre[rank] - rank * legendre[rank - 1]) / (rank + 1))
    return [legendre[rank] for rank, _ in components(ranks)]


def smoothed(spread, ranks: tuple[int, ...]) -> list:
    r"""$1 - l(l+1)s^2/2$ for each coefficient: what averaging over cells of mean-square extent s^2 leaves of rank l."""
    return [1 - 0.5 * rank * (rank + 1) * spread for rank, _ in components(ranks)]
