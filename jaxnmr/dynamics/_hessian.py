"""Second derivatives of the energy: whole, in batches of columns, or only the softest directions."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.dynamics._surface import Surface

__all__ = ["dense_hessian", "lowest_modes"]

COLUMNS = 8
"""Columns of a Hessian that are computed side by side: more of a network's do not fit into a processor's cache."""


def dense_hessian(
    surface: Surface, positions: Float[Array, "atom dim"], columns: np.ndarray | None = None, batch: int = COLUMNS
) -> Float[Array, "column coordinate"]:
    """Rows of the Hessian, eV/Å²; all of them, symmetrised, unless `columns` says which.

    Args:
        surface: fixed atoms count as free here.
        positions: Å.
        columns: indices of coordinates, atom by atom.
        batch: how many at once; memory grows with it.
    """
    size = positions.size
    chosen = np.arange(size) if columns is None else np.asarray(columns)
    unit = lambda k: jnp.zeros(size, positions.dtype).at[k].set(1.0).reshape(positions.shape)  # noqa: E731
    row = lambda k: surface.hessian_product(positions, unit(k)).ravel()  # noqa: E731
    # Batches of one width, the last filled up: a shorter one would be compiled for itself.
    parts = -(-len(chosen) // batch)
    width = -(-len(chosen) // parts)
    filled = jnp.asarray(np.resize(chosen, (parts, width)))
    rows = jax.lax.map(jax.vmap(row), filled).reshape(parts * width, size)[: len(chosen)]
    return rows if columns is not None else (rows + rows.T) / 2


def lowest_modes(
    product: Callable[[Array], Array], start: Array, count: int, steps: int
) -> tuple[Float[Array, " count"], Float[Array, "count size"], Float[Array, " count"]]:
    """Lowest eigenpairs of a symmetric operator by Lanczos steps with full reorthogonalisation.

    Args:
        product: operator times vector, (size,).
        start: a vector that is not orthogonal to what is sought.
        count: how many.
        steps: operator products; not more than the dimension of the space that `start` generates.

    Returns:
        Eigenvalues, eigenvectors, and the norm of each residual: an exact eigenvalue lies within it.
    """
    basis = jnp.zeros((steps + 1, start.size), start.dtype).at[0].set(start / jnp.linalg.norm(start))

    def grow(carry: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], None]:
        basis, image = carry
        w = product(basis[k])
        image = image.at[k].set(w)
        for _ in range(2):  # twice is enough for orthogonality to rounding
            w = w - basis.T @ (basis @ w)
        norm = jnp.linalg.norm(w)
        alive = norm > 1e3 * jnp.finfo(w.dtype).eps * jnp.linalg.norm(image[k])
        return (basis.at[k + 1].set(jnp.where(alive, w / jnp.where(alive, norm, 1.0), 0.0)), image), None

    (basis, image), _ = jax.lax.scan(grow, (basis, jnp.zeros_like(basis[:-1])), jnp.arange(steps))
    basis = basis[:-1]
    small = basis @ image.T
    # Directions that were not reached any more are put above everything.
    empty = jnp.sum(basis**2, axis=1) < 0.5
    high = 2 * jnp.max(jnp.abs(small)) * jnp.diag(empty.astype(small.dtype))
    values, vectors = jnp.linalg.eigh((small + small.T) / 2 + high)
    chosen = vectors[:, :count].T
    modes = chosen @ basis
    residual = jnp.linalg.norm(chosen @ image - values[:count, None] * modes, axis=1)
    return values[:count], modes, residual
