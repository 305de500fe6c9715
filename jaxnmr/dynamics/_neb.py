"""Minimum-energy paths between two minima: nudged elastic bands and strings, all images in one evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnmr.dynamics._band import Spring, String
from jaxnmr.dynamics._band_search import Path, at_ends, lowest_of, relaxed
from jaxnmr.dynamics._idpp import closest_pair, idpp, straight
from jaxnmr.dynamics._images import nearest_image
from jaxnmr.dynamics._implicit import at_place
from jaxnmr.dynamics._matching import match_endpoints
from jaxnmr.dynamics._optimisers import LBFGS, Optimiser, largest
from jaxnmr.dynamics._parts import Progress
from jaxnmr.dynamics._rigid import rigid_kind
from jaxnmr.dynamics._status import OVERFLOW, SearchError, Status, explain
from jaxnmr.dynamics._surface import EnergyFunction, Surface, as_surface
from jaxnmr.errors import is_concrete

__all__ = ["neb"]

# Most ways to rename like atoms that are tried one by one, and the least distance, Å, that an atom goes on a way: ends are
# minimised less exactly, and minima that lie nearer to each other are one to a spectrum.
_WAYS, _STILL = 5040, 0.05


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
    progress: Progress | None = None,
) -> Path:
    r"""Path of minimum energy between two minima, with the barrier on it.

    All images are one batched evaluation, and one optimiser moves the whole band. With `match`, like atoms of the end
    are renamed in several ways (`match_endpoints`), all their bands are relaxed side by side, and the lowest that converges
    is kept; one that lies clearly above another that has converged is not followed to its end.

    Energies, and so barriers, have first derivatives in the surface's parameters and cell: those of the energy function at
    the images as they lie. For both ends and the climbing image they are the whole derivative, to first order in the forces
    that are left; other images slide along the path, and positions are constants. For second derivatives, or those of a
    saddle's place, differentiate `dimer` at `path.top`.

    Args:
        surface: a `Surface`, or an energy function of positions.
        start: a minimum, Å, (atom, dimension); or a whole path (image, atom, dimension) with `end` left out.
        end: another minimum, the same atoms in the same order unless `match` is given.
        images: with both ends.
        method: `Spring()` unless given, or `String()`.
        climb: let the highest image climb to the saddle.
        climb_below: largest force at which it begins to, eV/Å; ten times `max_force` unless given.
        max_force: goal for the largest norm of a force across the path, eV/Å.
        max_steps: of the band, in all.
        optimiser: `LBFGS(unexplored="mean")` unless given, or `FIRE()`.
        interpolation: "idpp", "straight", or None: IDPP where there are several atoms in space.
        match: how many ways to rename like atoms, those left out on which no atom moves by 0.05 Å; 0 leaves names as they
            are. Needs species. With a cell, atoms of the end
            are taken at their images nearest to the start in any case, along the vectors that repeat.
        among: atoms that may be renamed.
        end_force: largest force that an end may have, eV/Å; None: do not look. Forces vanish at saddles too, so an end that
            is one passes: `vibrations` tells them apart.
        least_distance: refuse a first path on which two atoms come nearer, Å; 0: do not look.
        rigid: what costs no energy and is kept out of the band's motion, see `vibrations`.
        throw: raise where the band did not converge.
        progress: called every few steps with steps made, `max_steps`, and the largest force, eV/Å, of the band with the
            lowest top, among those that have converged if any has.

    Raises:
        ValueError: ends with different atoms, an end that is no minimum, overlapping atoms on the first path, settings
            out of range.
        SearchError: not converged.

    References:
        Henkelman, Uberuaga, Jónsson, J. Chem. Phys. 113, 9901 (2000); see also `Spring`, `String`, `idpp`.
    """
    live = as_surface(surface)
    surface = live.frozen()
    method, optimiser = Spring() if method is None else method, LBFGS(unexplored="mean") if optimiser is None else optimiser
    if not max_force > 0:
        raise ValueError(f"max_force: got {max_force}; give a goal > 0, in eV/Å.")
    bands, orders = _first_paths(surface, start, end, images, interpolation, match, among)
    bands = jax.lax.stop_gradient(bands)
    ends = at_ends(surface, bands[:, jnp.asarray([0, -1])])
    if end_force is not None and is_concrete(bands):
        _check_ends(np.asarray(ends[1][0]), end_force)
    if least_distance > 0 and bands.shape[-1] == 3 and bands.shape[2] > 1 and is_concrete(bands, surface.cell):
        lattice = None if surface.cell is None else np.asarray(surface.cell)
        for band in bands:
            distance, image, i, j = closest_pair(band, lattice, surface.periodic)
            if distance < least_distance:
                raise ValueError(
                    f"start, end: atoms {i} and {j} come within {distance:.2f} Å of each other in image {image} of the "
                    "first path; use interpolation='idpp', match= (perhaps two like atoms are exchanged), or give a path."
                )
    below = 10 * max_force if climb_below is None else climb_below
    goals = (jnp.asarray(max_force, bands.dtype), jnp.asarray(below if climb else -1.0, bands.dtype))
    neighbors, kind = surface.neighbors, rigid_kind(surface, bands, rigid)
    # Evaluations of the inner images of each band before the list of neighbours was made longer: the first of a search is a
    # step of no length, so one more than its steps.
    made = np.zeros(len(bands), np.int32)
    while True:
        before = int(made.max())
        steps = jnp.asarray(max_steps - before, jnp.int32)
        found = relaxed(surface, neighbors, bands, ends[0], method, optimiser, goals, steps, climb, kind, progress, before)
        code = np.asarray(found.code) if is_concrete(found.code) else None
        if neighbors is None or code is None or not (code == OVERFLOW).any():
            break
        now = made + np.asarray(found.steps) + 1
        if now.max() > max_steps:
            break
        band = int(np.argmax(code == OVERFLOW))
        short = np.asarray(found.neighbors.overflowed)[band]
        # Each from the list as it was, since to grow always lengthens it; the longest row of any image decides.
        grown = [neighbors.grow(image, surface.cell) for image in found.positions[band][short]]
        neighbors, made, bands = max(grown, key=_size), now, found.positions
    inner = bands.shape[1] - 2
    total = (found.steps + made, found.evaluations + made * inner)
    found = eqx.tree_at(lambda p: (p.steps, p.evaluations), found, total)
    best = int(lowest_of(found.energies, found.code)) if len(orders) > 1 else 0
    result = jax.tree.map(lambda x: x[best] if eqx.is_array(x) else x, found)
    if len(orders) > 1:
        result = eqx.tree_at(lambda p: p.evaluations, result, jnp.sum(found.evaluations))
    result = eqx.tree_at(lambda p: p.order, result, orders[best], is_leaf=lambda leaf: leaf is None)
    if throw and is_concrete(result.code) and result.status is not Status.CONVERGED:
        raise SearchError(explain("neb", result.code, result.max_force), result)
    energies = at_place(live, result.neighbors, result.positions, result.energies)
    return eqx.tree_at(lambda p: p.energies, result, energies)


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
        apart = nearest_image(np.asarray(last - first, np.float64), np.asarray(surface.cell), surface.periodic)
        last = first + jnp.asarray(apart, first.dtype)
    if is_concrete(first, last) and float(largest(last - first)) < 1e-3:
        raise ValueError(
            "start, end: are one point (no atom moves by 1e-3 Å); if both were minimised they fell into one minimum: start "
            "them farther apart."
        )
    if match:
        if surface.species is None or not several:
            raise ValueError("match: needs elements in space; make the Surface with species=.")
        ways = match_endpoints(
            first, last, surface.species, surface.cell, among=among, count=_WAYS, screen=_WAYS, pbc=surface.periodic
        )
        # Renamed and turned, the end may be the start itself: a way of no length, whose barrier of zero means nothing.
        moved = [np.linalg.norm(m.positions - np.asarray(first), axis=-1).max() >= _STILL for m in ways]
        found = [m for m, far in zip(ways, moved, strict=True) if far][:match]
        if not found:
            raise ValueError(
                "match: with like atoms renamed the end is the start itself, and there is no other way; give match=0 to "
                "keep the names as they are, or another end."
            )
        ends, orders = [jnp.asarray(m.positions, first.dtype) for m in found], [m.order for m in found]
    else:
        ends, orders = [last], [None]
    bands = [straight(first, e, images) for e in ends]
    if several and interpolation != "straight":
        bands = [idpp(_parted(band), surface.cell, fixed=surface.free(first), pbc=surface.periodic) for band in bands]
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
