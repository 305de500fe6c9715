r"""Nodes and weights that stand for a distribution: deterministic, so that spectra are smooth in its parameters.

Line shapes are sharp beside the distributions that they are averaged over. Evenly spaced nodes then do best: for densities
that vanish smoothly at both ends the error of the even rule falls exponentially (Trefethen and Weideman, SIAM Rev. 56, 385
(2014)), and no region is sampled more coarsely than another. In several dimensions the rows are shifted against each other
by multiples of the golden section, so that the horns of one row fall between those of the next.
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

import numpy as np

__all__ = ["CHI_5_DEVIATION", "CHI_5_MEAN", "chi_5_nodes", "cosine_nodes", "gaussian_nodes", "golden_shifts", "lattice_nodes"]

_GOLDEN = (np.sqrt(5) - 1) / 2

# Mean and standard deviation of the length of a vector of five unit normal components: 8 / (3 sqrt(pi / 2)), and 5 - mean^2.
CHI_5_MEAN = float(8 / (3 * np.sqrt(np.pi / 2)))
CHI_5_DEVIATION = float(np.sqrt(5 - CHI_5_MEAN**2))

# Beyond lie 1.4e-4 of the chi distribution of five degrees, spread thinly over the widest patterns; and 6e-5 of the normal one.
_CHI_5_END = 5.0
_GAUSSIAN_END = 4.0


def gaussian_nodes(count: int, shift: np.ndarray | float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    r"""Evenly spaced nodes of the unit normal distribution.

    Few nodes reach as far as balances the two errors of an even rule, spacing $\sqrt{4\pi/n}$; many cover 4 deviations
    either way.

    Args:
        count: number of nodes.
        shift: place of the nodes within their intervals, 0 to 1, (...).

    Returns:
        Nodes and weights, (..., count); weights sum to one, mean 0 and variance 1 are exact (variance for count > 1).
    """
    shift = np.asarray(shift, dtype=np.float64)
    spacing = min(np.sqrt(4 * np.pi / count), 2 * _GAUSSIAN_END / count)
    nodes = spacing * (np.arange(count) + shift[..., None] - count / 2)
    weights = np.exp(-(nodes**2) / 2)
    weights = weights / weights.sum(-1, keepdims=True)
    nodes = nodes - (weights * nodes).sum(-1, keepdims=True)
    if count > 1:
        nodes = nodes / np.sqrt((weights * nodes**2).sum(-1, keepdims=True))
    return nodes, weights


def chi_5_nodes(count: int, shift: np.ndarray | float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    r"""Evenly spaced nodes of the length R of five unit normals, density $\sqrt{2/\pi}\,R^4 e^{-R^2/2}/3$.

    Arguments and returns as `gaussian_nodes`; the mean square is exactly 5.
    """
    shift = np.asarray(shift, dtype=np.float64)
    nodes = _CHI_5_END / count * (np.arange(count) + shift[..., None])
    weights = nodes**4 * np.exp(-(nodes**2) / 2)
    weights = weights / weights.sum(-1, keepdims=True)
    return nodes * np.sqrt(5 / (weights * nodes**2).sum(-1, keepdims=True)), weights


def cosine_nodes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes on -1 to 1 and weights that sum to one, (count,)."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes, weights / 2


def golden_shifts(count: int) -> np.ndarray:
    """Places within an interval for `count` rows, as far from each other as can be, the first in the middle, (count,)."""
    return (0.5 + _GOLDEN * np.arange(count)) % 1.0


@cache
def lattice_nodes(count: int, dimension: int = 5) -> np.ndarray:
    r"""Points of equal weight of a unit normal distribution in several dimensions, (count, dimension).

    A Kronecker sequence with the powers of the root of $x^{d+1} = x + 1$, taken through the inverse normal distribution,
    then centred and scaled linearly so that its mean is zero and its covariance the unit matrix.

    Needs count > dimension.
    """
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dimension + 1))
    steps = root ** -np.arange(1.0, dimension + 1)
    uniform = (0.5 + np.arange(count)[:, None] * steps) % 1.0
    # The first point's 0.5 and exact zeros apart, the ends of the interval are never met.
    uniform = np.clip(uniform, 1e-12, 1 - 1e-12)
    inverse = NormalDist().inv_cdf
    points = np.array([[inverse(u) for u in row] for row in uniform])
    points = points - points.mean(0)
    root_of = np.linalg.cholesky(points.T @ points / count)
    return np.linalg.solve(root_of, points.T).T
