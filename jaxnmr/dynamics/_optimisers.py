"""How a step follows from gradients: L-BFGS and FIRE, for one structure or a whole band, with and without an energy."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

__all__ = ["FIRE", "LBFGS", "Optimiser", "largest", "limited"]


def largest(vectors: Array) -> Array:
    """The largest norm among the rows of (..., dimension)."""
    return jnp.sqrt(jnp.max(jnp.sum(vectors**2, axis=-1)))


def limited(step: Array, length: Any) -> Array:
    """A step shrunk as a whole until no atom moves farther than `length`."""
    norm = largest(step)
    return step * jnp.where(norm > length, length / jnp.where(norm > 0, norm, 1.0), 1.0)


class _Memory(NamedTuple):
    """Past steps and changes of gradient, newest last; empty places have zero weight."""

    steps: Array
    changes: Array
    weights: Array  # 1 / (s . y), zero where empty
    scale: Array  # s . y / y . y of the newest
    trust: Array  # longest step now


class LBFGS(eqx.Module):
    r"""Limited-memory BFGS with bounded steps.

    On an energy a step that raises it is taken back and half its length tried next; on a field of forces that has no
    energy (a band, a saddle search) each step is taken.

    Args:
        memory: pairs of steps and changes of gradient that are kept.
        max_step: farthest that an atom moves at once, Å.
        curvature: guess for the first step, eV/Å².
        unexplored: curvature in directions that are not known yet: "newest", that of the last step; "mean", the geometric
            mean of all kept ones, which suits a band, whose last steps are soft while its images still have stiff bonds.

    References:
        Liu, Nocedal, Math. Program. 45, 503 (1989); for bands: Sheppard et al., J. Chem. Phys. 128, 134106 (2008).
    """

    memory: int = eqx.field(static=True, default=20)
    max_step: float = 0.2
    curvature: float = 70.0
    unexplored: Literal["newest", "mean"] = eqx.field(static=True, default="newest")

    def __check_init__(self):
        if self.unexplored not in ("newest", "mean"):
            raise ValueError(f"LBFGS.unexplored: got {self.unexplored!r}; give 'newest' or 'mean'.")
        _positive("LBFGS", memory=self.memory, max_step=self.max_step, curvature=self.curvature)

    def start(self, gradient: Array) -> _Memory:
        """Nothing known yet."""
        empty = jnp.zeros((self.memory, *gradient.shape), gradient.dtype)
        one = jnp.ones((), gradient.dtype)
        return _Memory(empty, empty, jnp.zeros(self.memory, gradient.dtype), one / self.curvature, one * self.max_step)

    def forget(self, state: _Memory) -> _Memory:
        """After the field of forces has changed."""
        return state._replace(weights=jnp.zeros_like(state.weights))

    def step(self, state: _Memory, gradient: Array) -> Array:
        """What to move by."""

        def back(q: Array, pair: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            s, y, weight = pair
            a = weight * jnp.sum(s * q)
            return q - a * y, a

        def forth(r: Array, pair: tuple[Array, Array, Array, Array]) -> tuple[Array, None]:
            s, y, weight, a = pair
            return r + s * (a - weight * jnp.sum(y * r)), None

        pairs = (state.steps, state.changes, state.weights)
        q, a = jax.lax.scan(back, gradient, pairs, reverse=True)
        r, _ = jax.lax.scan(forth, state.scale * q, (*pairs, a))
        downhill = jnp.sum(r * gradient) > 0
        return limited(-jnp.where(downhill, r, state.scale * gradient), state.trust)

    def learn(self, state: _Memory, step: Array, gradient: Array, change: Array, accepted: Array) -> _Memory:
        """What a step has shown: the gradient's change is used even where the step is taken back."""
        sy, yy, ss = jnp.sum(step * change), jnp.sum(change**2), jnp.sum(step**2)
        curved = sy > 1e-8 * jnp.sqrt(ss * yy)
        weight = jnp.where(curved, 1.0 / jnp.where(curved, sy, 1.0), 0.0)
        scale = jnp.where(curved, sy / jnp.where(yy > 0, yy, 1.0), state.scale)
        push = lambda old, new: jnp.where(curved, jnp.concatenate([old[1:], new[None]]), old)  # noqa: E731
        trust = jnp.where(accepted, jnp.minimum(2 * state.trust, self.max_step), 0.5 * largest(step))
        steps, changes, weights = push(state.steps, step), push(state.changes, change), push(state.weights, weight)
        if self.unexplored == "mean":
            # 1 / weight is s . y; a pair without weight is empty.
            full, each = weights > 0, jnp.sum(changes**2, axis=tuple(range(1, changes.ndim)))
            logs = jnp.where(full, jnp.log(jnp.where(full, weights * each, 1.0)), 0.0)
            known = jnp.sum(full)
            mean = jnp.exp(-jnp.sum(logs) / jnp.maximum(known, 1).astype(logs.dtype))
            scale = jnp.where(known > 0, mean, state.scale)
        return _Memory(steps, changes, weights, scale, trust)


class _Motion(NamedTuple):
    """Velocity and time step of FIRE."""

    velocity: Array
    dt: Array
    mixing: Array
    downhill: Array


class FIRE(eqx.Module):
    r"""Fast inertial relaxation engine: motion that is turned towards the force and stopped where it goes uphill.

    Args:
        dt: first time step, in units where masses are one.
        max_dt: longest time step.
        max_step: farthest that an atom moves at once, Å.

    References:
        Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006); Guénolé et al., Comput. Mater. Sci. 175, 109584 (2020).
    """

    dt: float = 0.1
    max_dt: float = 1.0
    max_step: float = 0.2

    def __check_init__(self):
        _positive("FIRE", dt=self.dt, max_dt=self.max_dt, max_step=self.max_step)

    def start(self, gradient: Array) -> _Motion:
        """At rest."""
        one = jnp.ones((), gradient.dtype)
        return _Motion(jnp.zeros_like(gradient), one * self.dt, 0.1 * one, jnp.zeros((), jnp.int32))

    def forget(self, state: _Motion) -> _Motion:
        """At rest again."""
        return state._replace(velocity=jnp.zeros_like(state.velocity))

    def step(self, state: _Motion, gradient: Array) -> Array:
        """What to move by."""
        velocity = state.velocity - state.dt * gradient
        speed, slope = jnp.sqrt(jnp.sum(velocity**2)), jnp.sqrt(jnp.sum(gradient**2))
        turned = -gradient * (speed / jnp.where(slope > 0, slope, 1.0))
        return limited(state.dt * ((1 - state.mixing) * velocity + state.mixing * turned), self.max_step)

    def learn(self, state: _Motion, step: Array, gradient: Array, change: Array, accepted: Array) -> _Motion:
        """Faster while it goes downhill, at rest and slower otherwise."""
        down = jnp.sum((gradient + change) * step) < 0
        count = jnp.where(down, state.downhill + 1, 0)
        patient = count > 5
        dt = jnp.where(patient, jnp.minimum(1.1 * state.dt, self.max_dt), state.dt)
        mixing = jnp.where(patient, 0.99 * state.mixing, state.mixing)
        dt, mixing = jnp.where(down, dt, 0.5 * state.dt), jnp.where(down, mixing, 0.1)
        return _Motion(jnp.where(down, step / state.dt, 0.0), dt, mixing, count)


Optimiser = LBFGS | FIRE


def _positive(name: str, **values: float | int) -> None:
    for argument, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}.{argument}: got {value}; must be > 0.")
