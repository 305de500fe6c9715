"""What the exchange solvers share: cells of the powder, in chunks that fit the cache."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.exchange import Liouvillian
from jaxnmr.harmonics import components, frames, harmonics
from jaxnmr.spectrum._grids import Points

__all__ = ["Cells", "damping", "evaluate_irreps", "powder_cells", "powder_sum"]

# Bytes that one chunk may use: a few level-two caches; and residuals above which a gradient recomputes chunks.
_CHUNK = 24 * 2**20
_RESIDUALS = 200 * 2**20


class Cells(eqx.Module):
    """Crystallites with their frames, weights and extents; the leading axis may be chunked."""

    frames: Float[Array, "orientation 3 3"]
    weights: Float[Array, " orientation"]
    spread: Float[Array, " orientation"]

    @property
    def directions(self) -> Float[Array, "orientation 3"]:
        """The rotor axis, or the static field."""
        return self.frames[:, :, 2]

    def smoothing(self, ranks: tuple[int, ...]) -> Float[Array, "irrep orientation"]:
        """Heat-kernel factors of each coefficient."""
        rank = np.array([rank for rank, _ in components(ranks)])
        return 1 - jnp.asarray(rank * (rank + 1) / 2, self.spread.dtype)[:, None] * self.spread[None, :]


def powder_cells(points: Points, smooth: bool, dtype) -> Cells:
    """The grid as arrays of the working precision."""
    spread = points.spread if smooth else np.zeros_like(points.spread)
    return Cells(*(jnp.asarray(x, dtype) for x in (frames(points.directions), points.weights, spread)))


def evaluate_irreps(precession: Array, basis: Float[Array, "irrep batch"]) -> Array:
    """Sum of irreps times basis, (mode, mode, batch); real products also where the irreps are complex."""
    if jnp.iscomplexobj(precession):
        return jax.lax.complex(evaluate_irreps(precession.real, basis), evaluate_irreps(precession.imag, basis))
    flat = precession.reshape(precession.shape[0], -1).T @ basis
    return flat.reshape(*precession.shape[1:], -1)


def damping(
    generator: Liouvillian,
    cells: Cells,
    count: int,
    interval: Float[Array, ""],
    scale: Float[Array, " irrep"] | None = None,
) -> Float[Array, "count orientation"]:
    r"""$\exp[-\tfrac12(2\pi t)^2 s^2|\nabla\bar\nu|^2]$ at t = 0, 1, 2 ... times the interval.

    The gradient is that of the mean frequency over the stationary state: exact for one site and for fast motion, and a
    smoothing of second order in the cell's extent otherwise.
    """
    state = generator.state
    precession = generator.precession.real if jnp.iscomplexobj(generator.precession) else generator.precession
    mean = jnp.einsum("a,rab,b->r", state, precession, state)
    if scale is not None:
        mean = mean * scale

    def frequency(direction: Array) -> Array:
        basis = harmonics(direction, generator.ranks)
        return sum(m * y for m, y in zip(mean, basis, strict=True))

    slope = 0.0
    for axis in (0, 1):
        _, tangent = jax.jvp(frequency, (cells.directions.T,), (cells.frames[:, :, axis].T,))
        slope = slope + tangent**2
    time = jnp.arange(count, dtype=state.dtype) * interval
    return jnp.exp(-0.5 * (2 * jnp.pi * time[:, None]) ** 2 * (cells.spread * slope)[None, :])


def powder_sum(chunk: Callable[[Cells], Array], cells: Cells, per_cell: int) -> Array:
    """Sum of `chunk` over parts of the powder, sized to use about `per_cell` bytes for each crystallite."""
    count = cells.weights.shape[0]
    size = int(np.clip(_CHUNK // per_cell, 16, count))
    parts = -(-count // size)
    size = -(-count // parts)
    if parts == 1:
        return chunk(cells)
    # Crystallites of zero weight fill the last part.
    padded = jax.tree.map(
        lambda x: jnp.concatenate([x, jnp.broadcast_to(x[:1], (parts * size - count, *x.shape[1:]))]), cells
    )
    live = jnp.arange(parts * size) < count
    padded = eqx.tree_at(lambda c: c.weights, padded, jnp.where(live, padded.weights, 0.0))
    stacked = jax.tree.map(lambda x: x.reshape(parts, size, *x.shape[1:]), padded)
    body = jax.checkpoint(chunk) if count * per_cell > _RESIDUALS else chunk
    shape = jax.eval_shape(chunk, jax.tree.map(lambda x: x[0], stacked))
    total = jnp.zeros(shape.shape, shape.dtype)
    return jax.lax.scan(lambda total, part: (total + body(part), None), total, stacked)[0]
