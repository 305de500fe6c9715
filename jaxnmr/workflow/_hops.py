"""Protons that may cross their hydrogen bonds, and the connected atoms that such an event moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxnmr.structure import Structure, neighbor_pairs

__all__ = ["Bridge", "Event", "fragments", "moved_groups", "proton_hops"]

# Covalent radii of what forms molecules, Å: Cordero et al., Dalton Trans. 2832 (2008). Cations are left out.
_RADII = {"H": 0.31, "B": 0.84, "C": 0.76, "N": 0.71, "O": 0.66, "F": 0.57, "Si": 1.11, "P": 1.07, "S": 1.05}
_RADII |= {"Cl": 1.02, "As": 1.19, "Se": 1.20, "Br": 1.20, "I": 1.39}
_ENDS = frozenset({"N", "O", "F", "S", "Cl"})
# Bonds are up to a quarter longer than the radii say. Of a hydrogen bond: its bond, its contact, Å, and the cosine at H.
_STRETCH, _BOND, _CONTACT, _STRAIGHT = 1.25, 1.35, 2.3, -0.64


class Bridge(NamedTuple):
    """A proton between two atoms; where these are, in the images next to it, Å."""

    proton: int
    donor: int
    acceptor: int
    donor_at: np.ndarray
    acceptor_at: np.ndarray

    def across(self, position: np.ndarray) -> np.ndarray:
        """Where the proton goes: as far from the acceptor as it was from the donor."""
        return self.acceptor_at - (position - self.donor_at)

    def coordinate(self, positions: np.ndarray) -> float:
        """How far the proton has gone, d(donor) - d(acceptor), Å, where no atom moves by half a cell."""
        proton = positions[self.proton]
        # The ends follow their atoms: the image's shift stays.
        return float(np.linalg.norm(proton - self.donor_at) - np.linalg.norm(proton - self.acceptor_at))

    def moved(self, before: np.ndarray, after: np.ndarray) -> Bridge:
        """The same bridge after its atoms have moved."""
        donor = self.donor_at + after[self.donor] - before[self.donor]
        acceptor = self.acceptor_at + after[self.acceptor] - before[self.acceptor]
        return self._replace(donor_at=donor, acceptor_at=acceptor)


class Event(NamedTuple):
    """A move to another minimum: a first guess of it, and the atoms whose surroundings it changes."""

    name: str
    positions: np.ndarray
    atoms: tuple[int, ...]
    bridges: tuple[Bridge, ...]


def fragments(structure: Structure) -> np.ndarray:
    """Number of the molecule that each atom belongs to, (atom,)."""
    i, j, _, distance = neighbor_pairs(structure, 2 * max(_RADII.values()) * _STRETCH)
    radius = np.array([_RADII.get(symbol, 0.0) for symbol in structure.species])
    bound = (radius[i] > 0) & (radius[j] > 0) & (distance < _STRETCH * (radius[i] + radius[j]))
    return _joined(len(structure), zip(i[bound], j[bound], strict=True))


def proton_hops(structure: Structure) -> tuple[Event, ...]:
    """One event for each group of molecules that hydrogen bonds join: all its protons cross together.

    Each proton goes to the mirror position on the other side of its bridge. A chain of molecules without end is one group.

    Raises:
        ValueError: no proton has an acceptor.
    """
    bridges = _bridges(structure)
    if not bridges:
        raise ValueError(
            "motion.hops: no hydrogen has a second N, O, F, S or Cl within 2.3 Å and straight enough; give motion.ends, "
            "or check that the structure has its hydrogens."
        )
    molecule = fragments(structure)
    of = _joined(int(molecule.max()) + 1, ((molecule[b.donor], molecule[b.acceptor]) for b in bridges))
    positions, events = np.asarray(structure.positions, np.float64), []
    for group in sorted({int(of[molecule[b.donor]]) for b in bridges}):
        mine = tuple(b for b in bridges if of[molecule[b.donor]] == group)
        guess = positions.copy()
        for bridge in mine:
            guess[bridge.proton] = bridge.across(positions[bridge.proton])
        atoms = tuple(int(k) for k in np.flatnonzero(of[molecule] == group))
        name = "protons " + ", ".join(structure.names[b.proton] for b in mine)
        events.append(Event(name, guess, atoms, mine))
    return tuple(events)


def moved_groups(structure: Structure, ends: Sequence[Structure], least: float = 0.3) -> tuple[Event, ...]:
    """Events of minima that are given: each moves the molecules of all atoms that go farther than `least`, Å.

    Raises:
        ValueError: other atoms or another cell, or an end in which nothing has moved.
    """
    molecule = fragments(structure)
    start, events = np.asarray(structure.positions, np.float64), []
    for k, end in enumerate(ends):
        if end.species != structure.species:
            raise ValueError(f"motion.ends[{k}]: has other atoms than the structure, or in another order; correct it.")
        step = np.asarray(end.positions, np.float64) - start
        if structure.cell is not None:
            cell = np.asarray(structure.cell, np.float64)
            if end.cell is None or not np.allclose(np.asarray(end.cell), cell, atol=1e-4):
                raise ValueError(f"motion.ends[{k}]: has another cell than the structure; minimise both in one cell.")
            step -= np.round(step @ np.linalg.inv(cell)) @ cell
        far = np.linalg.norm(step, axis=1) > least
        if not far.any():
            raise ValueError(f"motion.ends[{k}]: no atom is {least} Å from where it was; give another minimum.")
        atoms = tuple(int(a) for a in np.flatnonzero(np.isin(molecule, molecule[far])))
        events.append(Event(f"end {k}", start + step, atoms, ()))
    return tuple(events)


def _bridges(structure: Structure) -> tuple[Bridge, ...]:
    i, j, shifts, distance = neighbor_pairs(structure, _CONTACT)
    positions = np.asarray(structure.positions, np.float64)
    cell = np.zeros((3, 3)) if structure.cell is None else np.asarray(structure.cell, np.float64)
    able, found = np.array([symbol in _ENDS for symbol in structure.species]), []
    for proton in (k for k, symbol in enumerate(structure.species) if symbol == "H"):
        near = np.flatnonzero((i == proton) & able[j])
        near = near[np.argsort(distance[near])]
        if len(near) < 2 or distance[near[0]] > _BOND:
            continue
        at = positions[j[near]] + shifts[near] @ cell
        arms = (at - positions[proton]) / distance[near][:, None]
        for k in range(1, len(near)):
            if arms[k] @ arms[0] < _STRAIGHT:
                found.append(Bridge(proton, int(j[near[0]]), int(j[near[k]]), at[0], at[k]))
                break
    return tuple(found)


def _joined(n: int, pairs) -> np.ndarray:
    """Numbers of the connected parts, from 0, in the order of their first members."""
    root = list(range(n))

    def top(a: int) -> int:
        while root[a] != a:
            root[a] = root[root[a]]
            a = root[a]
        return a

    for a, b in pairs:
        a, b = top(int(a)), top(int(b))
        root[max(a, b)] = min(a, b)
    order = {r: k for k, r in enumerate(sorted({top(a) for a in range(n)}))}
    return np.array([order[top(a)] for a in range(n)])
