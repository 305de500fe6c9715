r"""Exponentials of many small generators, exact for rates of any size, in single precision too.

Matrices are stored sites first, crystallites last (structure of arrays), so that each of the N^3 products runs along
contiguous memory. The exponential is built as $\mathbf E = e^{\mathbf A} - \mathbf 1$ by a Taylor series of
$\mathbf A/2^s$ and s doublings $\mathbf E \leftarrow 2\mathbf E + \mathbf E^2$. In the basis of `jaxnmr.exchange` the slow
coherence owns a row that holds no rate; its element of E is then exact to the type's relative precision, whatever s, and k =
1e12 per second broadens nothing that it should not.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact

__all__ = ["expm1", "magnus_correction", "multiply", "powers"]

# 2^45 covers k = 1e12 per second over steps of ten seconds.
_MAX_DOUBLINGS = 45
_BLOCK = 5
# Largest norm for the Taylor series of degree 9, which then errs by 4e-14.
_RADIUS = 0.25


def multiply(a: Inexact[Array, "n m *batch"], b: Inexact[Array, "m p *batch"]) -> Inexact[Array, "n p *batch"]:
    """Matrix products over the two leading axes, one per element of the trailing ones."""
    if a.shape[1] > 8:  # enough arithmetic for the library's product
        first = jnp.matmul(jnp.moveaxis(a, (0, 1), (-2, -1)), jnp.moveaxis(b, (0, 1), (-2, -1)))
        return jnp.moveaxis(first, (-2, -1), (0, 1))
    # One fused loop; slicing terms out would make the reverse mode pad and add each of them back.
    return (a[:, :, None] * b[None]).sum(1)


def expm1(generator: Complex[Array, "n n batch"]) -> Complex[Array, "n n batch"]:
    r"""$e^{\mathbf A} - \mathbf 1$ of each matrix. Smooth everywhere; forward and reverse.

    The number of doublings follows the largest norm at run time, so that no rate needs another compilation.
    """
    norm = jnp.abs(generator).sum(axis=1).max()
    doublings = _doublings(jax.lax.stop_gradient(norm))
    scaled = generator * jnp.ldexp(jnp.ones((), norm.dtype), -doublings).astype(generator.dtype)
    square = multiply(scaled, scaled)
    cube = multiply(scaled, square)
    eye = jnp.eye(generator.shape[0], dtype=generator.dtype)[:, :, None]
    # A p(A), p of degree 8 in three blocks (Paterson and Stockmeyer, SIAM J. Comput. 2, 60 (1973)).
    high = eye / 5040 + scaled / 40320 + square / 362880
    middle = eye / 24 + scaled / 120 + square / 720 + multiply(cube, high)
    low = eye + scaled / 2 + square / 6 + multiply(cube, middle)
    series = multiply(scaled, low)

    # Doublings in blocks that are skipped whole: idle ones would copy the matrices through memory.
    def double(e, i):
        return jax.lax.cond(i < doublings, lambda x: 2 * x + multiply(x, x), lambda x: x, e), None

    @jax.checkpoint
    def block(e, first):
        return jax.lax.scan(double, e, first + jnp.arange(_BLOCK, dtype=jnp.int32))[0]

    def maybe(e, first):
        return jax.lax.cond(first < doublings, block, lambda x, _: x, e, first), None

    return jax.lax.scan(maybe, series, jnp.arange(0, _MAX_DOUBLINGS, _BLOCK, dtype=jnp.int32))[0]


@jax.custom_batching.custom_vmap
def _doublings(norm):
    """How often to double; under vmap one number for the whole batch, so that the loop keeps its branch."""
    ratio = jnp.log2(jnp.maximum(norm, _RADIUS) / _RADIUS)
    return jnp.clip(jnp.ceil(ratio), 0, _MAX_DOUBLINGS).astype(jnp.int32)


@_doublings.def_vmap
def _doublings_vmap(_axis_size, _in_batched, norm):
    return _doublings(norm.max()), False


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
