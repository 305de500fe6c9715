"""What each stage hands on: frozen, of arrays in NumPy, numbers, strings and tuples, so that a file holds all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

__all__ = [
    "Band",
    "Couple",
    "Ends",
    "ExchangeOfNuclei",
    "Explored",
    "Neighbours",
    "Point",
    "RatesOfEvents",
    "Recrossed",
    "Relaxed",
    "Sampled",
    "SpectraAtField",
    "TensorsOfStates",
    "Together",
]


@dataclass(frozen=True)
class Relaxed:
    """The first minimum: positions, Å, (atom, 3); energy, eV; largest force, eV/Å."""

    positions: np.ndarray
    energy: float
    max_force: float
    evaluations: int


@dataclass(frozen=True)
class Explored:
    """Minima that a search has found, lowest first, without the one that it started from.

    Attributes:
        positions: Å, (minimum, atom, 3).
        energies: above the first minimum, eV, (minimum,).
        visits: how often each was reached, (minimum,).
        above: how many more lie above the window.
        evaluations: of forces.
    """

    positions: np.ndarray
    energies: np.ndarray
    visits: np.ndarray
    above: int
    evaluations: int


@dataclass(frozen=True)
class Ends:
    """The minima that events lead to.

    Attributes:
        names: of the events.
        positions: Å, (event, atom, 3).
        energies: above the first minimum, eV, (event,).
        distinct: (event,), whether the minimum is another one than the first and than those of earlier events; others are
            left out.
        same_as: (event,), the first event that looks the same in energy and fingerprint, itself if there is none.
        groups: number of the group of atoms that each event moves.
        atoms: of each group.
        parts: of each event, the events that it is made of, itself alone where it is a motion of its own; empty if all are.
        factors: number of each event's motion, of which the others of the group are independent, -1 where it has parts;
            empty where the events of each group exclude each other.
    """

    names: tuple[str, ...]
    positions: np.ndarray
    energies: np.ndarray
    distinct: np.ndarray
    same_as: np.ndarray
    groups: tuple[int, ...]
    atoms: tuple[tuple[int, ...], ...]
    parts: tuple[tuple[int, ...], ...] = ()
    factors: tuple[int, ...] = ()

    def alone(self, event: int) -> bool:
        """Whether an event is a motion of its own, with a saddle and a rate."""
        return not self.parts or len(self.parts[event]) == 1

    def basins(self, group: int, used: Sequence[int]) -> tuple[list[int], list[int]]:
        """Of a group: its events that have rates, and the minima that these make together.

        Args:
            group: which.
            used: events that have rates.
        """
        mine = [k for k in used if self.groups[k] == group]
        both = [
            k
            for k, some in enumerate(self.parts)
            if len(some) > 1 and self.groups[k] == group and self.distinct[k] and set(some) <= set(mine)
        ]
        return mine, both


@dataclass(frozen=True)
class Together:
    """Where the atoms come to rest when events of different groups have all happened.

    Attributes:
        positions: Å, (atom, 3).
        energy_ev: above the sum of what each costs alone.
        away_a: how far an atom lies from where each of them alone would take it.
        converged: whether they came to rest.
        evaluations: of forces.
    """

    positions: np.ndarray
    energy_ev: float
    away_a: float
    converged: bool
    evaluations: int


class Couple(NamedTuple):
    """Two events of different groups.

    Attributes:
        events: both.
        like: place in the list of the first couple that symmetry takes to this one; its own where there is none.
        distance: between the nearest of the atoms that jump, Å.
    """

    events: tuple[int, int]
    like: int
    distance: float


@dataclass(frozen=True)
class Neighbours:
    r"""How events of different groups change each other's energies, $W_{kl} = E_{kl} - E_k - E_l$.

    Attributes:
        couples: all of them, the nearest first.
        energies: W of each, eV; NaN where it is not known.
        states: of each: "minimum" where both events together are one, "none" where the atoms fall elsewhere, "not
            converged", or "not looked at".
        whole: the minimum in which all events have happened, Å, (atom, 3); no atom where there is none.
        whole_state: of all events at once, as of couples.
    """

    couples: tuple[Couple, ...]
    energies: np.ndarray
    states: tuple[str, ...]
    whole: np.ndarray
    whole_state: str

    def matrix(self, count: int) -> np.ndarray:
        """W of all events, eV, (event, event); zero where it is not known, as of events that do not feel each other."""
        found = np.zeros((count, count))
        for couple, energy in zip(self.couples, self.energies, strict=True):
            if np.isfinite(energy):
                found[couple.events] = found[couple.events[::-1]] = energy
        return found


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
        alone_at: where the atoms come to rest if of several protons only one crosses, proton by proton: "first", "end", a
            minimum "between" them, or "nowhere".
        alone_ev: energies there, above the first minimum.
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
    alone_at: tuple[str, ...] = ()
    alone_ev: tuple[float, ...] = ()


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
        log_whole: logarithm of the share of the minimum in which all events have happened beside that of the first,
            (temperature,); none where it was not looked at.
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
    log_whole: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Recrossed:
    """How many crossings of a saddle stay across, see `jaxnmr.rates.Transmission`.

    Attributes:
        value: the coefficient, (temperature,).
        stderr: of it.
        effective: how many of the starts count.
        anharmonic: exact over harmonic partition function on the dividing plane.
        time: fs, (time,).
        series: the coefficient as it comes to its plateau, (temperature, time).
    """

    value: np.ndarray
    stderr: np.ndarray
    effective: np.ndarray
    anharmonic: np.ndarray
    time: np.ndarray
    series: np.ndarray


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
        shielding_parts: standard deviations of what belongs to the isotropic, the antisymmetric and the symmetric traceless
            part, relative to those of elements that err alike and independently, (3,).
    """

    nuclei: tuple[int, ...]
    names: tuple[str, ...]
    shielding: np.ndarray
    efg: np.ndarray
    shielding_error: np.ndarray
    efg_error: np.ndarray
    shielding_parts: np.ndarray


@dataclass(frozen=True)
class ExchangeOfNuclei:
    """The exchange of each nucleus: its states are the basins of its own group.

    Attributes:
        group: of each nucleus; -1 where nothing moves it.
        states: of each group, (group, state): 0 for the first minimum, 1 + event for others, -1 beyond the last.
        populations: (temperature, group, state).
        rates: [t, g, i, j] from state j to i, s⁻¹, zero where i = j or no jump is known.
        through: [g, i, j], the event whose barrier a jump crosses; -1 where none is known.
        counted: where rates are those that the motion has counted, the relative standard errors of rate and of ratio of
            populations; NaN where they are the saddles', (temperature, group, 2).
        treatment: of what other groups do: over all states, "exact", in a "mean field", "alone" where there are none, or
            "still" where they stay in the first minimum.
        felt_ev: what neighbours that hop as well add to the free energy of each basin, eV, (temperature, group, state); no
            temperature where that was not looked at.
        other_order_ev: free energy of the order that is found from all groups hopped, above that of the one taken,
            (temperature,); negative where the first minimum's order is the less stable one.
        settled: whether the shares among neighbours were found, (temperature,).
    """

    group: np.ndarray
    states: np.ndarray
    populations: np.ndarray
    rates: np.ndarray
    through: np.ndarray
    counted: np.ndarray
    treatment: str = "still"
    felt_ev: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))
    other_order_ev: np.ndarray = field(default_factory=lambda: np.zeros(0))
    settled: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))


@dataclass(frozen=True)
class Sampled:
    """Averages over the motion in each basin at one temperature; NaN where there is nothing to average.

    A moment belongs to the basin whose core the group entered last, and averages are over the moments in one basin: hops
    from basin to basin are in no average, and the exchange counts them once.

    Attributes:
        kelvin: the bath's temperature.
        found_kelvin: the motion's mean temperature, with its standard error, (2,).
        length_ps: of each replica, without what was passed over.
        replicas: how many.
        shielding: ppm, (state, nucleus, 3, 3), states as in `TensorsOfStates`.
        efg: atomic units, (state, nucleus, 3, 3).
        shielding_stderr: standard error of the mean, ppm, (state, nucleus, 3, 3).
        efg_stderr: atomic units.
        shielding_spread: standard deviation of an element of one sample, ppm, (state, nucleus).
        efg_spread: atomic units.
        time_fs: longest correlation time of the tensors' elements, (state, nucleus).
        spent_ps: time of all replicas in each of a group's basins, (group, basin).
        jumps: [g, i, j] from basin j to i of group g.
        rates: counted, s⁻¹, [g, i, j] from j to i; NaN where there were too few jumps to tell.
        rates_stderr: of these.
        populations: of a group's basins, by detailed balance with the counts, (group, basin).
    """

    kelvin: float
    found_kelvin: np.ndarray
    length_ps: float
    replicas: int
    shielding: np.ndarray
    efg: np.ndarray
    shielding_stderr: np.ndarray
    efg_stderr: np.ndarray
    shielding_spread: np.ndarray
    efg_spread: np.ndarray
    time_fs: np.ndarray
    spent_ps: np.ndarray
    jumps: np.ndarray
    rates: np.ndarray
    rates_stderr: np.ndarray
    populations: np.ndarray


@dataclass(frozen=True)
class SpectraAtField:
    """Spectra at one field, densities per Hz.

    Attributes:
        ppm: (point,).
        hz: (point,).
        still: A, without motion, (point,).
        moving: B, with the exchange, (temperature, point).
        fast: C, of averaged tensors without exchange, (temperature, point); no temperature without sampling.
        both: D, of averaged tensors with the exchange, (temperature, point); likewise.
        low: lower end of the band about D, or about B without sampling, (temperature, point); none without errors.
        high: upper end.
        remarks: warnings of the simulation.
    """

    ppm: np.ndarray
    hz: np.ndarray
    still: np.ndarray
    moving: np.ndarray
    fast: np.ndarray
    both: np.ndarray
    low: np.ndarray
    high: np.ndarray
    remarks: tuple[str, ...]
