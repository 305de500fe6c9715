"""Second derivatives of the energy: whole, in batches of columns, or only the softest directions."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnmr.dynamics._surface import Surface

__all__ = ["batches", "dense_hessian", "hessian_rows", "lowest_modes"]

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
    chosen = np.arange(positions.size) if columns is None else np.asarray(columns)
    parts = jnp.asarray(chosen[batches(len(chosen), batch)])
    rows = jax.lax.map(lambda part: hessian_rows(surface, positions, part), parts)
    rows = rows.reshape(-1, positions.size)[: len(chosen)]
    return rows if columns is not None else (rows + rows.T) / 2


def batches(count: int, most: int) -> Int[np.ndarray, "batch column"]:
    """Which of so many columns are computed together: batches of one width, the last filled up from the beginning.

    A shorter one would be compiled for itself.

    Args:
        count: of columns.
        most: in one batch.
    """
    parts = -(-count // most)
    return np.resize(np.arange(count), (parts, -(-count // parts)))


def hessian_rows(
    surface: Surface, positions: Float[Array, "atom dim"], columns: Int[Array, " column"]
) -> Float[Array, "column coordinate"]:
    """Rows of the Hessian side by side, eV/Å².

    Args:
        surface: fixed atoms count as free here.
        positions: Å.
        columns: indices of coordinates, atom by atom.
    """
    size = positions.size

    def row(k: Array) -> Array:
        unit = jnp.zeros(size, positions.dtype).at[k].set(1.0)
        return surface.hessian_product(positions, unit.reshape(positions.shape)).ravel()

    return jax.vmap(row)(columns)


def lowest_modes(
    product: Callable[[Array], Array], start: Callable[[Array], Array], count: int, steps: int
) -> tuple[Float[Array, " count"], Float[Array, "count size"], Float[Array, " count"]]:
    """Lowest eigenpairs of a symmetric operator, equal eigenvalues each for itself, by Lanczos steps in several rounds.

    The space that one vector generates holds one direction of each eigenspace. So a further round looks at what is
    orthogonal to the modes so far, and another one as long as something lower comes to light: at least two rounds for
    several modes, and not more than modes.

    Args:
        product: operator times vector, (size,).
        start: for the number of the round, a vector that is not orthogonal to what is sought.
        count: how many.
        steps: operator products of each round; not more than the dimension of the space where `start` lies.

    Returns:
        Eigenvalues, eigenvectors, and the norm of each residual: an exact eigenvalue lies within it. Modes that the space
        has no room for are zero, with values above all others.
    """
    first = jax.eval_shape(start, jnp.zeros((), jnp.int32))
    none = jnp.zeros((count, *first.shape), first.dtype)

    def look(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        k, values, modes, images, _ = carry
        new_values, new_modes, new_images = _lanczos(product, start(k), modes, count, steps)
        lower = new_values[0] < values[-1]
        values, chosen = _ritz(jnp.concatenate([modes, new_modes]), jnp.concatenate([images, new_images]), count)
        return k + 1, values, *chosen, lower

    carry = (jnp.zeros((), jnp.int32), jnp.full(count, jnp.inf, first.dtype), none, none, jnp.asarray(True))
    _, values, modes, images, _ = jax.lax.while_loop(lambda c: (c[0] < count) & c[-1], look, carry)
    return values, modes, jnp.linalg.norm(images - values[:, None] * modes, axis=1)


def _lanczos(
    product: Callable[[Array], Array], start: Array, without: Array, count: int, steps: int
) -> tuple[Array, Array, Array]:
    """Values, modes and images under the operator, of one round orthogonal to some vectors, fully reorthogonalised."""
    size = jnp.linalg.norm(start)
    start = start - without.T @ (without @ start)
    left = jnp.linalg.norm(start)
    some = left > 1e3 * jnp.finfo(start.dtype).eps * size
    start = jnp.where(some, start / jnp.where(some, left, 1.0), 0.0)
    basis = jnp.zeros((steps + 1, start.size), start.dtype).at[0].set(start)

    def grow(carry: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], None]:
        basis, image = carry
        w = product(basis[k])
        image = image.at[k].set(w)
        for _ in range(2):  # twice is enough for orthogonality to rounding
            w = w - basis.T @ (basis @ w) - without.T @ (without @ w)
        norm = jnp.linalg.norm(w)
        alive = norm > 1e3 * jnp.finfo(w.dtype).eps * jnp.linalg.norm(image[k])
        return (basis.at[k + 1].set(jnp.where(alive, w / jnp.where(alive, norm, 1.0), 0.0)), image), None

    (basis, image), _ = jax.lax.scan(grow, (basis, jnp.zeros_like(basis[:-1])), jnp.arange(steps))
    values, (modes, images) = _ritz(basis[:-1], image, count)
    # Where the round has found nothing more, nothing is lower.
    return jnp.where(jnp.sum(modes**2, axis=1) > 0.5, values, jnp.inf), modes, images


def _ritz(basis: Array, image: Array, count: int) -> tuple[Array, tuple[Array, Array]]:
    """Lowest eigenpairs within the span of orthonormal vectors, rows of zeros among them, and the modes' images."""
    small = basis @ image.T
    # Empty directions are put above everything.
    empty = jnp.sum(basis**2, axis=1) < 0.5
    high = 2 * jnp.max(jnp.abs(small)) * jnp.diag(empty.astype(small.dtype))
    values, vectors = jnp.linalg.eigh((small + small.T) / 2 + high)
    chosen = vectors[:, :count].T
    return values[:count], (chosen @ basis, chosen @ image)
