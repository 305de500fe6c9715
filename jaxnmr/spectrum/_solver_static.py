r"""Exchange in a static powder, or one that spins infinitely fast.

Each crystallite has one constant generator. With b small steps in a giant one,
$s_{Pb+q} = \mathbf u^T\mathbf U^q\,\mathbf U^{bP}\mathbf u$: the powder average is one matrix product over
(crystallite, site) of small steps against giant steps. The cells' damping is interpolated within a giant step.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxnmr.exchange import Liouvillian
from jaxnmr.harmonics import harmonics
from jaxnmr.spectrum._expm1 import expm1, multiply
from jaxnmr.spectrum._powder import (
    CACHED,
    Cells,
    damping,
    dwell_times,
    evaluate_irreps,
    gradient_products,
    lagrange,
    powder_sum,
)
from jaxnmr.spectrum._propagators import powers
from jaxnmr.spectrum._solver_echo import Refocusing, matrices, static_top

__all__ = ["giant_steps", "static_exchange_signal"]

# Where within a giant step the cells' damping is evaluated; a parabola joins the values.
_NODES = (0.0, 0.5, 1.0)


def giant_steps(times: int) -> tuple[int, int]:
    """How many giant steps, of how many small ones, cover `times` points: at least 32, for the damping's sake."""
    small = 2 ** max(0, min(4, (times // 32).bit_length() - 1))
    return -(-times // small), small


def static_exchange_signal(
    generator: Liouvillian,
    cells: Cells,
    bandwidth: Float[Array, ""],
    count: int,
    echo: Refocusing | None = None,
    start: Float[Array, " site"] | None = None,
) -> tuple[Complex[Array, " times"], Complex[Array, ""] | None]:
    """Powder-averaged free-induction decay at `count` points spaced 1 / bandwidth, unit at t = 0 without an echo.

    Args:
        generator: of the coherence, seen from the carrier.
        cells: powder grid with its smoothing.
        bandwidth: Hz; wider than the line.
        count: length of the decay.
        echo: before the record.
        start: what each site starts with beside its population; not with an echo.

    Returns:
        The decay and, of an echo, its slope at t = 0.
    """
    giant, small_steps = giant_steps(count)
    n = generator.state.shape[0]
    state = generator.state

    begun = generator.start(start)
    dwell = [dwell_times(generator, small_steps / bandwidth, giant, node) for node in _NODES]

    def chunk(part: Cells) -> Array:
        basis = jnp.stack([jnp.broadcast_to(y, part.weights.shape) for y in harmonics(part.directions.T, generator.ranks)])
        basis = basis * part.smoothing(generator.ranks)
        matrix = matrices(generator, evaluate_irreps(generator.precession, basis))
        u = expm1(matrix / bandwidth.astype(matrix.dtype))
        u = u + jnp.eye(n, dtype=u.dtype)[:, :, None]
        row = jnp.broadcast_to(state[:, None], (n, u.shape[-1])).astype(u.dtype)

        def small(row, _):
            return (row[:, None] * u).sum(0), row

        _, rows = jax.lax.scan(small, row, None, length=small_steps)
        step = u
        for _ in range(small_steps.bit_length() - 1):
            step = multiply(step, step)
        if echo is None:
            share = begun[:, None] * part.weights[None, :]
        else:
            turns = lambda other: evaluate_irreps(other.precession, basis)  # noqa: E731
            share = static_top(echo, turns) * part.weights[None, :].astype(u.dtype)
        # Columns that start in each site, so that each start may be damped by itself.
        columns = generator.to_modes[:, :, None].astype(share.dtype) * share[None]
        power = powers(step, giant, columns.astype(u.dtype))  # (giant step, mode, site, crystallite)
        signal = jnp.zeros((), u.dtype)
        products = gradient_products(generator, part)
        for spent, curve in zip(dwell, lagrange(_NODES, small_steps), strict=True):
            fade = damping(products, spent)
            column = (power * fade[:, None].astype(u.dtype)).sum(2)
            weighted = rows * jnp.asarray(curve, u.dtype)[:, None, None]
            signal = signal + column.reshape(giant, -1) @ weighted.reshape(small_steps, -1).T
        signal = signal.reshape(-1)[:count]
        if echo is None:
            return signal
        slope = ((row[:, None] * matrix).sum(0) * columns.sum(1)).sum()
        return jnp.concatenate([signal, slope[None]])

    per_cell = 8 * (n * n * (40 + 3 * giant) + n * small_steps)
    total = powder_sum(chunk, cells, per_cell, part=CACHED, residuals=4 * CACHED)
    return total[:count], None if echo is None else total[count]
