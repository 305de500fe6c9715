"""Which points of a record hold no line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["deviation", "find_empty", "polynomial_basis"]

Real = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Median absolute deviation of a unit normal.
_MAD = 0.6744897501960817
# In deviations. Four leave 6e-5 of the noise out; running means are fewer and may be judged more sharply.
_POINT, _MEAN = 4.0, 3.5
_TRIALS = 2000


def find_empty(y: Real, degree: int) -> Mask:
    """See `jaxnmr.spectrum.processing.empty_regions`."""
    points = len(y)
    block = int(np.clip(points // 256, 8, 128))
    empty = _common_base(y, block, degree)
    basis = polynomial_basis(points, degree)
    widths = [2 * (points // part // 2) + 1 for part in (512, 128)]
    seen: list[bytes] = []
    for _ in range(50):
        residual = y - basis @ np.linalg.lstsq(basis[empty], y[empty], rcond=None)[0]
        floor = 1e-9 * np.abs(residual).max()  # rounding, where there is no noise
        line = np.abs(residual) > _POINT * deviation(residual[empty]) + floor
        for width in widths:
            # Over the points that are left, so that a strong line is not smeared over its neighbours.
            count = np.convolve(~line, np.ones(width), "same")
            mean = np.convolve(np.where(line, 0.0, residual), np.ones(width), "same") / np.maximum(count, 1)
            line |= np.abs(mean) > _MEAN * deviation(mean[empty & ~line]) * np.sqrt(width / np.maximum(count, 1)) + floor
        new = _long_runs(~_widened(line, block // 4), block // 2)
        if not new.any() or new.tobytes() in seen:  # nothing left, or it repeats
            return new
        seen.append(new.tobytes())
        empty = new
    return empty


def deviation(values: Real) -> float:
    """Standard deviation of normal values about zero, from their median size: outliers hardly count."""
    return float(np.median(np.abs(values))) / _MAD


def polynomial_basis(points: int, degree: int) -> Real:
    """Legendre polynomials of the point's number, (points, degree + 1)."""
    return np.asarray(np.polynomial.legendre.legvander(np.linspace(-1, 1, points), degree), np.float64)


def _common_base(y: Real, block: int, degree: int) -> Mask:
    """The blocks through which one polynomial runs, of those polynomials that most of the quiet blocks agree with.

    Fischler and Bolles, Commun. ACM 24, 381 (1981): many polynomials, each through a few blocks drawn at random.
    """
    count = len(y) // block
    blocks = y[: count * block].reshape(count, block)
    line = polynomial_basis(block, 1)
    quiet = (blocks - blocks @ np.linalg.pinv(line).T @ line.T).std(axis=1)
    # Noise is nowhere less than in the base; steep flanks of lines make the other blocks loud.
    sigma = float(np.median(np.sort(quiet)[: max(count // 4, 2)])) + 1e-9 * float(np.abs(y).max())
    candidates = np.flatnonzero(quiet <= 2 * sigma)
    if len(candidates) <= degree + 1:
        candidates = np.argsort(quiet)[: degree + 2]
    basis = polynomial_basis(count, degree)
    mean = np.median(blocks, axis=1)
    random = np.random.default_rng(0)  # the same choice each time
    drawn = np.argsort(random.random((_TRIALS, len(candidates))), axis=1)[:, : degree + 1]
    trials = candidates[drawn]
    coefficients = np.linalg.solve(basis[trials], mean[trials][..., None])[..., 0]
    distance = np.abs(mean[None, :] - coefficients @ basis.T)
    best = int(np.argmax((distance[:, candidates] < sigma).sum(axis=1)))
    mask = np.zeros(len(y), bool)
    mask[: count * block] = np.repeat((distance[best] < sigma) & (quiet <= 2 * sigma), block)
    return mask


def _widened(flags: Mask, by: int) -> Mask:
    """Each flagged point with `by` neighbours on both sides."""
    if by < 1:
        return flags
    count = np.concatenate([[0], np.cumsum(flags)])
    index = np.arange(len(flags))
    return count[np.minimum(index + by + 1, len(flags))] > count[np.maximum(index - by, 0)]


def _long_runs(flags: Mask, least: int) -> Mask:
    """Runs of at least `least` points."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    kept = np.zeros(len(flags), bool)
    for start, stop in edges.reshape(-1, 2):
        kept[start:stop] = stop - start >= least
    return kept
