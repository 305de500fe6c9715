r"""Exchange under magic-angle spinning at a finite rate.

A rotor period is cut into n steps of constant (averaged) generator; let $\mathbf A_j = \mathbf U(j\leftarrow 0)$ and
$\mathbf B_j = \mathbf U(n\leftarrow j)$ within it, $\mathbf U = \mathbf A_n$, $\mathbf l_j = \mathbf u^T\mathbf A_j$
(continued as $\mathbf l_{j+n} = \mathbf l_j\mathbf U$) and $\mathbf r_j = \mathbf B_j\mathbf u$. The signal that starts at
rotor phase j is $\mathbf l_{j+q}\,\mathbf U^{P-1}\mathbf r_j$ after P periods and q steps, so that averaged over the
start phases (the powder angle gamma)

$$s_{Pn+q} = \sum_{\text{crystallites}} \mathrm{tr}\left[\mathbf U^{P-1}\mathbf X_q\right],\qquad
  \mathbf X_q = \frac1n\sum_j \mathbf r_j\,\mathbf l_{j+q} .$$

That is one matrix product of powers against correlations over (crystallite, site pair): no eigenvectors, no inverse, smooth
in everything. Only the first period is propagated directly.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxnmr.exchange import Liouvillian
from jaxnmr.spectrum._powder import Cells, damping, evaluate_irreps, powder_sum
from jaxnmr.spectrum._propagators import expm1, multiply, powers
from jaxnmr.spectrum._rotor import cone, phases, polar_means, step_means

__all__ = ["mas_exchange_signal"]


def mas_exchange_signal(
    generator: Liouvillian,
    cells: Cells,
    rate: Float[Array, ""],
    angle: Float[Array, ""],
    phase_count: int,
    periods: int,
    substeps: int,
) -> Complex[Array, " times"]:
    """Powder-averaged free-induction decay at periods * phase_count points spaced 1 / (phase_count rate).

    Args:
        generator: of the coherence, seen from the carrier.
        cells: powder grid of rotor axes.
        rate: rotor frequency, Hz.
        angle: rotor axis to field, radians.
        phase_count: n, samples and start phases in a rotor period.
        periods: length of the decay in rotor periods, >= 2.
        substeps: each sample interval is propagated in as many steps.
    """
    n = generator.state.shape[0]
    state = generator.state
    steps = phase_count * substeps
    dt = 1 / (rate * steps)
    means = jnp.asarray(step_means(phases(generator.ranks), steps), state.dtype)
    polar = polar_means(angle, generator.ranks)

    def chunk(part: Cells) -> Array:
        count = part.weights.shape[0]
        path = cone(part.frames, angle, generator.ranks) * part.smoothing(generator.ranks)[:, None, :]
        path = jnp.einsum("sp,rpc->rsc", means, path).reshape(path.shape[0], -1)
        omega = 2 * jnp.pi * evaluate_irreps(generator.precession, path)
        relaxation = jnp.broadcast_to(generator.relaxation[:, :, None], omega.shape)
        if jnp.iscomplexobj(omega):
            matrix = jax.lax.complex(relaxation - omega.imag, omega.real)
        else:
            matrix = jax.lax.complex(relaxation, omega)
        e = expm1(matrix * dt).reshape(n, n, phase_count, substeps, count)
        u = e + jnp.eye(n, dtype=e.dtype)[:, :, None, None, None]
        step = u[:, :, :, 0]
        for k in range(1, substeps):
            step = multiply(u[:, :, :, k], step)
        step = jnp.moveaxis(step, 2, 0)  # (phase, site, site, crystallite)

        start = jnp.broadcast_to(jnp.eye(n, dtype=step.dtype)[:, :, None], (n, n, count))
        read = state.astype(step.dtype)[:, None, None]

        def forward(a, u_j):
            return multiply(u_j, a), (read * a).sum(0)

        def backward(b, u_j):
            b = multiply(b, u_j)
            return b, (b * read[:, :, 0][None]).sum(1)

        period, left = jax.lax.scan(forward, start, step)
        _, right = jax.lax.scan(backward, start, step, reverse=True)
        # left: (phase, site, crystallite) = l_j;  right likewise = r_j.
        right = right * (part.weights / phase_count)[None, None, :]
        left = jnp.concatenate([left, (left[:, :, None] * period[None]).sum(1)])

        def correlate(_, q):
            window = jax.lax.dynamic_slice_in_dim(left, q, phase_count)
            return None, (window[:, :, None] * right[:, None, :]).sum(0)

        _, correlation = jax.lax.scan(correlate, None, jnp.arange(phase_count))  # (q, l, r, crystallite)
        power = powers(period, periods - 1)
        damped = damping(generator, part, periods + 1, 1 / rate, polar)
        fraction = (jnp.arange(phase_count) / phase_count).astype(damped.dtype)
        later = 0  # the damping is interpolated linearly within a period
        for edge, share in ((damped[1:-1], 1 - fraction), (damped[2:], fraction)):
            weighted = (power * edge[:, None, None, :]).reshape(periods - 1, -1)
            later = later + weighted @ (correlation * share[:, None, None, None]).reshape(phase_count, -1).T

        vector = jnp.broadcast_to(read[None, :, :, 0], (phase_count, n, count))
        fade = (damped[:1] * (1 - fraction)[:, None] + damped[1:2] * fraction[:, None]) * part.weights / phase_count

        def propagate(v, shares):
            signal = ((read[None, :, :, 0] * v).sum(1) * shares[None, :]).sum()
            v = (step * v[:, None]).sum(2)
            return jnp.roll(v, 1, axis=0), signal

        _, first = jax.lax.scan(propagate, vector, fade)
        return jnp.concatenate([first[None], later])

    per_cell = 8 * n * n * (40 * steps + 3 * periods + 4 * phase_count)
    return powder_sum(chunk, cells, per_cell).reshape(-1)
