"""Harmonic partition functions of minima and saddles, of which rates and populations alike are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxnmr.dynamics import ATOMIC, Units, Vibrations
from jaxnmr.errors import is_concrete, warn

__all__ = ["check_atoms", "check_point", "check_rigid", "check_temperature", "crossing", "log_partition", "warn_of_forces"]

# eV/Å; at 0.1 a soft mode of 1 eV/Å² lies 5 meV too high, a fifth of kT at room temperature.
_STATIONARY = 0.1


def log_partition(
    point: Vibrations,
    temperature: ArrayLike,
    *,
    quantum: bool = True,
    symmetry: ArrayLike = 1.0,
    zero: ArrayLike = 0.0,
    units: Units = ATOMIC,
) -> Float[Array, "*temperature"]:
    r"""$\ln Q$ of a minimum, or of a saddle without its imaginary mode.

    $$\ln Q = -\frac{E - E_0}{kT} - \ln\sigma + \ln q_{rot} + \sum_k \begin{cases}
      -\ln\left(2\sinh\tfrac{\hbar\omega_k}{2kT}\right) & \text{quantum}\\
      \ln\tfrac{kT}{\hbar\omega_k} & \text{classical}\end{cases}$$

    The rotational part is that of a molecule whose rotation was projected out, the rigid rotor's at high temperature,

    $$q_{rot} = \sqrt\pi\left(\tfrac{2kT}{\hbar^2}\right)^{3/2}\sqrt{\det\mathbf I}, \qquad
      q_{rot} = \tfrac{2kT}{\hbar^2}\,I \text{ if linear,}$$

    and 1 otherwise. Translation of the whole, which all configurations of the atoms share, is left out.

    Args:
        point: all its vibrations.
        temperature: K, of any shape.
        quantum: quantum oscillators, or classical ones.
        symmetry: rotational symmetry number σ; more generally, what its states are counted too often.
        zero: E₀, from which energies are counted. In single precision take that of a point near it: total energies are
            many times kT, and little is left of their digits in a difference of two ln Q.
        units: of the surface.

    Raises:
        ValueError: a symmetry number that is not positive.
    """
    if is_concrete(symmetry) and not (np.asarray(symmetry) > 0).all():
        raise ValueError(f"symmetry: got {symmetry}; a symmetry number is > 0, 1 for none.")
    kt = units.boltzmann * jnp.asarray(temperature, point.eigenvalues.dtype)
    counted = point.is_vibration & (point.eigenvalues > 0)
    omega = jnp.sqrt(jnp.where(counted, point.eigenvalues, 1.0))
    shape = (1,) * kt.ndim + omega.shape
    x = units.hbar * omega.reshape(shape) / kt[..., None]
    each = -x / 2 - jnp.log(-jnp.expm1(-x)) if quantum else -jnp.log(x)
    turning = jnp.zeros_like(kt)
    if point.inertia is not None:
        moments = jnp.linalg.eigvalsh(point.inertia)
        # Logarithms of kT and ħ apart: their ratio may be beyond single precision.
        unit = jnp.log(2.0) + jnp.log(kt) - 2 * jnp.log(units.hbar)
        bent = point.n_rigid == 6
        whole = 0.5 * (jnp.log(jnp.pi) + jnp.sum(jnp.log(jnp.where(bent, moments, 1.0)))) + 1.5 * unit
        turning = jnp.where(bent, whole, jnp.log(jnp.maximum(moments[-1], jnp.finfo(kt.dtype).tiny)) + unit)
    return (
        jnp.sum(jnp.where(counted.reshape(shape), each, 0.0), axis=-1)
        - (point.energy - jnp.asarray(zero, point.energy.dtype)) / kt
        + turning
        - jnp.log(jnp.asarray(symmetry, kt.dtype))
    )


def populations(
    minima: Sequence[Vibrations],
    temperature: ArrayLike,
    *,
    symmetries: Sequence[ArrayLike] | None = None,
    quantum: bool = True,
    units: Units = ATOMIC,
) -> Float[Array, "*temperature minimum"]:
    r"""Shares $p_i = Q_i / \sum_j Q_j$ of the minima at equilibrium.

    Args:
        minima: vibrations of each.
        temperature: K, of any shape.
        symmetries: symmetry number of each.
        quantum: quantum oscillators, or classical ones.
        units: of the surface.

    Raises:
        ValueError: no minimum, one with a negative mode, minima of different atoms or masses or with different motions
            projected out, or a temperature or a symmetry number that is not positive.

    Warns:
        JaxnmrWarning: a force above 0.1 eV/Å at a minimum.
    """
    if not minima:
        raise ValueError("minima: got none; give at least one.")
    check_temperature(temperature)
    for i, minimum in enumerate(minima):
        check_point(minimum, f"minima[{i}]", 0)
        check_atoms(minima[0], minimum, ("minima[0]", f"minima[{i}]"), numbered=False)
        check_rigid(minima[0], minimum, ("minima[0]", f"minima[{i}]"))
        warn_of_forces(minimum, f"minima[{i}]", units)
    numbers = [1.0] * len(minima) if symmetries is None else list(symmetries)
    if len(numbers) != len(minima):
        raise ValueError(f"symmetries: {len(numbers)} came for {len(minima)} minima; give one for each.")
    given: dict[str, Any] = dict(quantum=quantum, zero=minima[0].energy, units=units)
    logs = [log_partition(m, temperature, symmetry=s, **given) for m, s in zip(minima, numbers, strict=True)]
    return jax.nn.softmax(jnp.stack(logs, axis=-1), axis=-1)


def crossing(saddle: Vibrations) -> Float[Array, ""]:
    """ω of the imaginary mode, in the surface's units."""
    down = jnp.where(saddle.is_vibration & (saddle.eigenvalues < 0), saddle.eigenvalues, 0.0)
    return jnp.sqrt(-jnp.min(down))


def check_temperature(temperature: ArrayLike) -> None:
    """Temperatures are finite and above zero.

    Raises:
        ValueError: they are not.
    """
    if is_concrete(temperature):
        values = np.asarray(temperature, np.float64)
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(f"temperature: got {values.tolist()}; give temperatures > 0, in K.")


def check_point(point: Vibrations, name: str, negative: int) -> None:
    """A minimum has no negative mode, a saddle has one, and all modes must be there.

    Raises:
        ValueError: not so, with the remedy.
    """
    if not isinstance(point, Vibrations):
        raise ValueError(f"{name}: got {type(point).__name__}; give what jaxnmr.dynamics.vibrations returns.")
    if not point.complete:
        raise ValueError(f"{name}: has only its softest modes; a partition function needs all: vibrations without lowest=.")
    if not is_concrete(point.n_negative):
        return
    found = int(point.n_negative)
    if found == negative:
        return
    cures = {
        0: "minimise from a point pushed along the negative mode",
        1: "with none it is a minimum: search with dimer; with more, push along the second mode and search again",
    }
    raise ValueError(f"{name}: has {found} negative modes, but needs {negative}; {cures[negative]}.")


def check_atoms(first: Vibrations, other: Vibrations, names: tuple[str, str], *, numbered: bool = True) -> None:
    """Two points are of the same atoms, with the same masses.

    Args:
        first: a point.
        other: another.
        names: of the two, for messages.
        numbered: in the same order too.

    Raises:
        ValueError: they are not.
    """
    if first.positions.shape != other.positions.shape:
        raise ValueError(
            f"{names[1]}: {other.positions.shape}, but {names[0]} has {first.positions.shape}; both need the same atoms."
        )
    ordered = (lambda x: x) if numbered else sorted
    if first.species is not None and other.species is not None and ordered(first.species) != ordered(other.species):
        order = ", in this order" * numbered
        raise ValueError(f"{names[1]}: its elements are not those of {names[0]}{order}; take both from one surface.")
    if not is_concrete(first.masses, other.masses):
        return
    a, b = (np.array(ordered(np.asarray(point.masses, np.float64))) for point in (first, other))
    # Single precision has seven digits; isotopes differ in the third.
    wrong = np.flatnonzero(np.abs(a - b) > 1e-5 * a)
    if len(wrong):
        k = int(wrong[0])
        raise ValueError(
            f"{names[1]}: {f'atom {k}' if numbered else 'an atom'} weighs {b[k]:.6g}, but {a[k]:.6g} in {names[0]}; take "
            "vibrations of both with the same masses or isotopes."
        )


def check_rigid(first: Vibrations, other: Vibrations, names: tuple[str, str], *, turning: bool = True) -> None:
    """The same motions are left to vibrations at two points, or to the rotors of molecules, of which one may be linear.

    Args:
        first: a point.
        other: another.
        names: of the two, for messages.
        turning: rotors are counted; else the numbers of vibrations must be equal.

    Raises:
        ValueError: not so.
    """
    if not is_concrete(first.n_rigid, other.n_rigid):
        return
    rotors = [point.inertia is not None for point in (first, other)]
    if all(rotors) and turning:
        return
    counts = [len(point.eigenvalues) - int(point.n_rigid) for point in (first, other)]
    if rotors[0] != rotors[1] or counts[0] != counts[1]:
        cure = "take both with one rigid=" if rotors[0] != rotors[1] else "a linear molecule that bends needs rotors: eyring"
        raise ValueError(
            f"{names[1]}: {counts[1]} vibrations for a {names[0]} of {counts[0]}; both must treat rigid motion alike "
            f"({cure})."
        )


def warn_of_forces(point: Vibrations, name: str, units: Units) -> None:
    """Warn of a point that is far from stationary; of a surface without units nothing is known."""
    if units != ATOMIC or not is_concrete(point.max_force) or float(point.max_force) <= _STATIONARY:
        return
    warn(
        f"{name}: a force is {float(point.max_force):.2g} eV/Å there, so it is no stationary point, and its energy and "
        "frequencies are not those that a rate is made of; minimise it, or refine the saddle by dimer."
    )
