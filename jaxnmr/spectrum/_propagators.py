r"""Products of propagators, and the exponent of a step during which the precession changes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from jaxnmr.spectrum._expm1 import multiply

__all__ = ["magnus_correction", "powers"]


def powers(
    u: Inexact[Array, "n n batch"], count: int, start: Inexact[Array, "n m batch"]
) -> Inexact[Array, "count n m batch"]:
    """Powers 0 ... count - 1 of each matrix, applied to `start`.

    One after the other: doubling the list takes fewer and larger products, but its reverse mode then sums over the list
    with a stride of the whole batch, ten times slower.
    """
    return jax.lax.scan(lambda x, _: (multiply(u, x), x), start, None, length=count)[1]


def magnus_correction(motion: Float[Array, "n n"], precession: Inexact[Array, "irrep n n"]) -> Array:
    r"""The commutator of jumps and changing precession in a step's exponent, for jumps of any speed.

    For a generator $\mathbf K + \mathbf B_0 + (t - h/2)\dot{\mathbf B}$ the exponent of a step h is, to first order in
    $\dot{\mathbf B}$, $h(\mathbf K + \mathbf B_0) - h^2 f(h\,\mathrm{ad}_{\mathbf K})\dot{\mathbf B}$ with
    $f(z) = \tfrac12\coth\tfrac z2 - \tfrac1z = \sum_n 2z/(z^2 + 4\pi^2n^2)$. Its first term, z/12, is the fourth-order
    Magnus expansion, which diverges for fast jumps; f stays below 1/2. The sum is cut after two poles and a third stands
    for the rest, so that only linear solves occur and gradients exist where rates are degenerate.

    Args:
        motion: h K, symmetric.
        precession: B as irreps.

    Returns:
        12 f(h ad_K) B, to be multiplied by the first moments of B's time dependence over the step.

    References:
        Blanes et al., Phys. Rep. 470, 151 (2009), for the Magnus expansion.
    """
    if jnp.iscomplexobj(precession):
        parts = (magnus_correction(motion, part) for part in (precession.real, precession.imag))
        return jax.lax.complex(*parts)
    n = motion.shape[0]
    eye = jnp.eye(n, dtype=motion.dtype)
    # ad_K of a row-major matrix as a symmetric (n^2, n^2) matrix.
    ad = jnp.kron(motion, eye) - jnp.kron(eye, motion)
    square = ad @ ad
    whole = jnp.eye(n * n, dtype=motion.dtype)
    total = jnp.zeros_like(ad)
    for weight, pole in _POLES:
        total = total + weight * jnp.linalg.solve(square / pole + whole, ad)
    flat = precession.reshape(precession.shape[0], -1)
    return (12 * flat @ total.T).reshape(precession.shape)


def _langevin_poles() -> tuple[tuple[float, float], ...]:
    """Weights w and poles c of f(z) = sum w z / (1 + z^2/c): two exact, the rest gathered to agree to order z^3."""
    exact = [4 * math.pi**2 * n**2 for n in (1, 2)]
    linear = 1 / 12 - sum(2 / c for c in exact)
    cubic = 1 / 720 - sum(2 / c**2 for c in exact)
    return (*((2 / c, c) for c in exact), (linear, linear / cubic))


_POLES = _langevin_poles()
