"""Derivatives of stationary points in the parameters of the surface, by the implicit function theorem."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnmr.dynamics._hessian import dense_hessian
from jaxnmr.dynamics._rigid import idle_motions
from jaxnmr.dynamics._surface import EnergyFunction, Surface, as_surface
from jaxnmr.errors import is_concrete

__all__ = ["at_place", "settled", "stationary", "underivable"]


def stationary(surface: Surface | EnergyFunction, positions: Any) -> Float[Array, "atom dim"]:
    r"""A minimum or a saddle whose derivative in the surface's parameters, cell and neighbours' geometry is known.

    From $\nabla E(\mathbf x^*(\theta), \theta) = 0$ follows

    $$\frac{d\mathbf x^*}{d\theta} = -(\mathbf H + \mathbf P)^{-1}\,\frac{\partial\nabla E}{\partial\theta},$$

    with P on translations and rotations of the whole that cost no energy there (`idle_motions`): they do not move. Values
    are those of `positions`; the derivative in `positions` themselves is zero. Forward and reverse mode, and higher orders
    of all that no rigid motion changes. Where another eigenvalue passes zero, the point itself ends and the derivative is
    meaningless.

    Args:
        surface: differentiated where its energy function is a pytree with arrays, or its cell is. Neighbours are listed
            anew at `positions`.
        positions: converged, as `minimise` and `dimer` return them; one point, (atom, dimension), Å. They come back as NaN
            where a list that must not grow, under a transformation, is too short for them.

    Raises:
        ValueError: positions that do not fit the surface, or several points.
    """
    surface = as_surface(surface)
    positions = surface.check(positions)
    if positions.ndim != 2:
        raise ValueError(
            f"positions: got shape {positions.shape}; give one point, (atom, dimension), or jax.vmap over them."
        )
    return _stationary(*surface.at_rest(positions))


@eqx.filter_custom_jvp
def _stationary(surface: Surface, positions: Array) -> Array:
    return positions


@_stationary.def_jvp
def _stationary_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    surface, positions = primals
    positions = _stationary(surface, positions)  # so that the rule may itself be differentiated
    free = surface.free(positions)
    gradient, change = eqx.filter_jvp(lambda s: s.gradient(positions) * free, (surface,), (tangents[0],))
    hessian = dense_hessian(surface, positions)
    known = jax.lax.stop_gradient(hessian)
    idle = idle_motions(*jax.lax.stop_gradient((positions, gradient)), known, free=free)
    # Constants to a derivative: they only fill up what the change has no part in, see the equation of `idle_motions`.
    block = free.ravel()[:, None] * free.ravel()[None, :]
    filled, stiff = idle.T @ idle + _empty(known * block), jnp.max(jnp.abs(known))
    matrix = hessian * block + jnp.where(stiff > 0, stiff, 1.0) * filled
    moved = jnp.linalg.solve(matrix, change.ravel()).reshape(positions.shape)
    return positions, -moved * free


def _empty(hessian: Array) -> Array:
    """Projector on what has no curvature to rounding: fixed atoms, coordinates that nothing depends on, loose fragments."""
    values, vectors = jnp.linalg.eigh(hessian)
    none = jnp.abs(values) <= 30 * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    vectors = jnp.where(none[None], vectors, 0.0)
    return vectors @ vectors.T


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
def _at_place(surface: Surface, positions: Array, energy: Array) -> Array:
    return energy


@_at_place.def_jvp
def _at_place_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    surface, positions, energy = primals
    # The place would move in the next order, and nothing is known of how.
    positions = underivable(
        surface, positions, "neb: energies of images have first derivatives only; differentiate `dimer` at `path.top`."
    )
    _, change = eqx.filter_jvp(lambda s: s.energy(positions), (surface,), (tangents[0],))
    return _at_place(surface, positions, energy), change


def at_place(surface: Surface, neighbors: Any, positions: Array, energy: Array) -> Array:
    r"""Energies of places that do not follow the surface, with their first derivative $\partial E/\partial\theta$.

    Args:
        surface: as `stationary`.
        neighbors: of each place, or None; renewed there.
        positions: (place, atom, dimension).
        energy: (place,).
    """
    if is_concrete(*jax.tree.leaves(eqx.filter(surface, eqx.is_array))):
        return energy

    def one(neighbors: Any, positions: Array, energy: Array) -> Array:
        around = surface.frozen().renew(neighbors, positions)
        return _at_place(surface.with_neighbors(around), positions, energy)

    return eqx.filter_vmap(one)(neighbors, positions, energy)


@eqx.filter_custom_jvp
def _underivable(surface: Surface, result: Any, message: str) -> Any:
    return result


@_underivable.def_jvp
def _underivable_jvp(primals: Any, tangents: Any) -> Any:
    raise NotImplementedError(primals[2])


def underivable(surface: Surface, result: Any, message: str) -> Any:
    """What must not be differentiated in the surface: an error with this message instead of a derivative of zero."""
    return _underivable(surface, result, message)
