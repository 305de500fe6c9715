"""Rates of transition-state theory, and the exchange that they make of minima and saddles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxnmr.dynamics import ATOMIC, Units, Vibrations
from jaxnmr.errors import is_concrete
from jaxnmr.exchange._model import ExchangeModel
from jaxnmr.exchange._partition import (
    check_atoms,
    check_point,
    check_rigid,
    check_temperature,
    crossing,
    log_partition,
    populations,
    warn_of_forces,
)
from jaxnmr.exchange._tunnelling import Tunnelling, warn_of_speed, warn_of_tunnelling

__all__ = ["exchange_model", "eyring", "htst"]


def htst(
    minimum: Vibrations,
    saddle: Vibrations,
    temperature: ArrayLike,
    *,
    degeneracy: ArrayLike = 1.0,
    units: Units = ATOMIC,
) -> Float[Array, "*temperature"]:
    r"""Rate of classical harmonic transition-state theory.

    $$k = \frac{g}{2\pi}\,\frac{\prod_{i=1}^{N}\omega_i^{min}}{\prod_{i=1}^{N-1}\omega_i^{\ddagger}}\;
      e^{-(E^\ddagger - E^{min})/kT}$$

    Over vibrations only, as in a crystal: rotation of a whole molecule is not counted (`eyring` does, of linear ones
    too). Differentiable in everything, forward and reverse, through vibrations made at points from
    `jaxnmr.dynamics.stationary`.

    Args:
        minimum: vibrations at the minimum that is left.
        saddle: at the saddle.
        temperature: K, of any shape.
        degeneracy: g, number of equivalent ways over such saddles, one or one for each temperature.
        units: of the surface; `REDUCED` for one without units.

    Returns:
        s⁻¹, of the shape of the temperature.

    Raises:
        ValueError: a temperature that is not positive, a minimum with a negative mode, a saddle with none or several,
            a saddle below the minimum, points of different atoms or masses, or of which one has more vibrations.

    Warns:
        JaxnmrWarning: a force above 0.1 eV/Å at a point.

    References:
        Vineyard, J. Phys. Chem. Solids 3, 121 (1957).
    """
    _check_pair(minimum, saddle, temperature, degeneracy, units, turning=False)
    kt = units.boltzmann * jnp.asarray(temperature, minimum.eigenvalues.dtype)
    # From determinants, whose derivative exists where frequencies cross.
    log_ratio = 0.5 * (minimum.log_determinant - saddle.log_determinant)
    attempt = jnp.exp(log_ratio) * crossing(saddle) / (2 * jnp.pi)
    return jnp.asarray(degeneracy, kt.dtype) * units.frequency * attempt * jnp.exp(-(saddle.energy - minimum.energy) / kt)


def eyring(
    minimum: Vibrations,
    saddle: Vibrations,
    temperature: ArrayLike,
    *,
    product: Vibrations | None = None,
    tunnelling: Tunnelling | None = None,
    degeneracy: ArrayLike = 1.0,
    symmetry: ArrayLike = 1.0,
    saddle_symmetry: ArrayLike = 1.0,
    transmission: ArrayLike = 1.0,
    quantum: bool = True,
    units: Units = ATOMIC,
) -> Float[Array, "*temperature"]:
    r"""Rate of transition-state theory with quantum partition functions.

    $$k = g\,\gamma\,\kappa\,\frac{kT}{h}\,\frac{Q^\ddagger}{Q^{min}},$$

    zero-point energies and the rotation of a molecule included; see `log_partition`. Differentiable as `htst`.

    Args:
        minimum: vibrations at the minimum that is left.
        saddle: at the saddle.
        temperature: K, of any shape.
        product: the minimum on the other side, for an asymmetric Eckart barrier; like the first unless given.
        tunnelling: `Wigner()`, `Eckart()`, or None for κ = 1.
        degeneracy: g, number of equivalent ways; leave it 1 where symmetry numbers say the same.
        symmetry: rotational symmetry number of the minimum.
        saddle_symmetry: of the saddle.
        transmission: γ, share of crossings that stay across, 0 to 1, one or one for each temperature.
        quantum: quantum oscillators, or classical ones.
        units: of the surface.

    Returns:
        s⁻¹, of the shape of the temperature.

    Raises:
        ValueError: as `htst`, but a molecule may be linear at one point and bent at another; a saddle below the product,
            a transmission beyond 0 to 1, a symmetry number that is not positive.

    Warns:
        TunnellingWarning: a saddle below a minimum with zero-point energies; with a correction, ħω_b / kT above 4, or a
            barrier below one quantum.
        TransitionStateWarning: a rate above kT/h for each way, or one back from the product.
        JaxnmrWarning: a force above 0.1 eV/Å at a point.

    References:
        Eyring, J. Chem. Phys. 3, 107 (1935).
    """
    _check_pair(minimum, saddle, temperature, degeneracy, units, turning=True)
    if product is not None:
        check_point(product, "product", 0)
        check_atoms(minimum, product, ("minimum", "product"), numbered=False)
        check_rigid(minimum, product, ("minimum", "product"))
        _check_height(product, saddle, "product")
    if is_concrete(transmission) and not ((np.asarray(transmission) > 0) & (np.asarray(transmission) <= 1)).all():
        raise ValueError(f"transmission: got {transmission}; it is a share, above 0 and at most 1.")
    kt = units.boltzmann * jnp.asarray(temperature, minimum.eigenvalues.dtype)
    given: dict[str, Any] = dict(quantum=quantum, zero=minimum.energy, units=units)
    up = log_partition(saddle, temperature, symmetry=saddle_symmetry, **given)
    down = log_partition(minimum, temperature, symmetry=symmetry, **given)
    energy, barrier = units.hbar * crossing(saddle), saddle.energy - minimum.energy
    forward = barrier + _zero_point(saddle, units) - _zero_point(minimum, units)
    back = forward
    if product is not None:
        back = saddle.energy - product.energy + _zero_point(saddle, units) - _zero_point(product, units)
    corrects = tunnelling is not None
    corrected = jnp.minimum(forward, back) if quantum or corrects else barrier
    if not warn_of_tunnelling(energy, kt, barrier, corrected, corrects):
        for well, name in ((minimum, "rate"), (product, "rate back from the product")):
            if well is not None:
                # Each way is counted by itself: the saddle's symmetry number for both, and none is left.
                level = log_partition(well, temperature, symmetry=saddle_symmetry, **given)
                warn_of_speed(jnp.exp(up - level), kt / units.boltzmann, name)
    # Exponents are added before they are raised: where it is cold κ alone is beyond single precision, the rate is not.
    log_ratio = up - down
    if tunnelling is not None:
        log_ratio = log_ratio + tunnelling.log_factor(energy, kt, forward, back)
    share = jnp.asarray(degeneracy, kt.dtype) * jnp.asarray(transmission, kt.dtype)
    return share * units.frequency * kt / (2 * jnp.pi * units.hbar) * jnp.exp(log_ratio)


def exchange_model(
    minima: Sequence[Vibrations],
    saddles: Mapping[tuple[int, int], Vibrations | Sequence[Vibrations]],
    temperature: ArrayLike,
    *,
    tunnelling: Tunnelling | None = None,
    symmetries: Sequence[ArrayLike] | None = None,
    saddle_symmetries: Mapping[tuple[int, int], ArrayLike | Sequence[ArrayLike]] | None = None,
    transmission: Mapping[tuple[int, int], ArrayLike | Sequence[ArrayLike]] | None = None,
    quantum: bool = True,
    units: Units = ATOMIC,
) -> ExchangeModel:
    """The jump process on a graph of minima joined by saddles.

    Each rate is that of `eyring`; the way back follows from the populations, which come from the same partition functions,
    so detailed balance holds. Rates over several saddles between two minima add up: name a saddle as often as there are
    equivalent ones, and each of several equivalent minima; or count them by symmetry numbers.

    Args:
        minima: vibrations of each.
        saddles: `{(i, j): saddle}` between minima i and j, each pair once; or several saddles.
        temperature: K, one number.
        tunnelling: `Wigner()`, `Eckart()` or None.
        symmetries: symmetry number of each minimum, 1 unless given.
        saddle_symmetries: of saddles, by the keys of `saddles`: one number, or one for each of several; 1 where not named.
        transmission: share of crossings that stay across, by the same keys in the same form; it is the same both ways.
        quantum: quantum oscillators, or classical ones.
        units: of the surface.

    Raises:
        ValueError: as `eyring` and `populations`; an index without a minimum, a pair named twice, numbers for a saddle that
            did not come, or not one for each.

    Warns:
        JaxnmrWarning: as `eyring`, of both ways.
    """
    if jnp.ndim(temperature):
        raise ValueError(f"temperature: got shape {jnp.shape(temperature)}; give one number (vmap over more).")
    shares = populations(minima, temperature, symmetries=symmetries, quantum=quantum, units=units)
    numbers = [1.0] * len(minima) if symmetries is None else list(symmetries)
    ways = {key: [found] if isinstance(found, Vibrations) else list(found) for key, found in saddles.items()}
    turns = _for_each(ways, saddle_symmetries, "saddle_symmetries")
    staying = _for_each(ways, transmission, "transmission")
    rates: dict[tuple[int, int], Array] = {}
    for (i, j), found in ways.items():
        if not (0 <= i < len(minima) and 0 <= j < len(minima)):
            raise ValueError(f"saddles: ({i}, {j}) names a minimum that is not there; {len(minima)} came, counted from 0.")
        if (j, i) in rates:
            raise ValueError(f"saddles: ({i}, {j}) and ({j}, {i}) both came; name each pair once.")
        rates[i, j] = jnp.zeros((), shares.dtype)
        for saddle, turn, stay in zip(found, turns[i, j], staying[i, j], strict=True):
            try:
                rates[i, j] += eyring(
                    minima[i],
                    saddle,
                    temperature,
                    product=minima[j],
                    tunnelling=tunnelling,
                    symmetry=numbers[i],
                    saddle_symmetry=turn,
                    transmission=stay,
                    quantum=quantum,
                    units=units,
                )
            except ValueError as wrong:
                raise ValueError(f"saddles[{i}, {j}]: {wrong}") from None
    return ExchangeModel.from_rates(rates, shares, len(minima))


def _for_each(
    ways: Mapping[tuple[int, int], Sequence[Vibrations]],
    given: Mapping[tuple[int, int], ArrayLike | Sequence[ArrayLike]] | None,
    name: str,
) -> dict[tuple[int, int], list[ArrayLike]]:
    """A number for each saddle of each pair, 1 where none was given."""
    given = {} if given is None else given
    for key in given:
        if key not in ways:
            raise ValueError(f"{name}: {key} is no key of saddles; those are {', '.join(map(str, ways))}.")
    numbers: dict[tuple[int, int], list[Any]] = {}
    for key, found in ways.items():
        value: Any = given.get(key, 1.0)
        numbers[key] = list(value) if isinstance(value, Sequence) or jnp.ndim(value) else [value] * len(found)
        if len(numbers[key]) != len(found):
            raise ValueError(
                f"{name}[{key[0]}, {key[1]}]: {len(numbers[key])} came for {len(found)} saddles; give one for all, or one "
                "for each."
            )
    return numbers


def _zero_point(point: Vibrations, units: Units) -> Array:
    counted = point.is_vibration & (point.eigenvalues > 0)
    omega = jnp.where(counted, jnp.sqrt(jnp.where(counted, point.eigenvalues, 1.0)), 0.0)
    return units.hbar / 2 * jnp.sum(omega)


def _check_pair(
    minimum: Vibrations, saddle: Vibrations, temperature: ArrayLike, degeneracy: ArrayLike, units: Units, turning: bool
) -> None:
    check_temperature(temperature)
    check_point(minimum, "minimum", 0)
    check_point(saddle, "saddle", 1)
    if is_concrete(degeneracy) and not (np.asarray(degeneracy) > 0).all():
        raise ValueError(f"degeneracy: got {degeneracy}; it is a number of ways, > 0.")
    check_atoms(minimum, saddle, ("minimum", "saddle"))
    warn_of_forces(minimum, "minimum", units)
    warn_of_forces(saddle, "saddle", units)
    check_rigid(minimum, saddle, ("minimum", "saddle"), turning=turning)
    _check_height(minimum, saddle, "minimum")


def _check_height(well: Vibrations, saddle: Vibrations, name: str) -> None:
    if is_concrete(well.energy, saddle.energy) and float(saddle.energy) <= float(well.energy):
        raise ValueError(
            f"saddle: its energy is {float(well.energy - saddle.energy):.3g} below that of the {name}; they do not belong "
            "together, or one is not converged."
        )
