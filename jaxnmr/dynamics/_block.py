"""One block of motion under jit: steps, samples, and the marks by which a run that goes wrong is known."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnmr.compiling import exact_products
from jaxnmr.dynamics._npt import NPT, unturned
from jaxnmr.dynamics._observe import Observable, Sums
from jaxnmr.dynamics._system import Ending, MDState, System

__all__ = ["First", "Limits", "Ran", "Series", "block", "first_state", "spread", "start"]


class Limits(NamedTuple):
    """Where a run is stopped: temperature, K, and drift, kT for each degree of freedom."""

    temperature: Array
    drift: Array


class First(NamedTuple):
    """What later samples are compared with: the energy to be conserved, and the largest kT so far."""

    conserved: Array
    thermal: Array


class Ran(NamedTuple):
    """What a block leaves; rows and values beyond `made` are void."""

    state: MDState
    sums: Sums | None
    first: First
    rows: tuple[Array, ...]  # energy, kinetic, conserved, volume
    kept: Array | None
    frames: tuple[Any, ...]  # energy, positions, velocities, cell
    made: Array
    code: Array


class Series(NamedTuple):
    """Samples so far, (sample, *replica)."""

    energy: np.ndarray = np.zeros(0)
    kinetic: np.ndarray = np.zeros(0)
    conserved: np.ndarray = np.zeros(0)
    volume: np.ndarray = np.zeros(0)
    kept: np.ndarray = np.zeros(0)

    def extended(self, ran: Ran, made: int) -> Series:
        """With the samples of one more block."""
        parts = (*ran.rows, jnp.zeros(len(ran.rows[0])) if ran.kept is None else ran.kept)
        new = [np.asarray(part[:made]) for part in parts]
        return Series(*(b if not len(a) else np.concatenate([a, b]) for a, b in zip(self, new, strict=True)))


def spread(neighbors: Any, positions: Array) -> Any:
    """The same neighbours for each replica."""
    if neighbors is None or positions.ndim == 2:
        return neighbors
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (len(positions), *jnp.shape(x))) if eqx.is_array(x) else x, neighbors)


def first_state(
    system: System,
    method: Any,
    positions: Array,
    neighbors: Any,
    seed: int,
    temperature: Any,
    velocities: Any,
    cell: Any = None,
) -> MDState:
    """Velocities drawn or given, forces computed; in the system's cell unless another is given, for each replica.

    Raises:
        ValueError: velocities of another shape, temperatures that are not one for all or one for each replica.
    """
    if velocities is not None and jnp.shape(velocities) != positions.shape:
        raise ValueError(f"velocities: got shape {jnp.shape(velocities)}; give that of positions, {positions.shape}.")
    warmth = method.target if temperature is None else temperature
    warmth = jnp.asarray(0.0 if warmth is None else warmth, positions.dtype)
    check_per_replica("temperature", warmth, positions)
    given = None if velocities is None else jnp.asarray(velocities, positions.dtype)
    cell = None if cell is None else jnp.asarray(cell, positions.dtype)
    key = jax.random.key(seed)
    if positions.ndim == 2:
        return _first(system, method, positions, given, neighbors, key, warmth, cell)
    keys = jax.random.split(key, len(positions))
    each = eqx.if_array(0)
    return eqx.filter_vmap(
        lambda m, r, v, n, k, t, h: _first(system, m, r, v, n, k, t, h),
        in_axes=(each, 0, each, each, 0, 0 if warmth.ndim else None, each),
    )(method, positions, given, neighbors, keys, warmth, cell)


def check_per_replica(name: str, value: Array, positions: Array) -> None:
    """Raise ValueError for a number that is neither one for all nor one for each replica."""
    allowed = ((),) if positions.ndim == 2 else ((), positions.shape[:1])
    if jnp.shape(value) not in allowed:
        each = (
            f", or one for each replica, {positions.shape[:1]}"
            if positions.ndim == 3
            else " (replicas: positions of 3 axes)"
        )
        raise ValueError(f"{name}: got shape {jnp.shape(value)}; give one number{each}.")


@eqx.filter_jit
@exact_products
def _first(
    system: System, method: Any, r: Array, given: Any, neighbors: Any, key: Array, warmth: Array, cell: Any
) -> MDState:
    noise, motion, bath = jax.random.split(key, 3)
    v = system.drawn(motion, warmth) if given is None else system.held(given)
    cell = system.reference if cell is None else cell
    energy, gradient, strain, neighbors = system.evaluate(r, cell, neighbors)
    zero = jnp.zeros((), r.dtype)
    return MDState(
        r,
        v,
        cell,
        energy,
        gradient,
        strain,
        method.start(system, bath),
        zero,
        jax.random.key_data(noise),
        jnp.zeros((), jnp.int32),
        neighbors,
    )


def start(system: System, method: Any, state: MDState) -> First:
    """What the run is compared with."""
    _, kinetic, conserved, _ = _measured(system, method, state, state.positions.ndim == 3)
    return First(conserved, 2 * kinetic / system.dof)


def _measured(system: System, method: Any, state: MDState, batched: bool) -> tuple[Array, ...]:
    def one(method: Any, state: MDState) -> tuple[Array, ...]:
        kinetic = system.kinetic(state.velocities)
        zero = jnp.zeros_like(state.energy)
        volume = zero if state.cell is None else jnp.abs(jnp.linalg.det(state.cell))
        return state.energy, kinetic, method.conserved(state, system), volume

    return eqx.filter_vmap(one)(method, state) if batched else one(method, state)


@eqx.filter_jit
@exact_products
def block(
    system: System,
    method: Any,
    watched: Observable | None,
    state: MDState,
    sums: Sums | None,
    first: First,
    limits: Limits,
    dt: Array,
    count: Any,
    phase: Any,
    every: int,
    capacity: int,
    ratio: int,
    batched: bool,
    with_frames: bool,
) -> Ran:
    """At most `count` samples, `every` steps apart; ends before a sample that is not good.

    `phase` samples have been made since the last frame. Where there are replicas, the method's numbers are arrays over them.
    Where a list overflows the state is that of the overflow, so that the list can be grown there; where the run goes wrong
    otherwise it is that of the last good sample.
    """
    over_all = (lambda f: eqx.filter_vmap(f)) if batched else (lambda f: f)
    arrays, static = eqx.partition(state, eqx.is_array)

    def one(method: Any, arrays: Any) -> Any:
        return eqx.filter(method.step(eqx.combine(arrays, static), system, dt), eqx.is_array)

    def full(arrays: Any) -> Array:
        return jnp.zeros((), bool) if state.neighbors is None else eqx.combine(arrays, static).neighbors.overflowed

    def advanced(arrays: Any) -> Any:
        go = lambda carry: (carry[0] + 1, over_all(one)(method, carry[1]))  # noqa: E731
        more = lambda carry: (carry[0] < every) & ~jnp.any(full(carry[1]))  # noqa: E731
        return jax.lax.while_loop(more, go, (jnp.zeros((), jnp.int32), arrays))[1]

    def judged(row: tuple[Array, ...], arrays: Any, first: First) -> tuple[Array, First]:
        energy, kinetic, conserved, _ = row
        warm = jnp.maximum(first.thermal, 2 * kinetic / system.dof)
        # At rest nothing is warm yet: what rounding alone moves is no drift.
        rounding = 100 * jnp.finfo(energy.dtype).eps * (jnp.abs(energy) + kinetic)
        drift = jnp.abs(conserved - first.conserved) > limits.drift * system.dof * warm + rounding
        hot = system.temperature(kinetic) > limits.temperature
        finite = jnp.isfinite(energy) & jnp.isfinite(kinetic) & jnp.isfinite(conserved)
        code = jnp.where(drift, int(Ending.DRIFT), int(Ending.FINISHED))
        code = jnp.where(full(arrays), int(Ending.OVERFLOW), code)
        code = jnp.where(hot, int(Ending.HOT), code)
        code = jnp.where(finite, code, int(Ending.NOT_FINITE)).astype(jnp.int32)
        return code, First(first.conserved, warm)

    def sample(carry: Any) -> Any:
        i, arrays, sums, first, rows, kept, frames, _ = carry
        new = advanced(arrays)
        now = eqx.combine(new, static)
        if isinstance(method, NPT):
            now = over_all(lambda s: unturned(s, system))(now)
            new = eqx.filter(now, eqx.is_array)
        row = _measured(system, method, now, batched)
        code, warm = judged(row, new, first)
        bad, blown = jnp.any(code != 0), jnp.any(code > int(Ending.OVERFLOW))

        def noted(_: None) -> Any:
            values = None if watched is None else over_all(watched.flat)(now)
            added = None if sums is None or values is None else sums.added(values)
            more = tuple(whole.at[i].set(part) for whole, part in zip(rows, row, strict=True))
            shots = (now.energy, now.positions, now.velocities, now.cell if with_frames else None)
            # Written over until the last sample of a frame's turn.
            film = tuple(
                None if f is None else f.at[(phase + i) // ratio].set(s) for f, s in zip(frames, shots, strict=True)
            )
            store = None if kept is None else kept.at[i].set(values)
            return added, warm, more, store, film

        as_before = (sums, first, rows, kept, frames)
        sums, first, rows, kept, frames = jax.lax.cond(bad, lambda _: as_before, noted, None)
        arrays = jax.tree.map(lambda a, b: jnp.where(blown, a, b), arrays, new)
        return i + (~bad).astype(i.dtype), arrays, sums, first, rows, kept, frames, code

    shape, dtype = state.energy.shape, state.energy.dtype
    room = lambda x, n: None if x is None else jnp.zeros((n, *x.shape), x.dtype)  # noqa: E731
    rows = tuple(jnp.zeros((capacity, *shape), dtype) for _ in range(4))
    kept = None
    if watched is not None and watched.keep and sums is not None:
        kept = room(sums.first, capacity)
    n = capacity // ratio
    frames: tuple[Any, ...] = (None,) * 4
    if with_frames:
        frames = (room(state.energy, n), room(state.positions, n), room(state.velocities, n), room(state.cell, n))
    code = jnp.zeros(shape, jnp.int32)
    carry = (jnp.zeros((), jnp.int32), arrays, sums, first, rows, kept, frames, code)
    carry = jax.lax.while_loop(lambda c: (c[0] < count) & jnp.all(c[-1] == 0), sample, carry)
    made, arrays, sums, first, rows, kept, frames, code = carry
    return Ran(eqx.combine(arrays, static), sums, first, rows, kept, frames, made, code)
