"""Displacements through the nearest periodic image: of pairs of atoms, and of one atom at two times."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

__all__ = ["PERIODIC", "nearest_image", "wrapped"]

PERIODIC = (True, True, True)


def nearest_image(vectors: np.ndarray, cell: np.ndarray, pbc: tuple[bool, bool, bool] = PERIODIC) -> np.ndarray:
    """Displacements through the nearest image; the neighbours of the rounded one are looked at too, for skewed cells.

    Args:
        vectors: Å, (..., 3).
        cell: lattice vectors in rows, Å, (3, 3).
        pbc: along which of them atoms repeat.
    """
    repeats = cell[list(pbc)]
    if not len(repeats):
        return vectors
    # Along some vectors only: coordinates in the plane or line that these span, whatever the others are.
    inside = vectors - np.rint(vectors @ np.linalg.pinv(repeats)) @ repeats
    shifts = np.array(list(itertools.product((0, -1, 1), repeat=len(repeats)))) @ repeats
    tried = inside[..., None, :] + shifts
    best = (tried**2).sum(axis=-1).argmin(axis=-1)
    return np.take_along_axis(tried, best[..., None, None], axis=-2)[..., 0, :]


def wrapped(vectors: Array, cell: Any, pbc: tuple[bool, bool, bool] = PERIODIC) -> Array:
    """Displacements with their part along the repeating vectors rounded to zero, under jit; which image is a constant."""
    rows = np.flatnonzero(pbc)
    if not len(rows):
        return vectors
    repeats = jnp.asarray(cell, vectors.dtype)[rows]
    inside = jnp.linalg.solve(repeats @ repeats.T, repeats @ vectors.reshape(-1, 3).T).T
    return vectors - (jax.lax.stop_gradient(jnp.round(inside)) @ repeats).reshape(vectors.shape)
