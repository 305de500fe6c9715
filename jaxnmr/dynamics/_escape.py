"""One escape from a minimum under jit: a soft direction, motion at constant energy, and down again."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnmr.compiling import exact_products
from jaxnmr.dynamics._fingerprint import fingerprint
from jaxnmr.dynamics._minimise import Minimum, descended
from jaxnmr.dynamics._optimisers import Optimiser
from jaxnmr.dynamics._rigid import Rigid, rigid_motions, rigid_projector
from jaxnmr.dynamics._status import OVERFLOW
from jaxnmr.dynamics._surface import Surface

__all__ = ["Escape", "hop"]


class Escape(eqx.Module):
    """What all escapes share: time step, width of the fingerprint, motions that lead nowhere, directions that repeat."""

    dt: Array
    width: Array
    kind: Rigid = eqx.field(static=True)
    pbc: tuple[bool, bool, bool] = eqx.field(static=True)

    @classmethod
    def of(cls, surface: Surface, neighbors: Any, positions: Array, dt: Any, width: Any, kind: Rigid) -> Escape:
        """From the first minima."""
        r = positions[0]
        if dt is None:
            dt = 2 * np.pi / 12 / np.sqrt(float(_stiffest(surface, neighbors, r)))
        if width is None:
            away = np.linalg.norm(np.asarray(r)[:, None] - np.asarray(r)[None], axis=-1)
            nearest = np.where(away > 0, away, np.inf).min(axis=1)
            width = float(np.mean(nearest[np.isfinite(nearest)])) if len(r) > 1 else 1.0
        for name, value in (("dt", dt), ("width", width)):
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name}: got {value}; give a number > 0.")
        return cls(jnp.asarray(dt, r.dtype), jnp.asarray(width, r.dtype), kind, surface.periodic)

    def prints(self, positions: Array, cell: Any, weights: Array) -> Array:
        """Fingerprints of several structures."""
        return _prints(positions, self.width, weights, cell, self.pbc)


@eqx.filter_jit
@exact_products
def _prints(positions: Array, width: Array, weights: Array, cell: Any, pbc: tuple[bool, bool, bool]) -> Array:
    # A search: nothing is differentiated.
    positions, width, cell = jax.lax.stop_gradient((positions, width, cell))
    return jax.vmap(lambda r: fingerprint(r, width, weights, cell, pbc))(positions)


@eqx.filter_jit
@exact_products
def _stiffest(surface: Surface, neighbors: Any, r: Array) -> Array:
    """The largest eigenvalue of the Hessian, from below, by twenty powers."""
    around = surface.renew(neighbors, r)
    free = surface.free(r)

    def power(_: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        v, _ = carry
        w = surface.hessian_product(r, v, around) * free
        norm = jnp.sqrt(jnp.sum(w**2))
        return w / norm, norm

    v = jax.random.normal(jax.random.key(0), r.shape, r.dtype) * free
    return jax.lax.fori_loop(0, 20, power, (v / jnp.sqrt(jnp.sum(v**2)), jnp.zeros((), r.dtype)))[1]


@eqx.filter_jit
@exact_products
def hop(
    surface: Surface,
    neighbors: Any,
    positions: Array,
    kinetic: Array,
    keys: Array,
    settings: Escape,
    weights: Array,
    optimiser: Optimiser,
    max_force: float,
    sizes: tuple[int, int, int, int],
) -> tuple[Minimum, Array, Array]:
    """All walkers' next minima, their fingerprints, and what each of them cost."""
    one = lambda r, e, key: _hop(  # noqa: E731
        surface, neighbors, r, e, key, settings, weights, optimiser, max_force, sizes
    )
    return eqx.filter_vmap(one)(positions, kinetic, keys)


def _hop(
    surface: Surface,
    neighbors: Any,
    r: Array,
    kinetic: Array,
    key: Array,
    settings: Escape,
    weights: Array,
    optimiser: Optimiser,
    max_force: float,
    sizes: tuple[int, int, int, int],
) -> tuple[Minimum, Array, Array]:
    passed, softening, most, max_steps = sizes
    around = surface.renew(neighbors, r)
    v = _softened(surface, around, r, jax.random.normal(key, r.shape, r.dtype), softening, settings.kind)
    v = v * jnp.sqrt(2 * kinetic.astype(r.dtype))
    energy, gradient = surface.value_and_gradient(r, around)
    arrays, static = eqx.partition(around, eqx.is_array)
    half = settings.dt / 2

    def move(carry: Any) -> Any:
        k, r, v, energy, gradient, falling, count, arrays = carry
        v = v - half * gradient
        r = r + settings.dt * v
        around = surface.renew(eqx.combine(arrays, static), r)
        new, gradient = surface.value_and_gradient(r, around)
        v = v - half * gradient
        count = count + (falling & (new > energy)).astype(count.dtype)
        return k + 1, r, v, new, gradient, new < energy, count, eqx.filter(around, eqx.is_array)

    def goes_on(carry: Any) -> Array:
        k, _, _, energy, _, _, count, arrays = carry
        on = (count < passed) & (k < most) & jnp.isfinite(energy)
        return on if neighbors is None else on & ~eqx.combine(arrays, static).overflowed

    zero = jnp.zeros((), jnp.int32)
    start = (zero, r, v, energy, gradient, jnp.asarray(False), zero, arrays)
    made, r, _, _, _, _, _, arrays = jax.lax.while_loop(goes_on, move, start)
    around = eqx.combine(arrays, static)
    goals = (jnp.asarray(max_force, r.dtype), jnp.ones((), r.dtype), 0.0)
    low = descended(surface, around, r, optimiser, goals, max_steps)
    if neighbors is not None:
        # One overflow on the way makes all that follows void, wherever the list was short.
        code = jnp.where(around.overflowed, OVERFLOW, low.code)
        low = eqx.tree_at(lambda m: m.code, low, code)
    prints = fingerprint(*jax.lax.stop_gradient((low.positions, settings.width, weights, surface.cell)), settings.pbc)
    low = eqx.tree_at(lambda m: m.neighbors, low, None, is_leaf=lambda leaf: leaf is None or leaf is low.neighbors)
    return low, prints, made + low.evaluations + 2 * (softening + 1) + 1


def _softened(surface: Surface, around: Any, r: Array, v: Array, steps: int, kind: Rigid) -> Array:
    """A unit direction turned towards small curvature by steps of steepest descent of the Rayleigh quotient.

    Few steps: the softest mode itself would always lead out of the same door.
    """
    free = surface.free(r)
    projector = None
    if kind != "none":
        projector, _ = rigid_projector(rigid_motions(r, jnp.ones(len(r), r.dtype), kind))

    def inside(v: Array) -> Array:
        v = v * free
        return v if projector is None else v - (projector.astype(v.dtype) @ v.ravel()).reshape(v.shape)

    def unit(v: Array) -> Array:
        norm = jnp.sqrt(jnp.sum(v**2))
        return v / jnp.where(norm > 0, norm, 1.0)

    def product(v: Array) -> Array:
        return inside(surface.hessian_product(r, v, around))

    def turn(_: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        v, hv = carry
        w = unit(hv - jnp.sum(v * hv) * v)
        hw = product(w)
        a, b, c = jnp.sum(v * hv), jnp.sum(v * hw), jnp.sum(w * hw)
        # The lower eigenvector of the two-by-two matrix of v and w.
        angle = 0.5 * jnp.arctan2(2 * b, a - c) + jnp.pi / 2
        x, y = jnp.cos(angle), jnp.sin(angle)
        return x * v + y * w, x * hv + y * hw

    v = unit(inside(v))
    if not steps:
        return v
    v, _ = jax.lax.fori_loop(0, steps, turn, (v, product(v)))
    return unit(v)
