r"""Exponentials of many small generators, exact for rates of any size, in single precision too.

Matrices are stored sites first, crystallites last (structure of arrays), so that each of the N^3 products runs along
contiguous memory. The exponential is built as $\mathbf E = e^{\mathbf A} - \mathbf 1$ by a Taylor series of
$\mathbf A/2^s$ and s doublings $\mathbf E \leftarrow 2\mathbf E + \mathbf E^2$. In the basis of `jaxnmr.exchange` the slow
coherence owns a row that holds no rate; its element of E is then exact to the type's relative precision, whatever s, and k =
1e12 per second broadens nothing that it should not.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex

__all__ = ["expm1", "multiply", "powers"]

# 2^30 covers k = 1e12 per second over steps of a millisecond.
_MAX_DOUBLINGS = 30
# Largest norm for the Taylor series of degree 9, which then errs by 4e-14.
_RADIUS = 0.25


def multiply(a: Complex[Array, "n m *batch"], b: Complex[Array, "m p *batch"]) -> Complex[Array, "n p *batch"]:
    """Matrix products over the two leading axes, one per element of the trailing ones."""
    if a.shape[1] > 8:  # enough arithmetic for the library's product
        first = jnp.matmul(jnp.moveaxis(a, (0, 1), (-2, -1)), jnp.moveaxis(b, (0, 1), (-2, -1)))
        return jnp.moveaxis(first, (-2, -1), (0, 1))
    total = a[:, 0, None] * b[None, 0]
    for k in range(1, a.shape[1]):
        total = total + a[:, k, None] * b[None, k]
    return total


def expm1(generator: Complex[Array, "n n batch"]) -> Complex[Array, "n n batch"]:
    r"""$e^{\mathbf A} - \mathbf 1$ of each matrix. Smooth everywhere; forward and reverse.

    The number of doublings follows the largest norm at run time, so that no rate needs another compilation.
    """
    norm = jnp.abs(generator).sum(axis=1).max()
    doublings = _doublings(jax.lax.stop_gradient(norm))
    scaled = generator * jnp.ldexp(jnp.ones((), norm.dtype), -doublings)
    square = multiply(scaled, scaled)
    cube = multiply(scaled, square)
    eye = jnp.eye(generator.shape[0], dtype=generator.dtype)[:, :, None]
    # A p(A), p of degree 8 in three blocks (Paterson and Stockmeyer, SIAM J. Comput. 2, 60 (1973)).
    high = eye / 5040 + scaled / 40320 + square / 362880
    middle = eye / 24 + scaled / 120 + square / 720 + multiply(cube, high)
    low = eye + scaled / 2 + square / 6 + multiply(cube, middle)
    series = multiply(scaled, low)

    def double(e, i):
        e = jax.lax.cond(i < doublings, lambda x: 2 * x + multiply(x, x), lambda x: x, e)
        return e, None

    return jax.lax.scan(double, series, jnp.arange(_MAX_DOUBLINGS))[0]


@jax.custom_batching.custom_vmap
def _doublings(norm):
    """How often to double; under vmap one number for the whole batch, so that the loop keeps its branch."""
    ratio = jnp.log2(jnp.maximum(norm, _RADIUS) / _RADIUS)
    return jnp.clip(jnp.ceil(ratio), 0, _MAX_DOUBLINGS).astype(jnp.int32)


@_doublings.def_vmap
def _doublings_vmap(_axis_size, _in_batched, norm):
    return _doublings(norm.max()), False


def powers(u: Complex[Array, "n n batch"], count: int) -> Complex[Array, "count n n batch"]:
    """Powers 0 ... count - 1 of each matrix, by doubling the list: log2(count) products of growing size."""
    n = u.shape[0]
    eye = jnp.broadcast_to(jnp.eye(n, dtype=u.dtype)[:, :, None], u.shape)
    stack = eye[None]
    step = u  # u to the power of the list's length
    product = partial(jax.vmap(multiply, in_axes=(0, None)))
    while stack.shape[0] < count:
        need = min(stack.shape[0], count - stack.shape[0])
        stack = jnp.concatenate([stack, product(stack[:need], step)])
        if stack.shape[0] < count:
            step = multiply(step, step)
    return stack
