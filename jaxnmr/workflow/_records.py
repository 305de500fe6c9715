"""What each stage hands on: frozen, of arrays in NumPy, numbers, strings and tuples, so that a file holds all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Band", "Ends", "ExchangeOfNuclei", "Point", "RatesOfEvents", "Relaxed", "SpectraAtField", "TensorsOfStates"]


@dataclass(frozen=True)
class Relaxed:
    """The first minimum: positions, Å, (atom, 3); energy, eV; largest force, eV/Å."""

    positions: np.ndarray
    energy: float
    max_force: float
    evaluations: int


@dataclass(frozen=True)
class Ends:
    """The minima that events lead to.

    Attributes:
        names: of the events.
        positions: Å, (event, atom, 3).
        energies: above the first minimum, eV, (event,).
        distinct: (event,), whether the minimum is another one than the first; others fell back and are left out.
        same_as: (event,), the first event that looks the same in energy and fingerprint, itself if there is none.
        groups: number of the group of atoms that each event moves.
        atoms: of each group.
    """

    names: tuple[str, ...]
    positions: np.ndarray
    energies: np.ndarray
    distinct: np.ndarray
    same_as: np.ndarray
    groups: tuple[int, ...]
    atoms: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Band:
    """A path, and the saddle on it.

    Attributes:
        positions: images, Å, (image, atom, 3).
        energies: above the first minimum, eV, (image,).
        arc: length along the path, Å, (image,).
        saddle: Å, (atom, 3).
        barrier_ev: of the saddle above the first minimum.
        curvature: along the way down, eV/Å².
        n_negative: negative modes of the saddle.
        joins: whether the ways down end in the two minima.
        sides_ev: energies of the minima where they end.
        crossing_a: of each proton that crosses, d(donor) - d(acceptor) at the saddle, Å.
        evaluations: of forces.
    """

    positions: np.ndarray
    energies: np.ndarray
    arc: np.ndarray
    saddle: np.ndarray
    barrier_ev: float
    curvature: float
    n_negative: int
    joins: bool
    sides_ev: tuple[float, ...]
    crossing_a: tuple[float, ...]
    evaluations: int


@dataclass(frozen=True)
class Point:
    """Vibrations at a minimum or saddle, see `jaxnmr.dynamics.Vibrations`."""

    energy: np.ndarray
    positions: np.ndarray
    eigenvalues: np.ndarray
    modes: np.ndarray
    residuals: np.ndarray
    log_determinant: np.ndarray
    inertia: np.ndarray
    masses: np.ndarray
    max_force: np.ndarray
    n_rigid: np.ndarray


@dataclass(frozen=True)
class RatesOfEvents:
    """Rates from the first minimum to those of the events, s⁻¹, and shares of the minima.

    Attributes:
        temperatures: K.
        htst: classical, (temperature, event).
        eyring: with quantum oscillators.
        wigner: that times Wigner's factor.
        populations: shares of the first minimum and of each event's, the two alone, (temperature, event, 2).
        barrier_ev: (event,).
        back_barrier_ev: (event,).
        zero_point_barrier_ev: with zero-point energies, (event,).
        energy_ev: of the event's minimum above the first, (event,).
        prefactor_per_s: of the classical rate, (event,).
        imaginary_per_cm: (event,), negative.
        remarks: warnings of the theory.
    """

    temperatures: np.ndarray
    htst: np.ndarray
    eyring: np.ndarray
    wigner: np.ndarray
    populations: np.ndarray
    barrier_ev: np.ndarray
    back_barrier_ev: np.ndarray
    zero_point_barrier_ev: np.ndarray
    energy_ev: np.ndarray
    prefactor_per_s: np.ndarray
    imaginary_per_cm: np.ndarray
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class TensorsOfStates:
    """Tensors of the observed atoms in the first minimum and in that of each event.

    Attributes:
        nuclei: the atoms.
        names: theirs.
        shielding: ppm, (1 + event, nucleus, 3, 3).
        efg: atomic units, (1 + event, nucleus, 3, 3); none for spin 1/2: zeros.
        shielding_error: standard deviation of an element, ppm, (1 + event, nucleus); NaN where the model tells none.
        efg_error: atomic units.
    """

    nuclei: tuple[int, ...]
    names: tuple[str, ...]
    shielding: np.ndarray
    efg: np.ndarray
    shielding_error: np.ndarray
    efg_error: np.ndarray


@dataclass(frozen=True)
class ExchangeOfNuclei:
    """The exchange of each nucleus: its states are the basins of its own group.

    Attributes:
        group: of each nucleus; -1 where nothing moves it.
        states: of each group, (group, state): 0 for the first minimum, 1 + event for others, -1 beyond the last.
        populations: (temperature, group, state).
        rates: from the first state to each, s⁻¹, (temperature, group, state).
    """

    group: np.ndarray
    states: np.ndarray
    populations: np.ndarray
    rates: np.ndarray


@dataclass(frozen=True)
class SpectraAtField:
    """Spectra at one field: A without motion, B with the exchange, densities per Hz.

    Attributes:
        ppm: (point,).
        hz: (point,).
        still: A, (point,).
        moving: B, (temperature, point).
        remarks: warnings of the simulation.
    """

    ppm: np.ndarray
    hz: np.ndarray
    still: np.ndarray
    moving: np.ndarray
    remarks: tuple[str, ...]
