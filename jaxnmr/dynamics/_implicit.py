"""Derivatives of stationary points in the parameters of the surface, by the implicit function theorem."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnmr.dynamics._hessian import dense_hessian
from jaxnmr.dynamics._surface import EnergyFunction, Surface, as_surface
from jaxnmr.errors import is_concrete

__all__ = ["settled", "stationary", "underivable"]


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


def settled(surface: Surface, neighbors: Any, positions: Array, energy: Array) -> tuple[Array, Array]:
    r"""Stationary points, and their energies, with derivatives in the surface's parameters.

    The energy's is $\partial E/\partial\theta$ at the point where it lies: to move it costs nothing in first order.

    Args:
        surface: as `stationary`.
        neighbors: of each point, or None.
        positions: (atom, dimension), with any number of axes before.
        energy: with those axes.
    """
    if is_concrete(*jax.tree.leaves(eqx.filter(surface, eqx.is_array))):
        return positions, energy

    def one(neighbors: Any, positions: Array, energy: Array) -> tuple[Array, Array]:
        there = surface.with_neighbors(neighbors)
        return _stationary(there, positions), _lowest(there, positions, energy)

    for _ in range(energy.ndim):
        one = eqx.filter_vmap(one)
    return one(neighbors, positions, energy)


@eqx.filter_custom_jvp
def _lowest(surface: Surface, positions: Array, energy: Array) -> Array:
    return energy


@_lowest.def_jvp
def _lowest_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    surface, positions, energy = primals
    positions = _stationary(surface, positions)
    _, change = eqx.filter_jvp(lambda s: s.energy(positions), (surface,), (tangents[0],))
    return _lowest(surface, positions, energy), change


@eqx.filter_custom_jvp
def _underivable(surface: Surface, result: Any) -> Any:
    return result


@_underivable.def_jvp
def _underivable_jvp(primals: Any, tangents: Any) -> Any:
    raise NotImplementedError(
        "minimise: has no derivatives where the cell moves; minimise, then differentiate minimise in that cell held fixed."
    )


def underivable(surface: Surface, result: Any) -> Any:
    """What must not be differentiated in the surface: an error instead of a derivative of zero."""
    return _underivable(surface, result)
