"""The force on a band of images: improved tangents, springs, the climbing image; and equal spacing for strings."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["Spring", "String", "band_gradient", "respaced", "tangents"]


class Spring(eqx.Module):
    """Nudged elastic band: images held apart by springs along the path.

    Args:
        constant: of the springs, eV/Å².

    References:
        Henkelman, Jónsson, J. Chem. Phys. 113, 9978 (2000).
    """

    constant: float = 1.0

    def __check_init__(self):
        if not self.constant > 0:
            raise ValueError(f"Spring.constant: got {self.constant}; must be > 0, in eV/Å².")


class String(eqx.Module):
    """String method: images spaced equally along the path after each step; no springs.

    References:
        E, Ren, Vanden-Eijnden, J. Chem. Phys. 126, 164103 (2007).
    """


def tangents(path: Float[Array, "image atom dim"], energies: Float[Array, " image"]) -> Float[Array, "inner atom dim"]:
    """Unit tangent at each inner image: towards the higher neighbour, mixed by energy at a top or a bottom."""
    forth, back = path[2:] - path[1:-1], path[1:-1] - path[:-2]
    up, down = energies[2:] - energies[1:-1], energies[:-2] - energies[1:-1]
    high, low = jnp.maximum(jnp.abs(up), jnp.abs(down)), jnp.minimum(jnp.abs(up), jnp.abs(down))
    rising, falling = (up > 0) & (down < 0), (up < 0) & (down > 0)
    upper = energies[2:] > energies[:-2]
    a = jnp.where(rising, 1.0, jnp.where(falling, 0.0, jnp.where(upper, high, low)))[:, None, None]
    b = jnp.where(rising, 0.0, jnp.where(falling, 1.0, jnp.where(upper, low, high)))[:, None, None]
    mixed = a * forth + b * back
    flat = jnp.max(jnp.abs(mixed), axis=(1, 2), keepdims=True) == 0  # three images of one energy
    return _unit(jnp.where(flat, forth + back, mixed))


def band_gradient(
    path: Float[Array, "image atom dim"],
    energies: Float[Array, " image"],
    gradients: Float[Array, "inner atom dim"],
    method: Spring | String,
    climbing: Array,
    still: Callable[[Array, Array], Array] | None = None,
) -> tuple[Float[Array, "inner atom dim"], Float[Array, "inner atom dim"]]:
    """What the optimiser follows, and its part without springs; both with the sign of a gradient.

    Args:
        path: images, Å.
        energies: eV.
        gradients: of the inner images, eV/Å.
        method: springs or string.
        climbing: whether the highest inner image climbs.
        still: takes out of a vector at some positions what shifts or turns them as a whole; such parts of the tangents cost
            no energy and would let images wander.
    """
    t = tangents(path, energies)
    if still is not None:
        t = _unit(jax.vmap(still)(path[1:-1], t))
    along = jnp.sum(gradients * t, axis=(1, 2), keepdims=True) * t
    top = (jnp.arange(len(gradients)) == jnp.argmax(energies[1:-1]))[:, None, None] & climbing
    across = gradients - along - jnp.where(top, along, 0.0)
    if isinstance(method, String):
        return across, across
    gaps = jnp.sqrt(jnp.sum((path[1:] - path[:-1]) ** 2, axis=(1, 2)))
    pull = method.constant * (gaps[1:] - gaps[:-1])[:, None, None] * t
    return across - jnp.where(top, 0.0, pull), across


def respaced(path: Float[Array, "image atom dim"], energies: Array, climbing: Array) -> Float[Array, "image atom dim"]:
    """Images at equal distances along the polygon, on either side of the climbing image where one climbs."""
    m = len(path)
    gaps = jnp.sqrt(jnp.sum((path[1:] - path[:-1]) ** 2, axis=(1, 2)))
    arc = jnp.concatenate([jnp.zeros(1, path.dtype), jnp.cumsum(gaps)])
    k = jnp.arange(m).astype(path.dtype)
    top = jnp.argmax(energies[1:-1]) + 1
    reached, share = arc[top], top.astype(path.dtype)
    left, right = reached * k / share, reached + (arc[-1] - reached) * (k - share) / (m - 1 - share)
    target = jnp.where(climbing, jnp.where(k <= share, left, right), arc[-1] * k / (m - 1))
    flat = path.reshape(m, -1)
    spread = jax.vmap(lambda column: jnp.interp(target, arc, column), in_axes=1, out_axes=1)(flat)
    return spread.reshape(path.shape).at[0].set(path[0]).at[-1].set(path[-1])


def _unit(v: Array) -> Array:
    norm = jnp.sqrt(jnp.sum(v**2, axis=(1, 2), keepdims=True))
    return v / jnp.where(norm > 0, norm, 1.0)
