"""All neighbours within a reach, every periodic image counted, in arrays of static shape: the search that runs under jit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnmr.compiling import exact_products

__all__ = ["images_within", "reciprocal", "search_neighbors"]

Numbers = Array | np.ndarray

# Candidates that are looked at in one go: 2²¹ of them take some tens of MB.
_AT_ONCE = 1 << 21


def images_within(cell: Float[Numbers, "3 3"], reach: float, pbc: tuple[bool, bool, bool]) -> Int[Numbers, " 3"]:
    r"""How many cells beyond a pair's nearest image have to be looked at along each lattice vector.

    Between planes a height $d_k$ apart, an image whose fractional distance is $u_k + m$, $|u_k| \le 1/2$, is at least
    $|u_k + m|\,d_k$ away, so that $|m| \le \mathrm{reach}/d_k + 1/2$. In a cell wider than twice the reach that is zero.
    NumPy's arrays are answered by NumPy's, without a compilation.
    """
    xp = np if isinstance(cell, np.ndarray) else jnp
    over_height = xp.sqrt(xp.sum(reciprocal(cell) ** 2, axis=-1))
    return xp.where(xp.asarray(pbc), xp.floor(reach * over_height + 0.5), 0.0).astype(xp.int32)


def reciprocal(cell: Float[Numbers, "3 3"]) -> Float[Numbers, "3 3"]:
    """Reciprocal vectors in rows, without 2π: products with them are fractional coordinates."""
    xp = np if isinstance(cell, np.ndarray) else jnp
    normals = xp.stack([xp.cross(cell[1], cell[2]), xp.cross(cell[2], cell[0]), xp.cross(cell[0], cell[1])])
    return normals / xp.sum(cell[0] * normals[0])


@exact_products
def search_neighbors(
    positions: Float[Array, "system atom 3"],
    cell: Float[Array, "system 3 3"],
    reach: float,
    *,
    pbc: tuple[bool, bool, bool],
    images: tuple[int, int, int],
    width: int,
) -> tuple[Int[Array, "system atom width"], Int[Array, "system atom width 3"], Int[Array, "system atom"]]:
    """Who is within a reach of whom, in several systems of the same atoms.

    Of each pair the nearest image by fractional coordinates is found by rounding, and `images` around it are looked at;
    places in a row follow from a running count, without a sort. Time grows as the square of the atoms; rows are taken in
    blocks, so that memory stays bounded.

    Args:
        positions: Å; atoms may be anywhere, in the cell or not.
        cell: lattice vectors in rows, Å; any that span a volume where nothing repeats.
        reach: Å.
        pbc: along which lattice vectors the atoms repeat.
        images: from `images_within`.
        width: length of a row.

    Returns:
        The neighbours of each atom in rising order, the number of atoms where there is none; the lattice vectors to their
        images; and how many neighbours there are, which may be more than a row holds.
    """
    systems, n, _ = positions.shape
    around = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in images], indexing="ij"), -1).reshape(-1, 3)
    candidates = n * len(around)
    fractional = jnp.einsum("sax,skx->sak", positions, jax.vmap(reciprocal)(cell))
    offsets = jnp.asarray(around, jnp.int32)
    periodic = jnp.asarray(pbc)

    def row(place: Int[Array, ""]) -> tuple[Array, Array, Array]:
        system, i = place // n, place % n
        apart = fractional[system] - fractional[system, i][None]
        nearest = jnp.where(periodic[None], -jnp.round(apart), jnp.zeros_like(apart)).astype(jnp.int32)
        shifts = nearest[:, None, :] + offsets[None]
        vectors = (positions[system] - positions[system, i][None])[:, None, :] + shifts.astype(cell.dtype) @ cell[system]
        itself = (jnp.arange(n, dtype=jnp.int32) == i)[:, None] & jnp.all(shifts == 0, axis=-1)
        near: Bool[Array, " candidate"] = ((jnp.sum(vectors**2, axis=-1) < reach**2) & ~itself).reshape(candidates)
        count = jnp.cumsum(near, dtype=jnp.int32)
        # The place where the running count reaches 1, 2, 3 ...
        chosen = jnp.searchsorted(count, jnp.arange(1, width + 1, dtype=jnp.int32)).astype(jnp.int32)
        found = chosen < candidates
        chosen = jnp.where(found, chosen, 0)
        neighbors = jnp.where(found, chosen // len(around), n).astype(jnp.int32)
        there = jnp.where(found[:, None], shifts.reshape(candidates, 3)[chosen], 0)
        return neighbors, there, count[-1]

    places = jnp.arange(systems * n, dtype=jnp.int32)
    block = max(1, _AT_ONCE // candidates)
    found = jax.vmap(row)(places) if block >= places.size else jax.lax.map(row, places, batch_size=block)
    neighbors, shifts, counts = found
    return neighbors.reshape(systems, n, width), shifts.reshape(systems, n, width, 3), counts.reshape(systems, n)
