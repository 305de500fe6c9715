r"""Exchange in a static powder, or one that spins infinitely fast.

Each crystallite has one constant generator. With b small steps in a giant one,
$s_{Pb+q} = \mathbf u^T\mathbf U^q\,\mathbf U^{bP}\mathbf u$: the powder average is one matrix product over
(crystallite, site) of small steps against giant steps. The cells' damping is interpolated linearly within a giant step.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxnmr.exchange import Liouvillian
from jaxnmr.harmonics import harmonics
from jaxnmr.spectrum._powder import Cells, damping, evaluate_irreps, powder_sum
from jaxnmr.spectrum._propagators import expm1, multiply

__all__ = ["giant_steps", "static_exchange_signal"]


def giant_steps(times: int) -> tuple[int, int]:
    """How many giant steps, of how many small ones, cover `times` points: at least 32, for the damping's sake."""
    small = 2 ** max(0, min(5, (times // 32).bit_length() - 1))
    return -(-times // small), small


def static_exchange_signal(
    generator: Liouvillian, cells: Cells, bandwidth: Float[Array, ""], times: int
) -> Complex[Array, " times"]:
    """Powder-averaged free-induction decay at `times` points spaced 1 / bandwidth, unit at t = 0.

    Args:
        generator: of the coherence, seen from the carrier.
        cells: powder grid with its smoothing.
        bandwidth: Hz; wider than the line.
        times: length of the decay.
    """
    giant, small_steps = giant_steps(times)
    n = generator.state.shape[0]
    state = generator.state

    def chunk(part: Cells) -> Array:
        basis = jnp.stack(
            [jnp.broadcast_to(y, part.weights.shape) for y in harmonics(part.directions.T, generator.ranks)]
        )
        turns = evaluate_irreps(generator.precession, basis * part.smoothing(generator.ranks))
        u = expm1((_generator(generator, turns)) / bandwidth)
        u = u + jnp.eye(n, dtype=u.dtype)[:, :, None]
        row = jnp.broadcast_to(state[:, None], (n, u.shape[-1])).astype(u.dtype)

        def small(row, _):
            return (row[:, None] * u).sum(0), row

        _, rows = jax.lax.scan(small, row, None, length=small_steps)
        step = u
        for _ in range(small_steps.bit_length() - 1):
            step = multiply(step, step)
        columns = (row * part.weights[None, :])[None]  # (giant step, site, crystallite)
        while columns.shape[0] < giant:
            columns = jnp.concatenate([columns, (step[None] * columns[:, None]).sum(2)])[:giant]
            step = multiply(step, step)
        damped = damping(generator, part, giant + 1, small_steps / bandwidth)[:, None, :]
        fraction = (jnp.arange(small_steps) / small_steps).astype(damped.dtype)[:, None, None]
        signal = 0
        for edge, share in ((damped[:-1], 1 - fraction), (damped[1:], fraction)):
            signal = signal + (columns * edge).reshape(giant, -1) @ (rows * share).reshape(small_steps, -1).T
        return signal

    per_cell = 8 * (n * n * 40 + n * (giant + small_steps))
    return powder_sum(chunk, cells, per_cell).reshape(-1)[:times]


def _generator(generator: Liouvillian, turns: Array) -> Array:
    """R + 2 pi i F per crystallite."""
    omega = 2 * jnp.pi * turns
    relaxation = generator.relaxation[:, :, None]
    if jnp.iscomplexobj(omega):
        return jax.lax.complex(relaxation - omega.imag, omega.real)
    return jax.lax.complex(jnp.broadcast_to(relaxation, omega.shape), omega)
