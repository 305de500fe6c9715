"""Minima: positions, or positions and cell, of one structure or of many at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnmr.compiling import exact_products
from jaxnmr.dynamics._implicit import settled, underivable
from jaxnmr.dynamics._optimisers import LBFGS, Optimiser, largest
from jaxnmr.dynamics._parts import Progress, in_parts
from jaxnmr.dynamics._status import CONVERGED, MAX_STEPS, NOT_FINITE, OVERFLOW, SearchError, Status, explain, status_of
from jaxnmr.dynamics._surface import EnergyFunction, Surface, as_surface
from jaxnmr.errors import is_concrete

__all__ = ["Minimum", "descended", "minimise"]


class Minimum(eqx.Module):
    """Where a minimisation ended; with a leading axis for several structures.

    Attributes:
        positions: Å, (atom, dimension).
        cell: Å, (3, 3), or None.
        energy: eV.
        enthalpy: E + pV, eV; the energy where the cell was fixed.
        forces: eV/Å, zero for fixed atoms.
        max_force: largest norm of a force, eV/Å.
        max_stress: largest element of the stress less the pressure's, eV/Å³: how far the cell is from equilibrium at that
            pressure; zero where the cell was fixed.
        evaluations: of energy and forces.
        code: a `Status`, as a number.
        neighbors: as they were at the end.
    """

    positions: Float[Array, "*batch atom dim"]
    cell: Any
    energy: Float[Array, "*batch"]
    enthalpy: Float[Array, "*batch"]
    forces: Float[Array, "*batch atom dim"]
    max_force: Float[Array, "*batch"]
    max_stress: Float[Array, "*batch"]
    evaluations: Int[Array, "*batch"]
    code: Int[Array, "*batch"]
    neighbors: Any

    @property
    def converged(self) -> Array:
        """Whether the largest force is as small as was asked for."""
        return self.code == CONVERGED

    @property
    def status(self) -> Status:
        """How the worst of them ended."""
        return status_of(self.code)


def minimise(
    surface: Surface | EnergyFunction,
    positions: Any,
    *,
    optimiser: Optimiser | None = None,
    max_force: float = 1e-3,
    max_stress: float | None = None,
    pressure: float = 0.0,
    max_steps: int = 1000,
    throw: bool = True,
    progress: Progress | None = None,
) -> Minimum:
    r"""Go downhill to a minimum of the energy, or of the enthalpy $E + pV$ where the cell moves too.

    Structures of one batch share the surface and its cell, are computed side by side, and stop one by one. The whole
    search runs under jit; a neighbour list that becomes too short is grown and the search taken up again from where it
    was. Positions and energies of minima have derivatives in the surface's parameters (see `stationary`) where the cell
    is fixed; to differentiate a search of a free cell is refused.

    Args:
        surface: a `Surface`, or an energy function of positions.
        positions: Å, (atom, dimension), or (structure, atom, dimension) for several.
        optimiser: `LBFGS()` unless given, or `FIRE()`.
        max_force: goal for the largest norm of a force, eV/Å.
        max_stress: goal for the largest element of the stress less the pressure's, eV/Å³ (0.0006 is about 0.1 GPa); None
            holds the cell.
        pressure: p, eV/Å³; needs `max_stress`.
        max_steps: evaluations of the forces.
        throw: raise where a search did not converge.
        progress: called every few evaluations with evaluations made, `max_steps`, and the largest force, eV/Å; of the
            stress of a cell that moves nothing is told.

    Raises:
        ValueError: shapes that do not fit, goals that are not positive, a free cell where there is none, where the energy
            does not depend on it, where it ends in a vacuum or atoms are fixed.
        SearchError: not converged; the message says why and what would do.
    """
    surface = as_surface(surface)
    positions = surface.check(positions)
    optimiser = LBFGS() if optimiser is None else optimiser
    if not max_force > 0:
        raise ValueError(f"max_force: got {max_force}; give a goal > 0, in eV/Å.")
    if max_stress is None and pressure != 0:
        raise ValueError(f"pressure: got {pressure} with a fixed cell; give max_stress as well, such as 1e-4 eV/Å³.")
    if max_stress is not None:
        surface.check_free_cell("max_stress: moves the cell", "leave max_stress out")
        if not max_stress > 0:
            raise ValueError(f"max_stress: got {max_stress}; give a goal > 0, in eV/Å³, or None for a fixed cell.")
    batch, start = positions.shape[:-2], jax.lax.stop_gradient(positions)
    start = start.reshape(-1, *positions.shape[-2:])
    neighbors = surface.neighbors
    goals = (jnp.asarray(max_force, start.dtype), jnp.asarray(max_stress or 1.0, start.dtype), pressure)
    cells = None if max_stress is None else jnp.broadcast_to(jnp.asarray(surface.cell, start.dtype), (len(start), 3, 3))
    used = jnp.zeros(len(start), jnp.int32)
    while True:
        before = int(jnp.max(used)) if is_concrete(used) else 0
        result = _many(surface.frozen(), neighbors, start, cells, optimiser, goals, max_steps, progress, before)
        used = used + result.evaluations
        if neighbors is None or not is_concrete(result.code) or not (np.asarray(result.code) == OVERFLOW).any():
            break
        at = int(np.argmax(np.asarray(result.code) == OVERFLOW))
        grown = result.positions[at], None if result.cell is None else result.cell[at]
        start, cells = result.positions, None if cells is None else result.cell
        neighbors = neighbors.grow(*grown)
        if int(used.max()) >= max_steps:
            break
    result = eqx.tree_at(lambda r: r.evaluations, result, used)
    result = jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]) if eqx.is_array(x) else x, result)
    if throw and is_concrete(result.code) and result.status is not Status.CONVERGED:
        raise SearchError(explain("minimise", result.code, result.max_force), result)
    if cells is not None:
        advice = "minimise, then differentiate minimise in that cell held fixed."
        return underivable(surface, result, f"minimise: has no derivatives where the cell moves; {advice}")
    live = settled(surface, result.neighbors, result.positions, result.energy)
    return eqx.tree_at(lambda r: (r.positions, r.energy), result, live)


def _many(
    surface: Surface,
    neighbors: Any,
    start: Array,
    cells: Any,
    optimiser: Optimiser,
    goals: Any,
    max_steps: int,
    progress: Progress | None,
    before: int,
) -> Minimum:
    def advance(carry: Any, limit: Any) -> tuple[Any, Minimum, Any]:
        return _advanced(surface, neighbors, cells, carry, optimiser, goals, jnp.asarray(limit, jnp.int32))

    carry = _begun(surface, neighbors, start, cells, optimiser, goals)
    return in_parts(advance, carry, max_steps - before, progress, before)


@eqx.filter_jit
def _begun(surface: Surface, neighbors: Any, start: Array, cells: Any, optimiser: Optimiser, goals: Any) -> Any:
    one = lambda r, h: _at_start(surface, neighbors, r, h, optimiser, goals)  # noqa: E731
    return eqx.filter_vmap(one, in_axes=(0, None if cells is None else 0))(start, cells)


@eqx.filter_jit
@exact_products
def _advanced(
    surface: Surface, neighbors: Any, cells: Any, carry: Any, optimiser: Optimiser, goals: Any, limit: Array
) -> tuple[Any, Minimum, Any]:
    """The searches after `limit` evaluations or at their ends, and how far they have come."""
    one = lambda c, h: _one(surface, neighbors, c, h, optimiser, goals, limit)  # noqa: E731
    carry, found = eqx.filter_vmap(one, in_axes=(0, None if cells is None else 0))(carry, cells)
    return carry, found, (jnp.all(found.code != MAX_STEPS), jnp.max(found.evaluations), jnp.nanmax(found.max_force))


class _Way(NamedTuple):
    """What is minimised, in which coordinates: largest force, largest stress and the pressure are the goals.

    Coordinates of a free cell are u and D with F = 1 + D / n, r = u F, h = h0 F: both parts then are about as stiff.
    """

    surface: Surface
    n: int
    reference: Any
    goals: Any

    def deformation(self, x: Array) -> Array:
        return jnp.eye(3, dtype=x.dtype) + (x[self.n :] + x[self.n :].T) / (2 * self.n)

    def unpacked(self, x: Array) -> tuple[Array, Any]:
        if self.reference is None:
            return x, None
        return x[: self.n] @ self.deformation(x), self.reference @ self.deformation(x)

    def enthalpy(self, x: Array, around: Any) -> Array:
        r, h = self.unpacked(x)
        energy = self.surface.energy(r, h, around)
        return energy if h is None else energy + self.goals[2] * jnp.abs(jnp.linalg.det(h))

    def evaluated(self, x: Array, around: Any) -> tuple[Array, Array, Any]:
        around = self.surface.renew(around, *self.unpacked(x))
        energy, gradient = jax.value_and_grad(self.enthalpy)(x, around)
        free = self.surface.free(x[: self.n])
        if self.reference is not None:
            free = jnp.concatenate([free, jnp.ones((3, 3), x.dtype)])
        return energy, gradient * free, around

    def residual(self, x: Array, gradient: Array) -> tuple[Array, Array]:
        """Largest force and largest element of the stress."""
        if self.reference is None:
            return largest(gradient), jnp.zeros((), x.dtype)
        deformation = self.deformation(x)
        stress = self.n * deformation @ gradient[self.n :] / jnp.abs(jnp.linalg.det(self.unpacked(x)[1]))
        return largest(gradient[: self.n] @ jnp.linalg.inv(deformation)), jnp.max(jnp.abs(stress))

    def ended(self, x: Array, energy: Array, gradient: Array, around: Any) -> Array:
        (force, stress), (max_force, max_stress, _) = self.residual(x, gradient), self.goals
        finite = jnp.isfinite(energy) & jnp.isfinite(force)
        code = jnp.where((force <= max_force) & (stress <= max_stress), CONVERGED, MAX_STEPS)
        code = jnp.where(finite, code, NOT_FINITE)
        code = code if around is None else jnp.where(around.overflowed, OVERFLOW, code)
        return code.astype(jnp.int32)


def descended(surface: Surface, neighbors: Any, start: Array, optimiser: Optimiser, goals: Any, max_steps: Any) -> Minimum:
    """One search in a fixed cell, as part of a larger program; goals are as in `_Way`."""
    carry = _at_start(surface, neighbors, start, None, optimiser, goals)
    return _one(surface, neighbors, carry, None, optimiser, goals, max_steps)[1]


def _at_start(surface: Surface, neighbors: Any, start: Array, reference: Any, optimiser: Optimiser, goals: Any) -> Any:
    """What a search carries, before the first evaluation."""
    way = _Way(surface, len(start), reference, goals)
    x = start if reference is None else jnp.concatenate([start, jnp.zeros((3, 3), start.dtype)])
    arrays, _ = surface.carried(neighbors, *way.unpacked(x))
    zero, code = jnp.zeros((), jnp.int32), jnp.asarray(MAX_STEPS, jnp.int32)
    energy = jnp.zeros_like(jax.eval_shape(way.enthalpy, x, neighbors))
    return zero, x, energy, jnp.zeros_like(x), optimiser.start(x), arrays, code


def _one(
    surface: Surface, neighbors: Any, carry: Any, reference: Any, optimiser: Optimiser, goals: Any, limit: Any
) -> tuple[Any, Minimum]:
    n = len(carry[1]) - (0 if reference is None else 3)
    way = _Way(surface, n, reference, goals)
    _, static = surface.carried(neighbors, *way.unpacked(carry[1]))

    def step(carry: Any) -> Any:
        count, x, energy, gradient, state, around, _ = carry
        around = eqx.combine(around, static)
        # The first evaluation is a step of no length: the energy is in the program once, and less is compiled.
        first = count == 0
        move = jnp.where(first, 0.0, optimiser.step(state, gradient))
        new_energy, new_gradient, new_around = way.evaluated(x + move, around)
        finite = jnp.isfinite(new_energy) & jnp.isfinite(largest(new_gradient))
        # The energy's own rounding must not forbid the last steps, in which only the forces still get smaller.
        rounding = 50 * jnp.finfo(x.dtype).eps * jnp.maximum(jnp.abs(energy), 1.0)
        better = (new_energy <= energy) | ((new_energy <= energy + rounding) & (largest(new_gradient) < largest(gradient)))
        accepted = first | (finite & (better | (not isinstance(optimiser, LBFGS))))
        change = jnp.where(finite, new_gradient - gradient, 0.0)
        learnt: Any = optimiser.learn(state, move, gradient, change, accepted)
        state = jax.tree.map(lambda old, new: jnp.where(first, old, new), state, learnt)
        keep = lambda new, old: jnp.where(accepted, new, old)  # noqa: E731
        x, energy, gradient = keep(x + move, x), keep(new_energy, energy), keep(new_gradient, gradient)
        code = way.ended(x, energy, gradient, new_around)
        return count + 1, x, energy, gradient, state, eqx.filter(new_around, eqx.is_array), code

    carry = jax.lax.while_loop(lambda c: (c[-1] == MAX_STEPS) & ((c[0] == 0) | (c[0] < limit)), step, carry)
    count, x, energy, gradient, _, arrays, code = carry
    force, stress = way.residual(x, gradient)
    r, h = way.unpacked(x)
    forces, lowest = -gradient[:n], energy
    if h is not None:
        # From derivatives in u to those in r = u F; F is symmetric.
        forces = jnp.linalg.solve(way.deformation(x), forces.T).T
        lowest = energy - goals[2] * jnp.abs(jnp.linalg.det(h))
    cell = h if h is not None else None if surface.cell is None else jnp.asarray(surface.cell, x.dtype)
    return carry, Minimum(r, cell, lowest, energy, forces, force, stress, count, code, eqx.combine(arrays, static))
