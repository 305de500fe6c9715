"""Minimum-energy paths between two minima: nudged elastic bands and strings, all images in one evaluation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnmr.dynamics._band import Spring, String, band_gradient, respaced, tangents
from jaxnmr.dynamics._idpp import closest_pair, idpp, straight
from jaxnmr.dynamics._matching import match_endpoints, nearest_image
from jaxnmr.dynamics._optimisers import LBFGS, Optimiser, largest
from jaxnmr.dynamics._rigid import Rigid, rigid_kind, rigid_motions, rigid_projector
from jaxnmr.dynamics._status import CONVERGED, MAX_STEPS, NOT_FINITE, OVERFLOW, SearchError, Status, explain, status_of
from jaxnmr.dynamics._surface import EnergyFunction, Surface, as_surface
from jaxnmr.errors import is_concrete, missing_extra

__all__ = ["Path", "neb"]

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


def neb(
    surface: Surface | EnergyFunction,
    start: Any,
    end: Any = None,
    *,
    images: int = 9,
    method: Spring | String | None = None,
    climb: bool = True,
    climb_below: float | None = None,
    max_force: float = 0.02,
    max_steps: int = 500,
    optimiser: Optimiser | None = None,
    interpolation: Any = None,
    match: int = 0,
    among: Sequence[int] | None = None,
    end_force: float | None = 0.1,
    least_distance: float = 0.3,
    rigid: str | None = None,
    throw: bool = True,
) -> Path:
    r"""Path of minimum energy between two minima, with the barrier on it.

    All images are one batched evaluation, and one optimiser moves the whole band. With `match`, like atoms of the end
    are renamed in several ways (`match_endpoints`), all their bands are relaxed side by side, and the lowest is kept.

    Args:
        surface: a `Surface`, or an energy function of positions.
        start: a minimum, Å, (atom, dimension); or a whole path (image, atom, dimension) with `end` left out.
        end: another minimum, the same atoms in the same order unless `match` is given.
        images: with both ends.
        method: `Spring()` unless given, or `String()`.
        climb: let the highest image climb to the saddle.
        climb_below: largest force at which it begins to, eV/Å; ten times `max_force` unless given.
        max_force: goal for the largest norm of a force across the path, eV/Å.
        max_steps: of the band.
        optimiser: `LBFGS(unexplored="mean")` unless given, or `FIRE()`.
        interpolation: "idpp", "straight", or None: IDPP where there are several atoms in space.
        match: how many ways to rename like atoms; 0 leaves names and positions as they are. Needs species.
        among: atoms that may be renamed.
        end_force: largest force that an end may have, eV/Å; None: do not look.
        least_distance: refuse a first path on which two atoms come nearer, Å; 0: do not look.
        rigid: what costs no energy and is kept out of the band's motion, see `vibrations`.
        throw: raise where the band did not converge.

    Raises:
        ValueError: ends with different atoms, an end that is no minimum, overlapping atoms on the first path, settings
            out of range.
        SearchError: not converged.

    References:
        Henkelman, Uberuaga, Jónsson, J. Chem. Phys. 113, 9901 (2000); see also `Spring`, `String`, `idpp`.
    """
    surface = as_surface(surface)
    method, optimiser = Spring() if method is None else method, LBFGS(unexplored="mean") if optimiser is None else optimiser
    if not max_force > 0:
        raise ValueError(f"max_force: got {max_force}; give a goal > 0, in eV/Å.")
    bands, orders = _first_paths(surface, start, end, images, interpolation, match, among)
    bands = jax.lax.stop_gradient(bands)
    ends = _ends(surface, bands[:, jnp.asarray([0, -1])])
    if end_force is not None and is_concrete(bands):
        _check_ends(np.asarray(ends[1][0]), end_force)
    if least_distance > 0 and bands.shape[-1] == 3 and bands.shape[2] > 1 and is_concrete(bands):
        lattice = None if surface.cell is None else np.asarray(surface.cell)
        for band in bands:
            distance, image, i, j = closest_pair(band, lattice)
            if distance < least_distance:
                raise ValueError(
                    f"start, end: atoms {i} and {j} come within {distance:.2f} Å of each other in image {image} of the "
                    "first path; use interpolation='idpp', match= (perhaps two like atoms are exchanged), or give a path."
                )
    below = 10 * max_force if climb_below is None else climb_below
    goals = (jnp.asarray(max_force, bands.dtype), jnp.asarray(below if climb else -1.0, bands.dtype))
    neighbors, steps = surface.neighbors, jnp.asarray(max_steps, jnp.int32)
    kind = rigid_kind(surface, bands, rigid)
    used = jnp.zeros((), jnp.int32)
    while True:
        found = _bands(surface, neighbors, bands, ends[0], method, optimiser, goals, steps, climb, kind)
        code = np.asarray(found.code) if is_concrete(found.code) else None
        if neighbors is None or code is None or not (code == OVERFLOW).any() or steps <= 1:
            break
        band = int(np.argmax(code == OVERFLOW))
        for image in found.positions[band]:  # the longest row of any image decides
            grown = neighbors.grow(image, surface.cell)
            if _size(grown) > _size(neighbors):
                neighbors = grown
        used = used + found.evaluations
        bands, steps = found.positions, steps - 1
    found = eqx.tree_at(lambda p: p.evaluations, found, used + found.evaluations)
    best = 0
    if len(orders) > 1:
        ended = jnp.where(found.code == NOT_FINITE, jnp.inf, jnp.max(found.energies, axis=1))
        best = int(jnp.argmin(ended))
    result = jax.tree.map(lambda x: x[best] if eqx.is_array(x) else x, found)
    if len(orders) > 1:
        result = eqx.tree_at(lambda p: p.evaluations, result, jnp.sum(found.evaluations))
    result = eqx.tree_at(lambda p: p.order, result, orders[best], is_leaf=lambda leaf: leaf is None)
    if throw and is_concrete(result.code) and result.status is not Status.CONVERGED:
        raise SearchError(explain("neb", result.code, result.max_force), result)
    return result


def _first_paths(
    surface: Surface, start: Any, end: Any, images: int, interpolation: Any, match: int, among: Sequence[int] | None
) -> tuple[Array, list[Any]]:
    first = surface.check(start, "start")
    if end is None:
        if first.ndim != 3 or len(first) < 3:
            raise ValueError(f"start: got shape {first.shape} without end; give end, or at least three images.")
        return first[None], [None]
    last = surface.check(end, "end").astype(first.dtype)
    if first.shape != last.shape or first.ndim != 2:
        raise ValueError(
            f"start, end: got shapes {first.shape} and {last.shape}; both need the same atoms, (atom, dimension)."
        )
    if images < 3:
        raise ValueError(f"images: got {images}; give at least 3, ends included.")
    if interpolation not in (None, "idpp", "straight"):
        raise ValueError(f"interpolation: got {interpolation!r}; give 'idpp', 'straight' or None.")
    several = first.shape[1] == 3 and first.shape[0] > 1
    if surface.cell is not None and first.shape[1] == 3 and is_concrete(first, last, surface.cell):
        # An atom that was wrapped back into the cell on the way has not moved through it.
        apart = nearest_image(np.asarray(last, np.float64) - np.asarray(first, np.float64), np.asarray(surface.cell))
        last = first + jnp.asarray(apart, first.dtype)
    if is_concrete(first, last) and float(largest(last - first)) < 1e-3:
        raise ValueError(
            "start, end: are one point (no atom moves by 1e-3 Å); if both were minimised they fell into one minimum: start "
            "them farther apart."
        )
    if match:
        if surface.species is None or not several:
            raise ValueError("match: needs elements in space; make the Surface with species=.")
        found = match_endpoints(first, last, surface.species, surface.cell, among=among, count=match)
        ends, orders = [jnp.asarray(m.positions, first.dtype) for m in found], [m.order for m in found]
    else:
        ends, orders = [last], [None]
    bands = [straight(first, e, images) for e in ends]
    if several and interpolation != "straight":
        bands = [idpp(_parted(band), surface.cell, fixed=surface.free(first)) for band in bands]
    return jnp.stack(bands), orders


def _parted(band: Array) -> Array:
    """A straight path with its inner images shaken a little: exactly opposed atoms could not give way to each other."""
    noise = 0.01 * jax.random.normal(jax.random.key(0), band[0].shape, band.dtype)
    still = jnp.sum((band[-1] - band[0]) ** 2, axis=-1, keepdims=True) < 1e-12
    return band.at[1:-1].add(jnp.where(still, 0.0, noise)[None])


def _size(neighbors: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(neighbors, eqx.is_array)))


def _check_ends(forces: np.ndarray, end_force: float) -> None:
    for name, force in zip(("start", "end"), forces, strict=True):
        if not force <= end_force:
            raise ValueError(
                f"{name}: is no minimum, a force is {force:.3g} there (end_force {end_force:g} eV/Å); minimise it first, or "
                "pass end_force=None."
            )


def _ends(surface: Surface, ends: Array) -> tuple[Array, Array]:
    """Energies of both ends of each band, and their largest forces."""
    neighbors = surface.neighbors
    while True:
        energies, forces, full = _at_ends(surface, neighbors, ends)
        if neighbors is None or not is_concrete(full) or not full.any():
            return energies, forces
        neighbors = neighbors.grow(ends.reshape(-1, *ends.shape[2:])[int(jnp.argmax(full.ravel()))], surface.cell)


@eqx.filter_jit
def _at_ends(surface: Surface, neighbors: Any, ends: Array) -> tuple[Array, Array, Array]:
    def one(position: Array) -> tuple[Array, Array, Array]:
        around = surface.renew(neighbors, position)
        energy, gradient = surface.value_and_gradient(position, around)
        return energy, largest(gradient), jnp.asarray(False) if around is None else around.overflowed

    return jax.vmap(jax.vmap(one))(ends)


@eqx.filter_jit
def _bands(
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
) -> Path:
    one = lambda band, ends: _one(surface, neighbors, band, ends, method, optimiser, goals, max_steps, climb, kind)  # noqa: E731
    return eqx.filter_vmap(one)(bands, ends)


def _one(
    surface: Surface,
    neighbors: Any,
    band: Array,
    ends: Array,
    method: Spring | String,
    optimiser: Optimiser,
    goals: tuple[Array, Array],
    max_steps: Any,
    climb: bool,
    kind: Rigid,
) -> Path:
    max_force, below = goals
    arrays, static = surface.carried(neighbors, band[0])
    arrays = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(band), *x.shape)), arrays)

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
        if neighbors is not None:
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

    zero, code = jnp.zeros((), jnp.int32), jnp.asarray(MAX_STEPS, jnp.int32)
    energies = jnp.zeros(len(band), ends.dtype).at[jnp.asarray([0, -1])].set(ends)
    inner = jnp.zeros_like(band[1:-1])
    carry = (zero, band, energies, inner, inner, inner, jnp.asarray(False), optimiser.start(inner), arrays, code)
    # Evaluations of the inner images are one more than the band's steps.
    count, path, energies, _, _, across, climbing, _, arrays, code = jax.lax.while_loop(
        lambda carry: (carry[-1] == MAX_STEPS) & (carry[0] <= max_steps), step, carry
    )
    used = 2 + count * (len(band) - 2)
    around = eqx.combine(arrays, static)
    return Path(path, energies, -across, largest(across), climbing, used, count - 1, code, None, around)
