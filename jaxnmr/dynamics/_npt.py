"""Motion at constant temperature and pressure with a cell that changes its size and its shape."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnmr.dynamics._ensembles import check_positive, noise_key
from jaxnmr.dynamics._system import MDState, System
from jaxnmr.errors import is_concrete

__all__ = ["NPT", "unturned"]


class NPT(eqx.Module):
    r"""Constant temperature and pressure, all six strains of the cell free: Langevin motion of atoms and cell.

    With the lattice vectors in the rows of h, the cell's rate of strain g (symmetric) and $W$ its inertia,

    $$\dot{\mathbf r} = \mathbf v + \mathbf r\mathbf g,\quad
      \dot{\mathbf p} = \mathbf F - \mathbf p\mathbf g - \alpha\,\mathrm{tr}\,\mathbf g\;\mathbf p,\quad
      \dot{\mathbf h} = \mathbf h\mathbf g,$$
    $$W\dot{\mathbf g} = \sum_i\frac{\mathbf p_i\mathbf p_i^\top}{m_i} - \frac{\partial E}{\partial\varepsilon}
      - pV\mathbf 1 + 2\alpha K\mathbf 1,$$

    both p and g under friction and noise at kT, split symmetrically about the noise with one evaluation a step. The
    distribution is $e^{-\beta(E + pV)}\,V^N dV$ and uniform in the cell's shape at given V (in the measure of matrices of
    one determinant); α is such that this holds with the total momentum at rest as well. Samples are turned so that the
    deformation since the start is symmetric: the crystal's axes do not wander.

    Args:
        temperature: K.
        pressure: eV/Å³; 1 GPa is 0.00624 eV/Å³.
        friction: of the atoms, 1/fs.
        period: of the cell's own oscillation τ, fs; $W = (N_f/3 + 1)\,kT(\tau/2\pi)^2$.
        cell_friction: of the cell, 1/fs.

    References:
        Martyna, Tobias, Klein, J. Chem. Phys. 101, 4177 (1994); Quigley, Probert, J. Chem. Phys. 120, 11432 (2004);
        Gao, Fang, Wang, J. Chem. Phys. 144, 124113 (2016).
    """

    temperature: Any
    pressure: Any = 0.0
    friction: Any = 0.01
    period: Any = 500.0
    cell_friction: Any = 0.01

    def __check_init__(self):
        check_positive(
            "NPT",
            temperature=self.temperature,
            friction=self.friction,
            period=self.period,
            cell_friction=self.cell_friction,
        )
        if is_concrete(self.pressure) and not np.isfinite(np.asarray(self.pressure)).all():
            raise ValueError(f"NPT.pressure: got {self.pressure}; give a number, in eV/Å³.")

    @property
    def target(self) -> Any:
        """K."""
        return self.temperature

    def _inertia(self, system: System) -> Array:
        return (system.dof / 3 + 1) * system.boltzmann * self.temperature * (self.period / (2 * np.pi)) ** 2

    def start(self, system: System, key: Array) -> Array:
        """The cell's rate of strain, drawn."""
        return self._drawn(key, system)

    def _drawn(self, key: Array, system: System) -> Array:
        # Tr g² counts each element off the diagonal twice: half the variance of those on it.
        noise = jax.random.normal(key, (3, 3), system.masses.dtype)
        symmetric = (noise + noise.T) / 2
        return symmetric * jnp.sqrt(system.boltzmann * self.temperature / self._inertia(system))

    def conserved(self, state: MDState, system: System) -> Array:
        """Enthalpy and the cell's kinetic energy, without the heat given so far."""
        cell = 0.5 * self._inertia(system) * jnp.sum(state.bath**2) + self.pressure * _volume(state.cell)
        return state.energy + system.kinetic(state.velocities) + cell - state.heat

    def _kicked(self, v: Array, g: Array, gradient: Array, strain: Array, cell: Array, system: System, dt: Array) -> Any:
        """Half a step of forces."""
        eye = jnp.eye(3, dtype=v.dtype)
        push = -strain - self.pressure * _volume(cell) * eye
        return v - dt / 2 * gradient / system.masses, g + dt / 2 * push / self._inertia(system)

    def _coupled(self, v: Array, g: Array, system: System, dt: Array) -> tuple[Array, Array]:
        """Half a step of what atoms and cell do to each other's velocities."""
        eye, inertia = jnp.eye(3, dtype=v.dtype), self._inertia(system)
        # 1/N_f for 3 N momenta; with the whole at rest one factor V would be lost otherwise.
        alpha = (len(v) + 1 - system.dof / 3) / system.dof

        def pressed(v: Array, g: Array) -> Array:
            flow = (system.masses * v).T @ v
            return g + dt / 4 * (flow + alpha * jnp.trace(flow) * eye) / inertia

        g = pressed(v, g)
        v = v @ _exponential(-(g + alpha * jnp.trace(g) * eye) * dt / 2)
        return v, pressed(v, g)

    def step(self, state: MDState, system: System, dt: Array) -> MDState:
        """One step."""
        v, g = self._kicked(state.velocities, state.bath, state.gradient, state.strain, state.cell, system, dt)
        v, g = self._coupled(v, g, system, dt)
        r, h = _drifted(state.positions, state.cell, v, g, dt)
        first, second = jax.random.split(noise_key(state))
        kept = lambda friction: jnp.exp(-friction * dt)  # noqa: E731
        given = lambda friction: jnp.sqrt(-jnp.expm1(-2 * friction * dt))  # noqa: E731
        new_v = kept(self.friction) * v + given(self.friction) * system.drawn(first, self.temperature)
        new_v = system.held(new_v)
        new_g = kept(self.cell_friction) * g + given(self.cell_friction) * self._drawn(second, system)
        heat = state.heat + system.kinetic(new_v) - system.kinetic(v)
        heat = heat + 0.5 * self._inertia(system) * (jnp.sum(new_g**2) - jnp.sum(g**2))
        r, h = _drifted(r, h, new_v, new_g, dt)
        energy, gradient, strain, neighbors = system.evaluate(r, h, state.neighbors)
        v, g = self._coupled(new_v, new_g, system, dt)
        v, g = self._kicked(v, g, gradient, strain, h, system, dt)
        return MDState(r, v, h, energy, gradient, strain, g, heat, state.key, state.step + 1, neighbors)


def _drifted(r: Array, h: Array, v: Array, g: Array, dt: Array) -> tuple[Array, Array]:
    """Half a step at constant velocities: half of the atoms' own way before the strain and half after it."""
    strain = _exponential(g * dt / 2)
    return (r + dt / 4 * v) @ strain + dt / 4 * v, h @ strain


def _exponential(x: Array) -> Array:
    """Of a small matrix: strains in half a step are 1e-3 at most, so the series ends below rounding."""
    eye = jnp.eye(3, dtype=x.dtype)
    return eye + x @ (eye + x @ (eye + x @ (eye + x @ (eye + x / 5) / 4) / 3) / 2)


def _volume(cell: Array) -> Array:
    return jnp.abs(jnp.linalg.det(cell))


def unturned(state: MDState, system: System) -> MDState:
    """The state turned as a whole so that the deformation of the cell since the start is a symmetric matrix.

    Symmetric strains one after the other make a rotation, which costs no energy and would let a crystal's axes wander.
    """
    deformation = jnp.linalg.solve(system.reference, state.cell)
    left, _, right = jnp.linalg.svd(deformation)
    back = (left @ right).T
    both = lambda x: back.T @ x @ back  # noqa: E731
    where = lambda s: (s.positions, s.velocities, s.cell, s.gradient, s.strain, s.bath)  # noqa: E731
    parts = (state.positions @ back, state.velocities @ back, state.cell @ back, state.gradient @ back)
    return eqx.tree_at(where, state, (*parts, both(state.strain), both(state.bath)))
