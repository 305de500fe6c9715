"""Molecular dynamics: blocks of steps under jit, looked at between blocks, with everything kept that was good."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnmr.dynamics._block import Limits, Series, block, check_per_replica, first_state, spread, start
from jaxnmr.dynamics._checkpoint import load, save, settings_of
from jaxnmr.dynamics._ensembles import NVE, Langevin, NoseHoover
from jaxnmr.dynamics._frames import Frames
from jaxnmr.dynamics._md_result import MDResult, advice, check_temperature, result_of
from jaxnmr.dynamics._npt import NPT
from jaxnmr.dynamics._observe import Observable, Sums
from jaxnmr.dynamics._surface import EnergyFunction, Surface, as_surface
from jaxnmr.dynamics._system import Ending, MDState, MotionError, System
from jaxnmr.dynamics._trajectory import TrajectoryWriter
from jaxnmr.dynamics._units import ATOMIC, Units

__all__ = ["md"]

Method = NVE | Langevin | NoseHoover | NPT
# A list that is too short grows by a quarter each time; so often for one block only where atoms fall together.
_GROWTHS = 30


def md(
    surface: Surface | EnergyFunction,
    positions: Any = None,
    method: Method | None = None,
    *,
    steps: int,
    dt: float = 0.5,
    temperature: Any = None,
    velocities: Any = None,
    seed: int = 0,
    every: int = 10,
    observe: Observable | Callable[[MDState], Any] | None = None,
    trajectory: str | os.PathLike[str] | None = None,
    frame_every: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    centred: bool | None = None,
    max_temperature: float | None = None,
    max_drift: float = 0.1,
    block_steps: int = 1000,
    units: Units = ATOMIC,
    progress: Callable[[int, int, float], None] | None = None,
    throw: bool = True,
) -> MDResult:
    """Move the atoms of one structure, or of many replicas side by side.

    Blocks of steps run under jit. Between blocks files are written; a neighbour list that became too short is grown and
    the block run again; a run whose energy drifts, whose temperature explodes or that is not finite any more is
    stopped, and what was good is returned. A stochastic bath (`Langevin`, `NPT`) takes the drift of too large a step away:
    where the mean temperature then stays off the bath's, a `JaxnmrWarning` says so at the end. Random numbers follow from
    seed and step, so a run that was interrupted and resumed from its checkpoint ends as it would have (on a CPU to the last
    bit).

    Args:
        surface: with masses, or species.
        positions: Å, (atom, dimension), or (replica, atom, dimension); left out with `resume`.
        method: `NVE()` unless given, `Langevin`, `NoseHoover` or `NPT`; its numbers may be arrays, one for each replica.
        steps: in all, a multiple of `every`; with `resume` those before are counted, and fewer than those are refused.
        dt: time step, fs; about a tenth of the shortest period: 0.5 with hydrogen, 2 without.
        temperature: of the first velocities, K, one or one for each replica; the method's unless given, at rest if it has
            none.
        velocities: the first ones, Å/fs, instead; what moves the whole is taken off them where `centred`.
        seed: of first velocities and noise.
        every: steps between samples of energies and of what is observed.
        observe: a function of `MDState`, or `Observable` for what is kept of it.
        trajectory: .xyz, .extxyz, .h5 or .hdf5; a file of that name is replaced, or, with `resume`, gone on with. With
            replicas "name-0.xyz", ...
        frame_every: steps between frames, a multiple of `every`; 10 `every` unless given. Frames are at its multiples,
            wherever a run was stopped and resumed.
        checkpoint: an .npz file to keep, renewed after each block.
        resume: a checkpoint to go on from; the other arguments are those of the first run, `steps` may be more. Under
            another name of the trajectory the rest of it is written there.
        centred: keep the total momentum at zero; by default where nothing holds the atoms (three dimensions, none
            fixed, and without a cell a shift of the whole costs no energy; see `rigid` of `vibrations`).
        max_temperature: stop above it, K; by default where an equilibrium of this size never comes (3 + 60/N_f times).
        max_drift: stop where the energy that should be conserved has changed by more than so many kT for each degree of
            freedom (NVE and Nosé-Hoover; other baths take the drift away, see `MDResult.drift`).
        block_steps: about how many steps a block has.
        units: of the surface; `REDUCED` for one without units.
        progress: called after each block with steps made, steps in all, and the temperature.
        throw: raise where the run was stopped.

    Raises:
        ValueError: arguments that cannot be meant; a checkpoint of another run, or of another surface.
        MotionError: stopped; `result` holds the run as far as it is good.
    """
    surface = as_surface(surface)
    method = NVE() if method is None else method
    if not isinstance(method, NVE | Langevin | NoseHoover | NPT):
        raise ValueError(f"method: got {type(method).__name__}; give NVE(), Langevin, NoseHoover or NPT.")
    _check_times(steps, dt, every, frame_every, block_steps, max_drift)
    ratio = 10 if frame_every is None else frame_every // every
    if (positions is None) == (resume is None):
        raise ValueError("positions: give either first positions or a checkpoint to resume.")
    if isinstance(method, NPT):
        surface.check_free_cell("method: NPT moves a cell", "take a method that holds the cell, such as Langevin")
    saved = None if resume is None else load(resume)
    r = surface.check(saved.positions if saved is not None else positions)
    if r.ndim > 3:
        raise ValueError(f"positions: got shape {r.shape}; give (atom, dimension) or (replica, atom, dimension).")
    batched = r.ndim == 3
    if trajectory is not None:
        _check_frames(steps, ratio * every, r)
    if temperature is not None and not (np.isfinite(np.asarray(temperature)).all() and np.asarray(temperature).min() > 0):
        raise ValueError(f"temperature: got {temperature}; give one > 0, in K, or leave it out to start at rest.")
    system = System.of(surface, r, units, centred, isinstance(method, NPT))
    watched = observe if isinstance(observe, Observable) or observe is None else Observable(observe)
    settings: dict[str, Any] = dict(dt=dt, every=every, seed=seed, shape=list(r.shape))
    settings = settings_of(method, system, settings | ({} if trajectory is None else dict(frame_every=ratio * every)))
    method = _as_arrays(method, r)

    grown = [] if saved is None else saved.grown
    neighbors = surface.neighbors
    for at, cell in grown:
        neighbors = neighbors.grow(at, cell)
    step = jnp.asarray(dt, r.dtype)
    while True:
        cell = None if saved is None else saved.cell
        state = first_state(system, method, r, spread(neighbors, r), seed, temperature, velocities, cell)
        if neighbors is None or saved is not None or not np.asarray(state.neighbors.overflowed).any():
            break
        grown, neighbors = _grown(grown, neighbors, state)
    sums, first, series = None, start(system, method, state), Series()
    if watched is not None:
        like = eqx.filter_eval_shape(lambda s: _values(watched, s, batched), state)
        sums = Sums.empty(jnp.zeros(like.shape, like.dtype), watched.lags, watched.covariance)
    if saved is not None:
        state, sums, first, series = saved.restored((state, sums, first), settings, surface)
        made = int(np.max(np.asarray(state.step)))
        if steps < made:
            raise ValueError(f"steps: got {steps}, in all; {saved.path} was written after {made}, give at least that.")
    limit = _hottest(max_temperature, method, system, temperature)
    drift = max_drift if isinstance(method, NVE | NoseHoover) else np.inf
    limits = Limits(jnp.asarray(limit, r.dtype), jnp.asarray(drift, r.dtype))

    capacity = ratio * max(1, block_steps // (every * ratio))
    done, total = int(np.max(np.asarray(state.step))) // every, steps // every
    code, codes, growths = 0, np.zeros(()), 0
    writers = _writers(trajectory, surface, r, ratio * every * dt, None if saved is None else done // ratio)
    while done < total and not code:
        # Blocks end with a frame, so that each begins with none half made but the first of a resumed run.
        phase = done % ratio
        count = jnp.asarray(min(capacity - phase, total - done), jnp.int32)
        turn, frames = jnp.asarray(phase, jnp.int32), bool(writers)
        ran = block(
            system, method, watched, state, sums, first, limits, step, count, turn, every, capacity, ratio, batched, frames
        )
        codes = np.asarray(ran.code)
        code = int(codes.max())
        if code == Ending.OVERFLOW and growths < _GROWTHS:
            try:
                grown, neighbors = _grown(grown, neighbors, ran.state)
            except ValueError:  # atoms in one place: nothing that a longer list would mend
                code = int(Ending.NOT_FINITE)
                break
            fresh, growths = spread(neighbors, r), growths + 1
            state, code = eqx.tree_at(lambda s: s.neighbors, state, fresh), 0
            continue
        made = int(ran.made)
        series = series.extended(ran, made)
        whole = (phase + made) // ratio
        _write(writers, ran, whole, (done - phase + ratio * (1 + np.arange(whole))) * every * dt)
        state, sums, first, done, growths = ran.state, ran.sums, ran.first, done + made, 0
        if checkpoint is not None and not code:
            save(checkpoint, (state, sums, first), series, grown, settings)
        if progress is not None and len(series.kinetic):
            progress(done * every, steps, float(np.mean(system.temperature(series.kinetic[-1]))))
    result = result_of(system, state, series, sums, watched, code, dt * every, batched, method)
    if code and throw:
        raise MotionError(advice(result, dt, int(codes.argmax()) if batched else None), result)
    if not code and isinstance(method, Langevin | NPT):
        check_temperature(result, method, dt)
    return result


def _as_arrays(method: Method, r: Array) -> Method:
    """Numbers as arrays, one for each replica if there are any, so that another temperature is no other program.

    Raises:
        ValueError: arrays of another shape.
    """

    def number(x: Any, name: str) -> Array:
        x = jnp.asarray(x, r.dtype)
        check_per_replica(f"{type(method).__name__}.{name}", x, r)
        return jnp.broadcast_to(x, r.shape[:-2])

    return jax.tree_util.tree_map_with_path(lambda path, x: number(x, path[-1].name), method)


def _values(watched: Observable, state: MDState, batched: bool) -> Array:
    return eqx.filter_vmap(watched.flat)(state) if batched else watched.flat(state)


def _grown(grown: list[Any], neighbors: Any, state: MDState) -> tuple[list[Any], Any]:
    """A longer list, and how to make it again when the run is resumed."""
    over = np.atleast_1d(np.asarray(state.neighbors.overflowed))
    at, cell = np.asarray(state.positions), None if state.cell is None else np.asarray(state.cell)
    if at.ndim == 3:
        k = int(np.argmax(over))
        at, cell = at[k], None if cell is None else cell[k]
    return [*grown, (at, cell)], neighbors.grow(at, cell)


def _hottest(given: float | None, method: Method, system: System, temperature: Any) -> Any:
    if given is not None:
        if not given > 0:
            raise ValueError(f"max_temperature: got {given}; give one > 0, in K.")
        return given
    if method.target is None:
        return np.inf
    warmest = np.asarray(method.target, np.float64)
    if temperature is not None:
        warmest = np.maximum(warmest, np.asarray(temperature, np.float64))
    # The chi-squared distribution of one to a few degrees of freedom stays below it for 10^12 samples.
    return warmest * (3 + 60 / float(system.dof))


def _check_times(steps: int, dt: float, every: int, frame_every: int | None, block_steps: int, max_drift: float) -> None:
    if not (np.isfinite(dt) and dt > 0):
        raise ValueError(f"dt: got {dt}; give a time step > 0, in fs.")
    for name, value in (("steps", steps), ("every", every), ("block_steps", block_steps)):
        if value < 1:
            raise ValueError(f"{name}: got {value}; give at least 1.")
    if steps % every:
        raise ValueError(f"steps: {steps} is no multiple of every, {every}; give {-(-steps // every) * every}.")
    if frame_every is not None and (frame_every < every or frame_every % every):
        raise ValueError(f"frame_every: got {frame_every}; give a multiple of every, {every}.")
    if not max_drift > 0:
        raise ValueError(f"max_drift: got {max_drift}; give a limit > 0, in kT for each degree of freedom.")


def _check_frames(steps: int, frame_every: int, r: Array) -> None:
    if r.shape[-1] != 3:
        raise ValueError(f"trajectory: files hold positions in space, got dimension {r.shape[-1]}; leave it out.")
    if steps < frame_every:
        raise ValueError(
            f"frame_every: a run of {steps} steps ends before its first frame, after {frame_every}; give {steps} at most, "
            "or more steps. The trajectory was not touched."
        )


def _writers(trajectory: Any, surface: Surface, r: Array, spacing: float, keep: int | None) -> list[TrajectoryWriter]:
    if trajectory is None:
        return []
    name = os.fspath(trajectory)
    stem, suffix = os.path.splitext(name)
    names = [name] if r.ndim == 2 else [f"{stem}-{k}{suffix}" for k in range(len(r))]
    pbc = None if surface.cell is None else surface.periodic
    return [TrajectoryWriter(each, surface.species, pbc, spacing, keep) for each in names]


def _write(writers: list[TrajectoryWriter], ran: Any, count: int, times: np.ndarray) -> None:
    if not writers or not count:
        return
    parts = [np.asarray(part[:count]) for part in ran.frames if part is not None]
    energy, positions, velocities = parts[:3]
    cell = parts[3] if len(parts) > 3 else None
    for k, writer in enumerate(writers):
        one = (lambda x: x) if energy.ndim == 1 else (lambda x, k=k: x[:, k])
        writer.append(Frames(times, one(energy), one(positions), one(velocities), None if cell is None else one(cell)))
