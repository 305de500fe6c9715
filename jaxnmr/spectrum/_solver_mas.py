r"""Exchange under magic-angle spinning at a finite rate.

A rotor period is cut into n steps of constant (averaged) generator; let $\mathbf A_j = \mathbf U(j\leftarrow 0)$ and
$\mathbf B_j = \mathbf U(n\leftarrow j)$ within it, $\mathbf U = \mathbf A_n$, $\mathbf l_j = \mathbf u^T\mathbf A_j$
(continued as $\mathbf l_{j+n} = \mathbf l_j\mathbf U$) and $\mathbf r_j = \mathbf B_j\mathbf u$. The signal that starts at
rotor phase j is $\mathbf l_{j+q}\,\mathbf U^{P-1}\mathbf r_j$ after P periods and q steps, so that averaged over the
start phases (the powder angle gamma)

$$s_{Pn+q} = \sum_{\text{crystallites}} \mathrm{tr}\left[\mathbf U^{P-1}\mathbf X_q\right],\qquad
  \mathbf X_q = \frac1n\sum_j \mathbf r_j\,\mathbf l_{j+q} .$$

A step's exponent is the mean generator with the commutator of motion and precession in closed form (`magnus_correction`),
so that the error falls with the fourth power of the step for slow motion and stays bounded for fast.
That is one matrix product of powers against correlations over (crystallite, site pair): no eigenvectors, no inverse, smooth
in everything. Only the first period is propagated directly.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxnmr.exchange import Liouvillian
from jaxnmr.harmonics import harmonics, zonal
from jaxnmr.spectrum._expm1 import expm1, multiply
from jaxnmr.spectrum._powder import Cells, damping, dwell_times, evaluate_irreps, gradient_products, lagrange, powder_sum
from jaxnmr.spectrum._propagators import magnus_correction, powers
from jaxnmr.spectrum._rotor import cone, phases, step_means, step_moments
from jaxnmr.spectrum._solver_echo import Refocusing, matrices, rotor_top

__all__ = ["mas_exchange_signal"]

# Where within a rotor period the cells' damping is evaluated; a line joins the values.
_NODES = (0.0, 1.0)


def mas_exchange_signal(
    generator: Liouvillian,
    cells: Cells,
    rate: Float[Array, ""],
    angle: Float[Array, ""],
    phase_count: int,
    periods: int,
    substeps: int,
    fourth_order: bool,
    echo: Refocusing | None = None,
    start: Float[Array, " site"] | None = None,
) -> tuple[Complex[Array, " times"], Complex[Array, ""] | None]:
    """Powder-averaged free-induction decay at periods * phase_count points spaced 1 / (phase_count rate).

    Args:
        generator: of the coherence, seen from the carrier.
        cells: powder grid of rotor axes.
        rate: rotor frequency, Hz.
        angle: rotor axis to field, radians.
        phase_count: n, samples and start phases in a rotor period.
        periods: length of the decay in rotor periods, >= 2.
        substeps: each sample interval is propagated in as many steps.
        fourth_order: keep the commutator of motion and precession in a step's exponent.
        echo: before the record.
        start: what each site starts with beside its population; not with an echo.

    Returns:
        The decay and, of an echo, its slope at t = 0.
    """
    state = generator.state
    n = state.shape[0]
    step_count = phase_count * substeps
    dt = 1 / (rate * step_count)
    means, moments = (
        jnp.asarray(_substeps_first(matrix(phases(generator.ranks), step_count), substeps), state.dtype)
        for matrix in (step_means, step_moments)
    )

    def with_commutator(generator: Liouvillian) -> Liouvillian:
        precession = generator.precession
        if fourth_order:
            precession = jnp.concatenate([precession, -magnus_correction(generator.jumps * dt, precession)])
        return dataclasses.replace(generator, precession=precession)

    stepped = with_commutator(generator)
    if echo is not None:
        legs = tuple(dataclasses.replace(leg, before=with_commutator(leg.before)) for leg in echo.legs)
        echo = dataclasses.replace(echo, after=with_commutator(echo.after), legs=legs)
    polar = jnp.stack(zonal(jnp.cos(angle), generator.ranks))
    begun = generator.start(start)
    first = state if start is None else generator.to_modes @ begun
    dwell = [dwell_times(generator, 1 / rate, periods, node) for node in _NODES]

    def chunk(part: Cells) -> Array:
        count = part.weights.shape[0]
        path = cone(part.frames, angle, generator.ranks)
        # The cell's Laplacian belongs to the mean over a rotor turn, as the damping does; sidebands vary slowly.
        basis = harmonics(part.directions.T, generator.ranks)
        mean = jnp.stack([jnp.broadcast_to(y, part.weights.shape) for y in basis]) * polar[:, None]
        path = path + ((part.smoothing(generator.ranks) - 1) * mean)[:, None, :]
        shape = jnp.einsum("sp,rpc->rsc", means, path)
        if fourth_order:
            shape = jnp.concatenate([shape, jnp.einsum("sp,rpc->rsc", moments, path)])
        shape = shape.reshape(shape.shape[0], -1)

        def propagate(generator: Liouvillian) -> tuple[Array, Array]:
            return _sample_propagators(generator, shape, dt, substeps, phase_count)

        exponent, step = propagate(stepped)
        top = None if echo is None else rotor_top(echo, lambda other: propagate(other)[1])  # (site, phase, crystallite)
        share = begun[None, :, None] if top is None else jnp.moveaxis(top, 1, 0)
        period, left, right = _within_period(generator, step, first, top)
        right = right * (part.weights / phase_count)[None, None, :].astype(right.dtype)
        correlation = _correlations(left, right)
        origin = jnp.broadcast_to(generator.to_modes.astype(step.dtype)[:, :, None], (n, n, count))
        power = powers(period, periods - 1, origin)  # (period, mode, site, crystallite)
        later = jnp.zeros((), step.dtype)
        first_fade = jnp.zeros((), state.dtype)
        products = gradient_products(generator, part, polar)
        for spent, curve in zip(dwell, lagrange(_NODES, phase_count), strict=True):
            fade = damping(products, spent)
            curve = jnp.asarray(curve, state.dtype)
            first_fade = first_fade + fade[:1] * curve[:, None, None]
            weighted = (power * fade[1:, None].astype(step.dtype)).reshape(periods - 1, -1)
            shaped = correlation * curve.astype(step.dtype)[:, None, None, None]
            later = later + weighted @ shaped.reshape(phase_count, -1).T

        # Start vectors (mode, start phase, site, crystallite).
        vector = generator.to_modes.astype(step.dtype)[:, None, :, None]
        vector = jnp.broadcast_to(vector * share[None].astype(step.dtype), (n, phase_count, n, count))
        early = _first_period(state, vector, step, first_fade * (part.weights / phase_count)[None, None, :])
        signal = jnp.concatenate([early[None], later]).reshape(-1)
        if echo is None:
            return signal
        # The generator where a sample starts: half way between the means of the steps on either side.
        exponents = exponent.reshape(n, n, substeps, phase_count, count)
        exponents = (exponents[:, :, 0] + jnp.roll(exponents[:, :, -1], 1, axis=2)) / 2
        rising = (state.astype(step.dtype)[:, None, None, None] * exponents).sum(0)  # (mode, phase, crystallite)
        weighted = vector.sum(2) * (part.weights / phase_count)[None, None, :].astype(step.dtype)
        return jnp.concatenate([signal, (rising * weighted).sum()[None]])

    per_cell = 8 * n * n * (40 * step_count + 3 * periods + 4 * phase_count)
    total = powder_sum(chunk, cells, per_cell)
    length = periods * phase_count
    return total[:length], None if echo is None else total[length]


def _sample_propagators(
    generator: Liouvillian, shape: Float[Array, "irrep batch"], dt: Float[Array, ""], substeps: int, phase_count: int
) -> tuple[Array, Array]:
    """Exponents of the steps, $s^{-1}$, and propagators over a sample interval, (phase, mode, mode, crystallite)."""
    n = generator.state.shape[0]
    exponent = matrices(generator, evaluate_irreps(generator.precession, shape))
    count = exponent.shape[2] // (substeps * phase_count)
    # Substeps first, so that those of one number lie together; `split` and not indices: its transpose is one copy.
    e = expm1(exponent * dt.astype(exponent.dtype)).reshape(n, n, substeps, phase_count * count)
    step = jnp.eye(n, dtype=e.dtype)[:, :, None] + jnp.zeros_like(e[:, :, 0])
    for substep in jnp.split(e, substeps, axis=2):
        step = step + multiply(substep[:, :, 0], step)
    return exponent, jnp.moveaxis(step.reshape(n, n, phase_count, count), 2, 0)


def _within_period(generator: Liouvillian, step: Array, first: Array, top: Array | None) -> tuple[Array, Array, Array]:
    """U of a period, $l_j$ over two periods (phase, mode, crystallite) and $r_j$ (phase, site, crystallite).

    The start is kept in the basis of sites, so that each may be damped by itself: `first` (mode,), or `top` of an echo.
    """
    n = generator.state.shape[0]
    start = jnp.broadcast_to(jnp.eye(n, dtype=step.dtype)[:, :, None], (n, n, step.shape[3]))
    read = generator.state.astype(step.dtype)[:, None, None]

    def forward(a, u_j):
        return multiply(u_j, a), (read * a).sum(0)

    def backward(b, u_j):
        b = multiply(b, u_j)
        return b, (b * first.astype(b.dtype)[:, None][None]).sum(1) if top is None else b

    period, left = jax.lax.scan(forward, start, step)
    _, right = jax.lax.scan(backward, start, step, reverse=True)
    if top is not None:
        right = jnp.einsum("jabc,bi,jic->jac", right, generator.to_modes.astype(right.dtype), jnp.moveaxis(top, 1, 0))
    right = jnp.einsum("ia,jac->jic", generator.to_sites.astype(right.dtype), right)
    return period, jnp.concatenate([left, (left[:, :, None] * period[None]).sum(1)]), right


def _correlations(left: Array, right: Array) -> Array:
    """The sums over j of $l_{j+q}$ times $r_j$, (q, mode, site, crystallite)."""
    phase_count = right.shape[0]

    def correlate(_, q):
        window = jax.lax.dynamic_slice_in_dim(left, q, phase_count)
        return None, (window[:, :, None] * right[:, None, :]).sum(0)

    return jax.lax.scan(correlate, None, jnp.arange(phase_count))[1]


def _first_period(state: Array, vector: Array, step: Array, fades: Array) -> Array:
    """The signal at the samples of the first period, propagated from every start phase and site."""
    read = state.astype(step.dtype)[:, None, None, None]
    by_phase = jnp.moveaxis(step, 0, 2)[:, :, :, None, :]

    def propagate(v, fades):
        signal = (v * read).sum((0, 1))
        v = (by_phase * v[None]).sum(1)
        return jnp.roll(v, 1, axis=1), (signal * fades.astype(v.dtype)).sum()

    return jax.lax.scan(propagate, vector, fades)[1]


def _substeps_first(matrix: np.ndarray, substeps: int) -> np.ndarray:
    """Steps (phase, substep) reordered to (substep, phase)."""
    return matrix.reshape(-1, substeps, matrix.shape[1]).swapaxes(0, 1).reshape(matrix.shape)
