r"""Nodes and weights that stand for a distribution: deterministic, so that spectra are smooth in its parameters.

Line shapes are sharp beside the distributions that they are averaged over. Evenly spaced nodes then do best: for densities
that vanish smoothly at both ends the error of the even rule falls exponentially (Trefethen and Weideman, SIAM Rev. 56, 385
(2014)), and no region is sampled more coarsely than another. In several dimensions the rows are shifted against each other
by multiples of the golden section, so that the horns of one row fall between those of the next.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from statistics import NormalDist

import numpy as np
from jaxtyping import ArrayLike

__all__ = [
    "chi_5_nodes",
    "cosine_nodes",
    "gaussian_nodes",
    "golden_shifts",
    "hammersley_nodes",
    "node_count",
    "quadrature_error",
]

_GOLDEN = (np.sqrt(5) - 1) / 2

# Beyond lie 1.4e-4 of the chi distribution of five degrees, thinly over the widest patterns; 7e-6 of the normal.
_CHI_5_END = 5.0
_GAUSSIAN_END = 4.5


def gaussian_nodes(count: int, shift: np.ndarray | float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    r"""Evenly spaced nodes of the unit normal distribution.

    Few nodes reach as far as balances the two errors of an even rule, spacing $\sqrt{4\pi/n}$; many cover 4.5 deviations
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
def hammersley_nodes(count: int) -> np.ndarray:
    r"""Points of equal weight of five independent unit normals, (count, 5), count > 5.

    Hammersley's points (one coordinate even, the others radical inverses in the bases 2, 3, 5, 7) taken through the inverse
    normal distribution, then centred and scaled linearly: their mean is zero and their covariance the unit matrix. For line
    shapes they do better than golden Kronecker sequences, lattices weighted by the density, and Sobol's points.

    References:
        Hammersley, Ann. N.Y. Acad. Sci. 86, 844 (1960).
    """
    uniform = np.stack([(np.arange(count) + 0.5) / count, *(_radical_inverse(count, base) for base in (2, 3, 5, 7))], -1)
    inverse = NormalDist().inv_cdf
    points = np.array([[inverse(u) for u in row] for row in uniform])
    points = points - points.mean(0)
    triangle = np.linalg.cholesky(points.T @ points / count)
    return np.linalg.solve(triangle, points.T).T


def _radical_inverse(count: int, base: int) -> np.ndarray:
    """The digits of 1 ... count in a base, mirrored at the point: between 0 and 1, (count,)."""
    left, place, out = np.arange(1, count + 1), 1.0 / base, np.zeros(count)
    while left.any():
        out += place * (left % base)
        left, place = left // base, place / base
    return out


def node_count(name: str, count: int, least: int) -> int:
    """A number of nodes, checked.

    Args:
        name: of the argument.
        count: what came.
        least: smallest that makes sense.

    Raises:
        ValueError: no integer, or below `least`.
    """
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < least:
        raise ValueError(f"{name}: got {count!r}; give an integer >= {least}.")
    return int(count)


def quadrature_error(spectrum: Callable[..., ArrayLike], nodes: int | tuple[int, ...]) -> tuple[float, ...]:
    r"""What the nodes of a distribution cost: the change of a spectrum when each count is doubled in turn.

    $$\epsilon_i = \|S(\ldots, 2n_i, \ldots) - S(n)\| / \|S(\ldots, 2n_i, \ldots)\|$$

    The error of the spectrum with n nodes is about that large; that with twice as many is better, and how much better the
    next doubling says. The narrower the lines and the wider the distribution, the more nodes are needed.

        quadrature_error(lambda n: simulate(czjzek("27Al", 2e6, nodes=n), ...).intensity, (24, 16))

    Args:
        spectrum: intensities, of any shape, for a number of nodes, given as `nodes` is.
        nodes: counts in use, one or several.

    Returns:
        Relative L2 change for each count, in their order.

    Raises:
        ValueError: a count that is no integer >= 1, or no count.
    """
    counts = nodes if isinstance(nodes, tuple) else (nodes,)
    if not counts:
        raise ValueError("nodes: got (); give the counts in use, such as (24, 16).")
    counts = tuple(node_count("nodes", count, 1) for count in counts)

    def run(trial: tuple[int, ...]) -> np.ndarray:
        return np.asarray(spectrum(trial if isinstance(nodes, tuple) else trial[0]), dtype=np.float64)

    start, out = run(counts), []
    for i, count in enumerate(counts):
        finer = run((*counts[:i], 2 * count, *counts[i + 1 :]))
        out.append(float(np.linalg.norm(finer - start) / np.linalg.norm(finer)))
    return tuple(out)
