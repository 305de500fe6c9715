r"""$e^{2\pi ix}$ for arguments in turns.

The compiler's sine reduces its argument for the whole range of floats and costs twenty times an exponential. In turns the
reduction is one rounding, and polynomials of half the angle do the rest, to the last digits of the type.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["cis"]


@jax.custom_jvp
def cis(turns: Float[Array, ...]) -> tuple[Float[Array, ...], Float[Array, ...]]:
    """Cosine and sine of 2 pi times the argument."""
    terms = 7 if jnp.finfo(turns.dtype).bits <= 32 else 12
    x = jnp.pi * (turns - jnp.round(turns))  # half the angle, at most pi/2
    square = x * x
    cosine = jnp.zeros_like(x)
    sine = jnp.zeros_like(x)
    for k in reversed(range(terms)):
        cosine = cosine * square + (-1) ** k / math.factorial(2 * k)
        sine = sine * square + (-1) ** k / math.factorial(2 * k + 1)
    sine = sine * x
    return 1 - 2 * sine * sine, 2 * sine * cosine


@cis.defjvp
def _cis_jvp(primals, tangents):
    cosine, sine = cis(*primals)
    rate = 2 * jnp.pi * tangents[0]
    return (cosine, sine), (-sine * rate, cosine * rate)
