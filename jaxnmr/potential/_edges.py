"""Functions of an edge: harmonics of its direction, a radial basis of its length that ends smoothly at the cutoff."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = ["bessel_basis", "envelope", "harmonics", "lengths"]


def lengths(vectors: Float[Array, "*edges 3"]) -> Float[Array, " *edges"]:
    """Euclidean norm, whose derivative at zero is zero."""
    square = jnp.sum(vectors**2, axis=-1)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def envelope(r: Float[Array, " *edges"], cutoff: float, power: int) -> Float[Array, " *edges"]:
    r"""Polynomial that falls from 1 to 0 with value, slope and curvature zero at the cutoff.

    $$u(x) = 1 - \tfrac{(p+1)(p+2)}{2} x^p + p(p+2) x^{p+1} - \tfrac{p(p+1)}{2} x^{p+2},\quad x = r / r_c$$

    References:
        J. Gasteiger, J. Groß and S. Günnemann, ICLR 2020, arXiv:2003.03123, eq. 8.
    """
    # Held at the cutoff beyond it, where the polynomial is zero but its cancellation is not.
    x, p = jnp.minimum(r / cutoff, 1.0), power
    inside = 1 - x**p * ((p + 1) * (p + 2) / 2 - p * (p + 2) * x + p * (p + 1) / 2 * x**2)
    return jnp.where(x < 1, inside, 0.0)


def bessel_basis(r: Float[Array, " *edges"], cutoff: float, n: int) -> Float[Array, "*edges n"]:
    r"""$\frac{2}{r_c} \sin(k\pi r/r_c) / r$ for k = 1 ... n, 1/Å².

    References:
        J. Gasteiger, J. Groß and S. Günnemann, ICLR 2020, arXiv:2003.03123, eq. 7.
    """
    wave = np.arange(1, n + 1) * np.pi / cutoff
    positive = (r > 0)[..., None]
    safe = jnp.where(positive, r[..., None], 1.0)
    phases = safe * jnp.asarray(wave, r.dtype).reshape((1,) * r.ndim + (n,))
    limit = jnp.broadcast_to(jnp.asarray(wave, r.dtype), phases.shape)
    return 2 / cutoff * jnp.where(positive, jnp.sin(phases) / safe, limit)


def harmonics(vectors: Float[Array, "*edges 3"], r: Float[Array, " *edges"], l_max: int) -> Float[Array, "*edges harmonic"]:
    """Real spherical harmonics of the directions up to degree l_max in e3nn's basis, mean square 1 for each component."""
    import e3nn_jax as e3nn

    unit = vectors / jnp.where(r > 0, r, 1.0)[..., None]
    # e3nn mixes ranks and dtypes, which users may have forbidden.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        each = e3nn.spherical_harmonics(
            e3nn.s2_irreps(l_max), e3nn.IrrepsArray("1o", unit), normalize=False, normalization="component"
        )
    return each.array.astype(vectors.dtype)
