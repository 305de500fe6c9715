"""What two pictures of one structure share, however the atoms are numbered, turned or shifted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.dynamics._images import PERIODIC, wrapped
from jaxnmr.structure import ELEMENTS

__all__ = ["element_weights", "fingerprint"]

# Images around the first cell, beside the nearest: a Gaussian reaches over a small cell.
_SHELL = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), -1).reshape(-1, 3)


def fingerprint(
    positions: Float[Array, "atom dim"],
    width: Any,
    weights: Any = None,
    cell: Any = None,
    pbc: tuple[bool, bool, bool] = PERIODIC,
) -> Float[Array, " atom"]:
    r"""Sorted eigenvalues of the overlap matrix of Gaussians on the atoms.

    $$O_{ij} = w_i w_j\sum_{\mathbf S}\exp\left(-\frac{|\mathbf r_i - \mathbf r_j - \mathbf S\mathbf h|^2}{2 s^2}\right),$$

    which no permutation of like atoms, rotation, translation or reflection changes. Structures with different eigenvalues
    are different; mirror images have the same, and coincidences of others are possible but rare. Differentiable in
    positions, width, weights and cell, forward and reverse; of equal eigenvalues, as symmetric structures have, only the
    sum has a derivative.

    Args:
        positions: Å.
        width: s, Å; about the distance of near neighbours.
        weights: w, of each atom, see `element_weights`; 1 unless given.
        cell: Å; None for a molecule.
        pbc: along which vectors of the cell atoms repeat.

    References:
        Sadeghi et al., J. Chem. Phys. 139, 184118 (2013).
    """
    away = positions[:, None, :] - positions[None, :, :]
    w = jnp.ones(len(positions), positions.dtype) if weights is None else jnp.asarray(weights, positions.dtype)
    if cell is not None:
        cell = jnp.asarray(cell, positions.dtype)
        images = jnp.asarray(_SHELL[(_SHELL[:, ~np.asarray(pbc)] == 0).all(axis=1)], positions.dtype) @ cell
        away = wrapped(away, cell, pbc)[:, :, None, :] + images[None, None, :, :]
        overlap = jnp.exp(-jnp.sum(away**2, axis=-1) / (2 * width**2)).sum(axis=-1)
    else:
        overlap = jnp.exp(-jnp.sum(away**2, axis=-1) / (2 * width**2))
    overlap = overlap * w[:, None] * w[None, :]
    return jnp.linalg.eigvalsh(overlap)[::-1]


def element_weights(species: Sequence[str] | None, n: int) -> np.ndarray:
    """A different weight for each element, of mean square one: in proportion to the root of the atomic number."""
    if species is None:
        return np.ones(n)
    numbers = np.array([1 + ELEMENTS.index(symbol) for symbol in species], float)
    return np.sqrt(numbers / numbers.mean())
