"""What the exchange solvers share: cells of the powder, in chunks that fit the cache."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.exchange import Liouvillian
from jaxnmr.harmonics import frames, harmonics, smoothed
from jaxnmr.spectrum._expm1 import expm1
from jaxnmr.spectrum._grids import Points
from jaxnmr.spectrum._propagators import powers

__all__ = [
    "CACHED",
    "Cells",
    "damping",
    "dwell_times",
    "evaluate_irreps",
    "gradient_products",
    "lagrange",
    "powder_cells",
    "powder_sum",
]

# Bytes that one chunk may use, and residuals above which a gradient recomputes chunks. A rotor period is many small
# operations, which want long rows; a static crystallite is few passes over its powers, which want the level-two cache.
_CHUNK = 32 * 2**20
_RESIDUALS = 200 * 2**20
CACHED = 8 * 2**20


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
        return jnp.stack(smoothed(self.spread, ranks))


def powder_cells(points: Points, smooth: bool, dtype) -> Cells:
    """The grid as arrays of the working precision."""
    spread = points.spread if smooth else np.zeros_like(points.spread)
    return Cells(*(jnp.asarray(x, dtype) for x in (frames(points.directions), points.weights, spread)))


def evaluate_irreps(precession: Array, basis: Float[Array, "irrep batch"]) -> Array:
    """Sum of irreps times basis, (mode, mode, batch); one real product also where the irreps are complex."""
    flat = precession.reshape(precession.shape[0], -1).T
    if not jnp.iscomplexobj(flat):
        return (flat @ basis).reshape(*precession.shape[1:], -1)
    real, imag = jnp.split(jnp.concatenate([flat.real, flat.imag]) @ basis, 2)
    return jax.lax.complex(real, imag).reshape(*precession.shape[1:], -1)


def gradient_products(
    generator: Liouvillian, cells: Cells, scale: Float[Array, " irrep"] | None = None
) -> Float[Array, "pair orientation"]:
    r"""$s^2\,\nabla\nu_i\cdot\nabla\nu_j$ of each pair i <= j of sites: what `damping` needs of a cell."""
    frequencies = generator.site_frequencies()
    if scale is not None:
        frequencies = frequencies * scale[:, None]

    def frequency(direction: Array) -> Array:
        basis = harmonics(direction, generator.ranks)
        return frequencies.T @ jnp.stack([jnp.broadcast_to(y, direction[0].shape) for y in basis])

    slopes = [jax.jvp(frequency, (cells.directions.T,), (cells.frames[:, :, axis].T,))[1] for axis in (0, 1)]
    left, right = np.triu_indices(frequencies.shape[1])
    return sum(slope[left] * slope[right] for slope in slopes) * cells.spread[None, :]


def damping(
    products: Float[Array, "pair orientation"], dwell: Float[Array, "count start site"]
) -> Float[Array, "count start orientation"]:
    r"""What averaging over each cell leaves of the signal that starts in each site, at the times of `dwell_times`.

    $$D_i(t) = \exp[-\tfrac12(2\pi t)^2 s^2|\mathbf g_i(t)|^2],\qquad
      \mathbf g(t) = \frac1t\int_0^t e^{\mathbf K^\top\tau}\nabla\boldsymbol\nu\,d\tau :$$

    the gradient of the frequency, averaged over the jumps that a nucleus makes in that time. It is the site's own for slow
    motion and the mean for fast motion, where the smoothing is exact; between them the error is of second order in the
    cell's extent.

    Args:
        products: of `gradient_products`.
        dwell: of `dwell_times`.
    """
    # |g|^2 as a quadratic form in the sites' gradients: one matrix product, in the reverse mode too.
    left, right = np.triu_indices(dwell.shape[2])
    twice = jnp.asarray(np.where(left == right, 1.0, 2.0), dwell.dtype)
    weight = dwell[:, :, left] * dwell[:, :, right] * twice[None, None, :]
    exponent = (-0.5 * (2 * jnp.pi) ** 2 * weight.reshape(-1, len(left))) @ products
    return jnp.exp(exponent).reshape(*dwell.shape[:2], -1)


def dwell_times(
    generator: Liouvillian, interval: Float[Array, ""], count: int, node: float
) -> Float[Array, "count start site"]:
    r"""$\int_0^t e^{\mathbf K^\top\tau}d\tau$, s, at t = (0, 1, ... + node) interval: the time spent in each site."""
    n = generator.state.shape[0]

    def pieces(length: Array) -> tuple[Array, Array]:
        """exp(K length) and its integral, in modes, from the exponential of one block matrix."""
        eye = jnp.eye(n, dtype=length.dtype)
        zero = jnp.zeros_like(eye)
        block = jnp.block([[generator.jumps * length, eye], [zero, zero]])
        e = expm1(jax.lax.complex(block, jnp.zeros_like(block))[:, :, None])[:, :, 0].real
        return eye + e[:n, :n], e[:n, n:] * length

    step, whole = pieces(interval)
    moved = powers(step[:, :, None], count, jnp.eye(n, dtype=step.dtype)[:, :, None])[:, :, :, 0]
    past = jnp.cumsum(moved, axis=0) - moved  # sum over the intervals before
    modes = jnp.einsum("tab,bc->tac", past, whole)
    if node:
        modes = modes + jnp.einsum("tab,bc->tac", moved, pieces(interval * node)[1])
    return jnp.einsum("ja,tab,bi->tij", generator.to_sites, modes, generator.to_modes)


def lagrange(nodes: tuple[float, ...], count: int) -> np.ndarray:
    """Interpolation weights (node, count) at 0, 1/count, ... of an interval: what makes the damping a few products."""
    x = np.arange(count) / count
    weights = np.ones((len(nodes), count))
    for k, node in enumerate(nodes):
        for other in nodes:
            if other != node:
                weights[k] *= (x - other) / (node - other)
    return weights


def powder_sum(
    chunk: Callable[[Cells], Array], cells: Cells, per_cell: int, part: int = _CHUNK, residuals: int = _RESIDUALS
) -> Array:
    """Sum of `chunk` over parts of the powder, sized to use about `part` bytes at `per_cell` for each crystallite."""
    chunk = jax.jit(chunk)  # traced once: its shape is asked for, and the loop runs it
    count = cells.weights.shape[0]
    size = int(np.clip(part // per_cell, 32, count))
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
    body = jax.checkpoint(chunk) if count * per_cell > residuals else chunk
    shape = jax.eval_shape(chunk, jax.tree.map(lambda x: x[0], stacked))
    total = jnp.zeros(shape.shape, shape.dtype)
    return jax.lax.scan(lambda total, part: (total + body(part), None), total, stacked)[0]
