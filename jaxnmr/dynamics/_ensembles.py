"""Equations of motion at constant volume: at constant energy, and with two thermostats.

jax-md has such integrators; these are own because theirs know neither lists that are renewed from outside, nor a cell's
derivative, nor a conserved energy of stochastic motion.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnmr.dynamics._system import MDState, System
from jaxnmr.errors import is_concrete

__all__ = ["NVE", "Langevin", "NoseHoover", "check_positive", "noise_key", "replaced"]


class NVE(eqx.Module):
    """Newton's motion at constant energy and volume, by velocity Verlet.

    References:
        Swope et al., J. Chem. Phys. 76, 637 (1982).
    """

    @property
    def target(self) -> None:
        """No temperature is aimed at."""
        return None

    def start(self, system: System, key: Array) -> None:
        """Nothing to keep."""
        return None

    def conserved(self, state: MDState, system: System) -> Array:
        """Total energy."""
        return state.energy + system.kinetic(state.velocities)

    def step(self, state: MDState, system: System, dt: Array) -> MDState:
        """One step."""
        velocities = state.velocities - dt / 2 * state.gradient / system.masses
        positions = state.positions + dt * velocities
        energy, gradient, _, neighbors = system.evaluate(positions, state.cell, state.neighbors)
        velocities = velocities - dt / 2 * gradient / system.masses
        return replaced(state, positions, velocities, energy, gradient, neighbors)


class Langevin(eqx.Module):
    r"""Langevin's motion at constant temperature and volume, in the splitting BAOAB.

    $$\mathbf M\dot{\mathbf v} = \mathbf F - \gamma\mathbf M\mathbf v + \sqrt{2\gamma kT\mathbf M}\,\boldsymbol\xi$$

    Positions are distributed as at kT to fourth order in the step for large friction, and exactly for a harmonic well;
    velocities to second order. The conserved energy counts the heat that the bath has given.

    Args:
        temperature: K.
        friction: γ, 1/fs; 0.002 to 0.02 for solids, less for rates and spectra of motion.

    References:
        Leimkuhler, Matthews, J. Chem. Phys. 138, 174102 (2013).
    """

    temperature: Any
    friction: Any = 0.01

    def __check_init__(self):
        check_positive("Langevin", temperature=self.temperature, friction=self.friction)

    @property
    def target(self) -> Any:
        """K."""
        return self.temperature

    def start(self, system: System, key: Array) -> None:
        """Nothing to keep."""
        return None

    def conserved(self, state: MDState, system: System) -> Array:
        """Total energy without the heat given so far."""
        return state.energy + system.kinetic(state.velocities) - state.heat

    def step(self, state: MDState, system: System, dt: Array) -> MDState:
        """One step."""
        velocities = state.velocities - dt / 2 * state.gradient / system.masses
        positions = state.positions + dt / 2 * velocities
        # The projected noise is that of the subspace at rest, since friction is the same for all atoms.
        kept = jnp.exp(-self.friction * dt)
        given = jnp.sqrt(-jnp.expm1(-2 * self.friction * dt))
        new = system.held(kept * velocities + given * system.drawn(noise_key(state), self.temperature))
        heat = state.heat + system.kinetic(new) - system.kinetic(velocities)
        positions = positions + dt / 2 * new
        energy, gradient, _, neighbors = system.evaluate(positions, state.cell, state.neighbors)
        new = new - dt / 2 * gradient / system.masses
        state = replaced(state, positions, new, energy, gradient, neighbors)
        return eqx.tree_at(lambda s: s.heat, state, heat)


# Third-order Suzuki-Yoshida weights.
_YOSHIDA = (1 / (2 - 2 ** (1 / 3)), 1 - 2 / (2 - 2 ** (1 / 3)), 1 / (2 - 2 ** (1 / 3)))


class NoseHoover(eqx.Module):
    r"""Motion at constant temperature and volume with a chain of Nosé-Hoover thermostats, deterministic.

    Args:
        temperature: K.
        period: of the thermostat's own oscillation τ, fs; $Q_1 = N_f kT(\tau/2\pi)^2$, later links without $N_f$.
        chain: how many thermostats.

    References:
        Martyna, Klein, Tuckerman, J. Chem. Phys. 97, 2635 (1992); Martyna et al., Mol. Phys. 87, 1117 (1996).
    """

    temperature: Any
    period: Any = 100.0
    chain: int = eqx.field(static=True, default=3)

    def __check_init__(self):
        check_positive("NoseHoover", temperature=self.temperature, period=self.period, chain=self.chain)

    @property
    def target(self) -> Any:
        """K."""
        return self.temperature

    def start(self, system: System, key: Array) -> tuple[Array, Array]:
        """Coordinates and velocities of the chain, at rest."""
        zero = jnp.zeros(self.chain, system.masses.dtype)
        return zero, zero

    def _inertia(self, system: System) -> tuple[Array, Array]:
        kt = system.boltzmann * self.temperature
        count = jnp.ones(self.chain, kt.dtype).at[0].set(system.dof)
        return kt, count * kt * (self.period / (2 * np.pi)) ** 2

    def conserved(self, state: MDState, system: System) -> Array:
        """Energy of the extended system."""
        place, speed = state.bath
        kt, q = self._inertia(system)
        count = jnp.ones(self.chain, kt.dtype).at[0].set(system.dof)
        chain = 0.5 * jnp.sum(q * speed**2) + kt * jnp.sum(count * place)
        return state.energy + system.kinetic(state.velocities) + chain

    def _turned(self, bath: tuple[Array, Array], twice: Array, system: System, dt: Array) -> tuple[Any, Array]:
        """Chain and factor of all velocities after half a step; `twice` is twice the kinetic energy."""
        kt, q = self._inertia(system)
        (place, speed), scale, last = bath, jnp.ones_like(twice), self.chain - 1
        for weight in _YOSHIDA:
            h = weight * dt / 2
            pull = [(scale**2 * twice - system.dof * kt) / q[0]]
            pull += [(q[i - 1] * speed[i - 1] ** 2 - kt) / q[i] for i in range(1, self.chain)]
            speed = speed.at[last].add(pull[last] * h / 2)
            for i in range(last - 1, -1, -1):
                brake = jnp.exp(-speed[i + 1] * h / 4)
                speed = speed.at[i].set(speed[i] * brake**2 + pull[i] * brake * h / 2)
            scale = scale * jnp.exp(-speed[0] * h)
            place = place + speed * h
            force = (scale**2 * twice - system.dof * kt) / q[0]
            for i in range(last):
                brake = jnp.exp(-speed[i + 1] * h / 4)
                speed = speed.at[i].set(speed[i] * brake**2 + force * brake * h / 2)
                force = (q[i] * speed[i] ** 2 - kt) / q[i + 1]
            speed = speed.at[last].add(force * h / 2)
        return (place, speed), scale

    def step(self, state: MDState, system: System, dt: Array) -> MDState:
        """One step."""
        bath, scale = self._turned(state.bath, 2 * system.kinetic(state.velocities), system, dt)
        velocities = scale * state.velocities - dt / 2 * state.gradient / system.masses
        positions = state.positions + dt * velocities
        energy, gradient, _, neighbors = system.evaluate(positions, state.cell, state.neighbors)
        velocities = velocities - dt / 2 * gradient / system.masses
        bath, scale = self._turned(bath, 2 * system.kinetic(velocities), system, dt)
        state = replaced(state, positions, scale * velocities, energy, gradient, neighbors)
        return eqx.tree_at(lambda s: s.bath, state, bath)


def noise_key(state: MDState) -> Array:
    """The key of this step's random numbers: from seed and step alone, so that a restart draws the same."""
    return jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)


def replaced(state: MDState, positions: Any, velocities: Any, energy: Any, gradient: Any, neighbors: Any) -> MDState:
    """The state one step later, all else the same."""
    return MDState(
        positions,
        velocities,
        state.cell,
        energy,
        gradient,
        state.strain,
        state.bath,
        state.heat,
        state.key,
        state.step + 1,
        neighbors,
    )


def check_positive(name: str, **values: Any) -> None:
    """Raise ValueError for a value that is known and not above zero."""
    for argument, value in values.items():
        if is_concrete(value) and not (np.isfinite(np.asarray(value)).all() and (np.asarray(value) > 0).all()):
            raise ValueError(f"{name}.{argument}: got {value}; must be > 0 and finite.")
