"""Derivatives of stationary points in the parameters of the surface, by the implicit function theorem."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnmr.dynamics._hessian import dense_hessian
from jaxnmr.dynamics._surface import EnergyFunction, Surface, as_surface

__all__ = ["stationary"]


def stationary(surface: Surface | EnergyFunction, positions: Any) -> Float[Array, "atom dim"]:
    r"""A minimum or a saddle whose derivative in the surface's parameters, cell and neighbours' geometry is known.

    From $\nabla E(\mathbf x^*(\theta), \theta) = 0$ follows

    $$\frac{d\mathbf x^*}{d\theta} = -\mathbf H^{+}\,\frac{\partial\nabla E}{\partial\theta},$$

    with the pseudo-inverse of the Hessian, so that free translations and rotations do not move. Values are those of
    `positions`; the derivative in `positions` themselves is zero. Forward and reverse mode, higher orders too. Where an
    eigenvalue other than those of rigid motion passes zero, the point itself ends and the derivative is meaningless.

    Args:
        surface: differentiated where its energy function is a pytree with arrays, or its cell is.
        positions: converged, as `minimise` and `dimer` return them; Å.

    Raises:
        ValueError: positions that do not fit the surface.
    """
    surface = as_surface(surface)
    return _stationary(surface, surface.check(positions))


@eqx.filter_custom_jvp
def _stationary(surface: Surface, positions: Array) -> Array:
    return positions


@_stationary.def_jvp
def _stationary_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    surface, positions = primals
    positions = _stationary(surface, positions)  # so that the rule may itself be differentiated
    free = surface.free(positions)
    _, change = eqx.filter_jvp(lambda s: s.gradient(positions) * free, (surface,), (tangents[0],))
    hessian = dense_hessian(surface, positions) * free.ravel()[:, None] * free.ravel()[None, :]
    values, vectors = jnp.linalg.eigh(hessian)
    # Rigid motion has eigenvalues of rounding size.
    soft = jnp.abs(values) <= jnp.finfo(values.dtype).eps ** 0.5 * jnp.max(jnp.abs(values))
    inverse = jnp.where(soft, 0.0, 1.0 / jnp.where(soft, 1.0, values))
    moved = vectors @ (inverse * (vectors.T @ change.ravel()))
    return positions, -moved.reshape(positions.shape)
