"""The search for paths of minimum energy: several bands side by side, every image of every band in one evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnmr.compiling import exact_products
from jaxnmr.dynamics._band import Spring, String, band_gradient, respaced, tangents
from jaxnmr.dynamics._optimisers import LBFGS, Optimiser, largest
from jaxnmr.dynamics._parts import BAND_PART, Progress, in_parts
from jaxnmr.dynamics._rigid import Rigid, rigid_motions, rigid_projector
from jaxnmr.dynamics._status import CONVERGED, MAX_STEPS, NOT_FINITE, OVERFLOW, Status, status_of
from jaxnmr.dynamics._surface import Surface
from jaxnmr.errors import is_concrete, missing_extra

__all__ = ["Path", "at_ends", "lowest_of", "relaxed"]

# Half as strong again is usual on the way; bands that go astray double it from step to step.
_STRONGER = 1.5


class Path(eqx.Module):
    """A path of minimum energy between two minima.

    Attributes:
        positions: images with both ends, Å, (image, atom, dimension).
        energies: eV, (image,).
        forces: of the inner images without the springs and across the path (the climbing image's along it reversed), eV/Å.
        max_force: largest norm of these, eV/Å.
        climbing: whether the highest image climbed.
        evaluations: of energy and forces, images counted one by one, ends included.
        steps: of the band.
        code: a `Status`, as a number.
        order: how atoms of the end were renamed, see `match_endpoints`; None where they were not.
        neighbors: of each image as they were at the end; those of both ends as they were given.
    """

    positions: Float[Array, "image atom dim"]
    energies: Float[Array, " image"]
    forces: Float[Array, "inner atom dim"]
    max_force: Float[Array, ""]
    climbing: Array
    evaluations: Int[Array, ""]
    steps: Int[Array, ""]
    code: Int[Array, ""]
    order: np.ndarray | None
    neighbors: Any

    @property
    def status(self) -> Status:
        """How the search ended."""
        return status_of(self.code)

    @property
    def converged(self) -> Array:
        """Whether the largest force is as small as was asked for."""
        return self.code == CONVERGED

    @property
    def barrier(self) -> Float[Array, ""]:
        """Highest energy above the start, eV."""
        return jnp.max(self.energies) - self.energies[0]

    @property
    def back_barrier(self) -> Float[Array, ""]:
        """Highest energy above the end, eV."""
        return jnp.max(self.energies) - self.energies[-1]

    @property
    def top(self) -> Float[Array, "atom dim"]:
        """The highest inner image, Å: where `dimer` starts."""
        return self.positions[jnp.argmax(self.energies[1:-1]) + 1]

    @property
    def tangent(self) -> Float[Array, "atom dim"]:
        """Unit tangent at the highest inner image: a direction for `dimer`."""
        return tangents(self.positions, self.energies)[jnp.argmax(self.energies[1:-1])]

    @property
    def arc(self) -> Float[Array, " image"]:
        """Length along the path, Å."""
        gaps = jnp.sqrt(jnp.sum((self.positions[1:] - self.positions[:-1]) ** 2, axis=(1, 2)))
        return jnp.concatenate([jnp.zeros(1, gaps.dtype), jnp.cumsum(gaps)])

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Energy along the path, as a figure of matplotlib.

        Args:
            path: a file to save it in.

        Raises:
            ImportError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise missing_extra("matplotlib", "plot") from None
        figure = Figure(figsize=(5, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(np.asarray(self.arc), np.asarray(self.energies - self.energies[0]), "o-")
        axes.set(xlabel="path length / Å", ylabel="energy / eV")
        if path is not None:
            figure.savefig(path)
        return figure


def at_ends(surface: Surface, ends: Array) -> tuple[Array, Array]:
    """Energies of both ends of each band, and their largest forces."""
    neighbors = surface.neighbors
    while True:
        energies, forces, full = _at_ends(surface, neighbors, ends)
        if neighbors is None or not is_concrete(full) or not full.any():
            return energies, forces
        neighbors = neighbors.grow(ends.reshape(-1, *ends.shape[2:])[int(jnp.argmax(full.ravel()))], surface.cell)


@eqx.filter_jit
@exact_products
def _at_ends(surface: Surface, neighbors: Any, ends: Array) -> tuple[Array, Array, Array]:
    def one(position: Array) -> tuple[Array, Array, Array]:
        around = surface.renew(neighbors, position)
        energy, gradient = surface.value_and_gradient(position, around)
        return energy, largest(gradient), jnp.asarray(False) if around is None else around.overflowed

    return jax.vmap(jax.vmap(one))(ends)


def relaxed(
    surface: Surface,
    neighbors: Any,
    bands: Array,
    ends: Array,
    method: Spring | String,
    optimiser: Optimiser,
    goals: tuple[Array, Array],
    max_steps: Any,
    climb: bool,
    kind: Rigid,
    progress: Progress | None = None,
    before: int = 0,
) -> Path:
    """Bands (band, image, atom, dimension) side by side, each until it is converged, out of steps, or beaten by another.

    Who listens hears of the best band, as `lowest_of` chooses it; `before` are steps made before.
    """
    carry = _begun(surface, neighbors, bands, ends, optimiser)

    def advance(carry: Any, limit: Any) -> tuple[Any, Path, Any]:
        return _advanced(surface, neighbors, carry, method, optimiser, goals, jnp.asarray(limit, jnp.int32), climb, kind)

    return in_parts(advance, carry, max_steps, progress, before, BAND_PART)


@eqx.filter_jit
def _begun(surface: Surface, neighbors: Any, bands: Array, ends: Array, optimiser: Optimiser) -> Any:
    """What the search carries, before the first evaluation."""
    count, images = bands.shape[:2]
    arrays, _ = surface.carried(neighbors, bands[0, 0])
    arrays = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, images, *x.shape)), arrays)
    inner, zero = jnp.zeros_like(bands[:, 1:-1]), jnp.zeros(count, jnp.int32)
    energies = jnp.zeros((count, images), ends.dtype).at[:, jnp.asarray([0, -1])].set(ends)
    state = jax.vmap(optimiser.start)(inner)
    return zero, bands, energies, inner, inner, inner, zero > 0, state, arrays, zero + MAX_STEPS


@eqx.filter_jit
@exact_products
def _advanced(
    surface: Surface,
    neighbors: Any,
    carry: Any,
    method: Spring | String,
    optimiser: Optimiser,
    goals: tuple[Array, Array],
    limit: Array,
    climb: bool,
    kind: Rigid,
) -> tuple[Any, Path, Any]:
    """The search after `limit` steps or at its end, the bands as they are then, and how far it has come."""
    images = carry[1].shape[1]
    _, static = surface.carried(neighbors, carry[1][0, 0])
    step = jax.vmap(_stepper(surface, static, method, optimiser, goals, climb, kind))

    def unfinished(carry: Any) -> Array:
        count, energies, code = carry[0], carry[2], carry[-1]
        return (code == MAX_STEPS) & ~_beaten(count, energies, code)

    def active(carry: Any) -> Array:
        # Evaluations of the inner images are one more than the band's steps.
        return unfinished(carry) & (carry[0] <= limit)

    def onward(carry: Any) -> Any:
        on = active(carry)
        keep = lambda old, new: jnp.where(on.reshape(-1, *(1,) * (new.ndim - 1)), new, old)  # noqa: E731
        return jax.tree.map(keep, carry, step(carry))

    carry = jax.lax.while_loop(lambda carry: jnp.any(active(carry)), onward, carry)
    made, path, energies, _, _, across, climbing, _, arrays, code = carry

    def ended(made: Array, path: Array, energies: Array, across: Array, climbing: Array, code: Array, arrays: Any) -> Path:
        used, around = 2 + made * (images - 2), eqx.combine(arrays, static)
        return Path(path, energies, -across, largest(across), climbing, used, made - 1, code, None, around)

    found = eqx.filter_vmap(ended)(made, path, energies, across, climbing, code, arrays)
    best = lowest_of(found.energies, found.code)
    return carry, found, (~jnp.any(unfinished(carry)), jnp.max(found.steps), found.max_force[best])


def _beaten(steps: Array, energies: Array, code: Array) -> Array:
    """Bands that lie clearly above a converged one after more than twice its steps: not worth following to the end.

    On the way a band comes down by little once it has found its channel; a tenth of the barrier is far above what is left.
    """
    tops, done = jnp.max(energies, axis=1), code == CONVERGED
    best = jnp.argmin(jnp.where(done, tops, jnp.inf))
    barrier = tops[best] - jnp.minimum(energies[best, 0], energies[best, -1])
    late, above = steps > 2 * steps[best] + 10, tops > tops[best] + 0.1 * barrier
    return done[best] & ~done & late & above


def lowest_of(energies: Array, code: Array) -> Int[Array, ""]:
    """Which of several bands has the lowest top: among those that converged, else among those that are finite."""
    tops = jnp.max(energies, axis=1)
    ended = jnp.where(code == CONVERGED, tops, jnp.inf)
    finite = jnp.where((code == NOT_FINITE) | ~jnp.isfinite(tops), jnp.inf, tops)
    return jnp.argmin(jnp.where(jnp.any(code == CONVERGED), ended, finite))


def _stepper(
    surface: Surface,
    static: Any,
    method: Spring | String,
    optimiser: Optimiser,
    goals: tuple[Array, Array],
    climb: bool,
    kind: Rigid,
) -> Callable[[Any], Any]:
    """One step of one band, from and to what the search carries."""
    max_force, below = goals

    def each(position: Array, arrays: Any) -> tuple[Array, Array, Any]:
        around = surface.renew(eqx.combine(arrays, static), position)
        energy, gradient = surface.value_and_gradient(position, around)
        return energy, gradient, eqx.filter(around, eqx.is_array)

    def evaluate(path: Array, arrays: Any) -> tuple[Array, Array, Any]:
        """The inner images; the ends' lists are left alone."""
        inner = jax.tree.map(lambda x: x[1:-1], arrays)
        energies, gradients, inner = jax.vmap(each)(path[1:-1], inner)
        arrays = jax.tree.map(lambda whole, part: whole.at[1:-1].set(part), arrays, inner)
        return energies, gradients, arrays

    def still(r: Array, v: Array) -> Array:
        projector, _ = rigid_projector(rigid_motions(r, jnp.ones(len(r), r.dtype), kind))
        return v - (projector.astype(v.dtype) @ v.ravel()).reshape(v.shape)

    def forces(path: Array, energies: Array, gradients: Array, climbing: Array) -> tuple[Array, Array]:
        return band_gradient(path, energies, gradients, method, climbing, None if kind == "none" else still)

    def ended(energies: Array, across: Array, arrays: Any, climbing: Array) -> Array:
        force = largest(across)
        done = (force <= max_force) & (climbing | (not climb))
        code = jnp.where(done, CONVERGED, MAX_STEPS)
        code = jnp.where(jnp.isfinite(force) & jnp.isfinite(energies).all(), code, NOT_FINITE)
        if static is not None:
            code = jnp.where(eqx.combine(arrays, static).overflowed.any(), OVERFLOW, code)
        return code.astype(jnp.int32)

    def step(carry: Any) -> Any:
        count, path, energies, gradients, field, across, climbing, state, arrays, _ = carry
        # The first evaluation is a step of no length: the energy is in the program once, and less is compiled.
        first = count == 0
        # The climbing image changes the field; what was learnt of it is kept, since most of it is still so.
        begins = (largest(across) <= below) & ~climbing & ~first
        climbing = climbing | begins
        new_field, across = forces(path, energies, gradients, climbing)
        field = jnp.where(begins, new_field, field)
        moved = path.at[1:-1].add(optimiser.step(state, field))
        if isinstance(method, String):
            moved = respaced(moved, energies, climbing)
        moved = jnp.where(first, path, moved)
        new_inner, new_gradients, new_arrays = evaluate(moved, arrays)
        new_energies = energies.at[1:-1].set(new_inner)
        new_field, new_across = forces(moved, new_energies, new_gradients, climbing)
        # There is no energy to go down, but a step after which the field is much stronger was too far: it is taken back.
        strength, new_strength = jnp.sqrt(jnp.sum(field**2)), jnp.sqrt(jnp.sum(new_field**2))
        accepted = first | (new_strength <= _STRONGER * strength) | (not isinstance(optimiser, LBFGS))
        change = jnp.where(jnp.isfinite(new_strength), new_field - field, 0.0)
        learnt: Any = optimiser.learn(state, (moved - path)[1:-1], field, change, accepted)
        state = jax.tree.map(lambda old, new: jnp.where(first, old, new), state, learnt)
        old = (path, energies, gradients, field, across)
        new = (moved, new_energies, new_gradients, new_field, new_across)
        path, energies, gradients, field, across = (jnp.where(accepted, n, o) for n, o in zip(new, old, strict=True))
        code = ended(energies, across, new_arrays, climbing)
        return count + 1, path, energies, gradients, field, across, climbing, state, new_arrays, code

    return step
