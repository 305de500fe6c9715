r"""Exponentials of many small generators, exact for rates of any size, in single precision too.

The exponential is built as $\mathbf E = e^{\mathbf A} - \mathbf 1$ by a Taylor series of $\mathbf A/2^s$ and s doublings
$\mathbf E \leftarrow 2\mathbf E + \mathbf E^2$. In the basis of `jaxnmr.exchange` the slow coherence owns a row that holds
no rate; its element of E is then exact to the type's relative precision, whatever s, and k = 1e12 per second broadens
nothing that it should not.

Its derivative is the Fréchet derivative $\mathbf L_{\mathbf A}(\mathbf H) = \int_0^1 e^{(1-x)\mathbf A}\mathbf H
e^{x\mathbf A}dx$, by the same series and doublings side by side. Its transpose is $\mathbf L_{\mathbf A^T}$, so that the
reverse mode runs forward too: it stores nothing, whatever the number of doublings. That rule needs a primitive of its own,
for JAX cannot transpose a loop of unknown length and its `linear_call` does not batch.

References:
    Najfeld and Havel, Adv. Appl. Math. 16, 321 (1995), for the derivative.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Complex, Inexact

__all__ = ["expm1", "multiply"]

# 2^45 covers k = 1e12 per second over steps of ten seconds.
_MAX_DOUBLINGS = 45
# Largest norm for the Taylor series of degree 9, which then errs by 4e-14.
_RADIUS = 0.25


def multiply(a: Inexact[Array, "n m *batch"], b: Inexact[Array, "m p *batch"]) -> Inexact[Array, "n p *batch"]:
    """Matrix products over the two leading axes, one per element of the trailing ones.

    Sites first, crystallites last (structure of arrays): each of the N^3 products runs along contiguous memory.
    """
    if a.shape[1] > 8:  # enough arithmetic for the library's product
        first = jnp.matmul(jnp.moveaxis(a, (0, 1), (-2, -1)), jnp.moveaxis(b, (0, 1), (-2, -1)))
        return jnp.moveaxis(first, (-2, -1), (0, 1))
    # One fused loop; slicing terms out would make the reverse mode pad and add each of them back.
    return (a[:, :, None] * b[None]).sum(1)


@jax.custom_jvp
def expm1(generator: Complex[Array, "n n *batch"]) -> Complex[Array, "n n *batch"]:
    r"""$e^{\mathbf A} - \mathbf 1$ of each matrix. Smooth everywhere; forward and reverse, and forward over reverse.

    The number of doublings follows the largest norm at run time, so that no rate needs another compilation.
    """
    doublings = _doublings(generator)
    a = _scaled(generator, doublings)
    # A p(A), p of degree 8 in three blocks (Paterson and Stockmeyer, SIAM J. Comput. 2, 60 (1973)).
    square = multiply(a, a)
    cube = multiply(a, square)
    eye = _eye(a)
    high = eye / 5040 + a / 40320 + square / 362880
    middle = eye / 24 + a / 120 + square / 720 + multiply(cube, high)
    low = eye + a / 2 + square / 6 + multiply(cube, middle)
    return jax.lax.fori_loop(0, doublings, lambda _, e: 2 * e + multiply(e, e), multiply(a, low))


@expm1.defjvp
def _expm1_jvp(primals, tangents):
    (generator,), (tangent,) = primals, tangents
    return expm1(generator), _frechet.bind(generator, tangent)


def _frechet_impl(generator: Array, direction: Array) -> Array:
    """The Fréchet derivative of the exponential at `generator`, linear in `direction`.

    Written out: XLA fuses what JAX derives from `expm1` into loops that repeat products (10 times slower at N = 4).
    """
    doublings = _doublings(generator)
    a, h = _scaled(generator, doublings), _scaled(direction, doublings)
    square, d_square = multiply(a, a), multiply(a, h) + multiply(h, a)
    cube, d_cube = multiply(a, square), multiply(a, d_square) + multiply(h, square)
    eye = _eye(a)
    high, d_high = eye / 5040 + a / 40320 + square / 362880, h / 40320 + d_square / 362880
    middle = eye / 24 + a / 120 + square / 720 + multiply(cube, high)
    d_middle = h / 120 + d_square / 720 + multiply(cube, d_high) + multiply(d_cube, high)
    low = eye + a / 2 + square / 6 + multiply(cube, middle)
    d_low = h / 2 + d_square / 6 + multiply(cube, d_middle) + multiply(d_cube, middle)

    def double(_, pair):
        e, d = pair
        return 2 * e + multiply(e, e), 2 * d + multiply(e, d) + multiply(d, e)

    start = multiply(a, low), multiply(a, d_low) + multiply(h, low)
    return jax.lax.fori_loop(0, doublings, double, start)[1]


def _frechet_jvp(primals, tangents):
    (generator, direction), (moved, turned) = primals, tangents
    out, parts = _frechet.bind(generator, direction), []
    if not isinstance(turned, ad.Zero):
        parts.append(_frechet.bind(generator, turned))
    if not isinstance(moved, ad.Zero):
        parts.append(jax.jvp(lambda a: _frechet_impl(a, direction), (generator,), (moved,))[1])
    return out, sum(parts[1:], parts[0])  # JAX does not ask where both are zero


def _frechet_transpose(cotangent, generator, direction):
    if isinstance(cotangent, ad.Zero):
        return None, ad.Zero(direction.aval)
    return None, _frechet.bind(jnp.swapaxes(generator, 0, 1), cotangent)


def _frechet_batch(args, axes):
    size = next(a.shape[axis] for a, axis in zip(args, axes, strict=True) if axis is not None)
    args = [
        jnp.broadcast_to(a[..., None], (*a.shape, size)) if axis is None else jnp.moveaxis(a, axis, -1)
        for a, axis in zip(args, axes, strict=True)
    ]
    return _frechet.bind(*args), args[0].ndim - 1


_frechet = Primitive("frechet_derivative_of_expm")
_frechet.def_impl(jax.jit(_frechet_impl))
_frechet.def_abstract_eval(lambda generator, direction: generator)
ad.primitive_jvps[_frechet] = _frechet_jvp
ad.primitive_transposes[_frechet] = _frechet_transpose
batching.primitive_batchers[_frechet] = _frechet_batch
mlir.register_lowering(_frechet, mlir.lower_fun(_frechet_impl, multiple_results=False))


def _eye(a: Array) -> Array:
    return jnp.eye(a.shape[0], dtype=a.dtype).reshape(a.shape[:2] + (1,) * (a.ndim - 2))


def _scaled(a: Array, doublings: Array) -> Array:
    return a * jnp.ldexp(jnp.ones((), a.real.dtype), -doublings).astype(a.dtype)


def _doublings(generator: Array) -> Array:
    return _count(jax.lax.stop_gradient(jnp.abs(generator).sum(axis=1).max()))


@jax.custom_batching.custom_vmap
def _count(norm):
    """How often to double; under vmap one number for the whole batch, so that the loop keeps its count."""
    ratio = jnp.log2(jnp.maximum(norm, _RADIUS) / _RADIUS)
    return jnp.clip(jnp.ceil(ratio), 0, _MAX_DOUBLINGS).astype(jnp.int32)


@_count.def_vmap
def _count_vmap(_axis_size, _in_batched, norm):
    return _count(norm.max()), False
