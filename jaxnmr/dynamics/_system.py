"""What moves: a surface with masses in the motion's units, its degrees of freedom, and its state at one moment."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnmr.dynamics._rigid import rigid_kind
from jaxnmr.dynamics._surface import Surface
from jaxnmr.dynamics._units import Units

__all__ = ["Ending", "MDState", "MotionError", "System", "kinetic_energy"]


class Ending(IntEnum):
    """How a run ended; arrays of results hold the numbers."""

    FINISHED = 0
    OVERFLOW = 1
    DRIFT = 2
    HOT = 3
    NOT_FINITE = 4


class MotionError(RuntimeError):
    """A run was stopped before its end; with `throw=False` it returns what it has, with the same ending.

    Attributes:
        result: the run as far as it is good.
    """

    def __init__(self, message: str, result: object):
        super().__init__(message)
        self.result = result


class MDState(eqx.Module):
    """Everything that the next step follows from; replicas have a leading axis.

    Attributes:
        positions: Å, (atom, dimension); atoms that left the cell are not put back.
        velocities: Å/fs.
        cell: Å, (3, 3), or None.
        energy: potential energy, eV.
        gradient: of it, eV/Å, zero for fixed atoms.
        strain: its derivative in the strain, eV, (3, 3); None where the cell does not move.
        bath: what a method keeps of its own: chains, the cell's velocity.
        heat: energy that a stochastic bath has given so far, eV.
        key: two words that all random numbers follow from.
        step: how many steps have been made.
        neighbors: as the surface has them, renewed.
    """

    positions: Float[Array, "*replica atom dim"]
    velocities: Float[Array, "*replica atom dim"]
    cell: Any
    energy: Float[Array, "*replica"]
    gradient: Float[Array, "*replica atom dim"]
    strain: Any
    bath: Any
    heat: Float[Array, "*replica"]
    key: Array
    step: Int[Array, "*replica"]
    neighbors: Any

    @property
    def forces(self) -> Array:
        """Forces, eV/Å, zero for fixed atoms."""
        return -self.gradient


class System(eqx.Module):
    """A surface and what equations of motion need to know of it; made by `System.of`.

    Attributes:
        surface: without its neighbours, which belong to the state.
        masses: in energy times time² over length², so that acceleration is force over mass; (atom, 1).
        free: 1 for coordinates that move, (atom, dimension).
        dof: how many velocities are independent.
        boltzmann: k_B.
        reference: the cell at first.
        centred: whether the total momentum is kept at zero.
        strained: whether the derivative in the strain is wanted.
    """

    surface: Surface
    masses: Float[Array, "atom 1"]
    free: Float[Array, "atom dim"]
    dof: Float[Array, ""]
    boltzmann: Float[Array, ""]
    reference: Any
    centred: bool = eqx.field(static=True)
    strained: bool = eqx.field(static=True)

    @classmethod
    def of(cls, surface: Surface, positions: Array, units: Units, centred: bool | None, strained: bool) -> System:
        """From a surface with masses.

        Raises:
            ValueError: no masses, or nothing that could move.
        """
        if surface.masses is None:
            raise ValueError(
                "surface: has no masses; give Surface(masses=...) in amu, or species (ones where it has no units)."
            )
        if centred is None:
            centred = rigid_kind(surface, positions, None) != "none"
        if centred and any(surface.fixed or ()):
            raise ValueError("centred: atoms are fixed, so the whole cannot be; leave it out.")
        dtype, free = positions.dtype, surface.free(positions)
        masses = jnp.asarray(surface.masses, dtype)[:, None] / units.clock**2
        dof = int(np.asarray(free).sum()) - (positions.shape[-1] if centred else 0)
        if dof < 1:
            raise ValueError(f"positions: {dof} degrees of freedom are left to move; hold fewer atoms, or centred=False.")
        bare = eqx.tree_at(lambda s: s.neighbors, surface, None, is_leaf=lambda leaf: leaf is None)
        reference = None if surface.cell is None else jnp.asarray(surface.cell, dtype)
        return cls(
            bare, masses, free, jnp.asarray(dof, dtype), jnp.asarray(units.boltzmann, dtype), reference, centred, strained
        )

    def evaluate(self, positions: Array, cell: Any, neighbors: Any) -> tuple[Array, Array, Any, Any]:
        """Energy, gradient, derivative in the strain (or None), and neighbours renewed."""
        neighbors = self.surface.renew(neighbors, positions, cell)
        if not self.strained:
            energy, gradient = jax.value_and_grad(lambda r: self.surface.energy(r, cell, neighbors))(positions)
            return energy, gradient * self.free, None, neighbors

        def strained(r: Array, e: Array) -> Array:
            turn = jnp.eye(3, dtype=r.dtype) + (e + e.T) / 2
            return self.surface.energy(r @ turn, cell @ turn, neighbors)

        zero = jnp.zeros((3, 3), positions.dtype)
        energy, (gradient, strain) = jax.value_and_grad(strained, argnums=(0, 1))(positions, zero)
        return energy, gradient, strain, neighbors

    def held(self, velocities: Array) -> Array:
        """Velocities with fixed atoms at rest and, where so wanted, the whole too."""
        velocities = velocities * self.free
        if not self.centred:
            return velocities
        momentum = jnp.sum(self.masses * velocities, axis=0, keepdims=True)
        return velocities - momentum / jnp.sum(self.masses)

    def drawn(self, key: Array, temperature: Any) -> Array:
        """Maxwell's velocities."""
        noise = jax.random.normal(key, self.free.shape, self.free.dtype)
        return self.held(noise * jnp.sqrt(self.boltzmann * temperature / self.masses))

    def kinetic(self, velocities: Array) -> Array:
        """Kinetic energy."""
        return kinetic_energy(velocities, self.masses)

    def temperature(self, kinetic: Any) -> Any:
        """Of a kinetic energy."""
        return 2 * kinetic / (self.dof * self.boltzmann)


def kinetic_energy(velocities: Array, masses: Array) -> Array:
    """Sum of m v²/2 over atoms and directions, masses (atom, 1)."""
    return 0.5 * jnp.sum(masses * velocities**2)
