"""Protons that may cross their hydrogen bonds, and the connected atoms that such an event moves."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxnmr.dynamics import nearest_image
from jaxnmr.errors import JaxnmrWarning
from jaxnmr.structure import Structure, neighbor_pairs

__all__ = ["Bridge", "Event", "fragments", "moved_groups", "nearest_steps", "proton_hops"]

# Covalent radii of what forms molecules, Å: Cordero et al., Dalton Trans. 2832 (2008). Cations are left out.
_RADII = {"H": 0.31, "B": 0.84, "C": 0.76, "N": 0.71, "O": 0.66, "F": 0.57, "Si": 1.11, "P": 1.07, "S": 1.05}
_RADII |= {"Cl": 1.02, "As": 1.19, "Se": 1.20, "Br": 1.20, "I": 1.39}
_ENDS = frozenset({"N", "O", "F", "S", "Cl"})
# Bonds are up to a quarter longer than the radii say. Of a hydrogen bond: its bond, its contact, Å, and the cosine at H.
_STRETCH, _BOND, _CONTACT, _STRAIGHT = 1.25, 1.35, 2.3, -0.64
# Longest ring of molecules whose protons are tried together, and how many events are tried at all.
_RING, _MOST = 6, 48
# Molecules that move together where they are nearer than this, Å; and more than half the atoms that go alike are a drift.
_TOUCH, _ALIKE = 4.0, 0.1


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
    """Moves of protons across their hydrogen bonds, each to the mirror position on the other side of its bridge.

    Around a closed ring of up to six molecules, as a dimer, every molecule loses and gains as many protons, so that all
    cross together in one event. A bridge that is in no ring is an event of its own, which leaves ions; where chains without
    end have no ring, a warning says that their common hop is not tried, for its barrier grows with the cell.

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
    positions, events = np.asarray(structure.positions, np.float64), []
    rings = _rings(bridges, molecule, structure)
    inside = {bridge.proton for ring in rings for bridge in ring}
    alone = [(bridge,) for bridge in bridges if bridge.proton not in inside]
    for mine in sorted((*rings, *alone), key=lambda some: min(b.donor for b in some)):
        guess = positions.copy()
        for bridge in mine:
            guess[bridge.proton] = bridge.across(positions[bridge.proton])
        moved = {int(molecule[end]) for b in mine for end in (b.donor, b.acceptor)}
        atoms = tuple(int(k) for k in np.flatnonzero(np.isin(molecule, sorted(moved))))
        name = "protons " + ", ".join(structure.names[b.proton] for b in mine)
        events.append(Event(name, guess, atoms, mine))
    if any(len({int(molecule[b.donor]) for b in bridges if molecule[b.acceptor] == m}) for m in _both(alone, molecule)):
        warnings.warn(
            f"motion.hops: {len(alone)} hydrogen bonds are in no closed ring of up to {_RING} molecules but in chains; each "
            "proton is tried alone, and a common hop along a chain is not: give motion.ends for that.",
            JaxnmrWarning,
            stacklevel=2,
        )
    if len(events) > _MOST:
        warnings.warn(
            f"motion.hops: {len(events)} moves of protons are possible; the first {_MOST} are tried. Give motion.ends for "
            "others.",
            JaxnmrWarning,
            stacklevel=2,
        )
    return tuple(events[:_MOST])


def _both(alone: Sequence[tuple[Bridge, ...]], molecule: np.ndarray) -> set[int]:
    """Molecules that lose a proton to one neighbour and gain one from another, by bridges that are in no ring."""
    bridges = [bridge for (bridge,) in alone]
    return {int(molecule[b.donor]) for b in bridges} & {int(molecule[b.acceptor]) for b in bridges}


def _rings(bridges: Sequence[Bridge], molecule: np.ndarray, structure: Structure) -> list[tuple[Bridge, ...]]:
    """Closed rings of bridges, shortest first, each bridge in at most one; a chain through the cell's edge is none."""
    leaving: dict[int, list[Bridge]] = {}
    for bridge in bridges:
        leaving.setdefault(int(molecule[bridge.donor]), []).append(bridge)
    positions = np.asarray(structure.positions, np.float64)
    whole = _wholes(structure, molecule)

    def walks(path: tuple[Bridge, ...], shift: np.ndarray) -> Iterator[tuple[Bridge, ...]]:
        here = int(molecule[path[-1].acceptor])
        if here == int(molecule[path[0].donor]):
            if np.linalg.norm(shift) < _ALIKE:
                yield path
            return
        if len(path) < _RING and here not in {int(molecule[b.donor]) for b in path}:
            for bridge in leaving.get(here, ()):
                yield from walks((*path, bridge), shift + leap(bridge))

    def leap(bridge: Bridge) -> np.ndarray:
        """By which vector of the lattice a bridge leaves the copy of its molecules that is whole in one place."""
        way = (bridge.acceptor_at - positions[bridge.acceptor]) - (bridge.donor_at - positions[bridge.donor])
        return way + whole[bridge.donor] - whole[bridge.acceptor]

    found = [ring for bridge in bridges for ring in walks((bridge,), leap(bridge))]
    rings, taken = [], set()
    for ring in sorted(found, key=lambda ring: (len(ring), min(b.proton for b in ring))):
        if not taken & {b.proton for b in ring}:
            taken |= {b.proton for b in ring}
            rings.append(ring)
    return rings


def _wholes(structure: Structure, molecule: np.ndarray) -> np.ndarray:
    """Shifts that bring each molecule's atoms into one piece, Å, (atom, 3)."""
    i, j, shifts, distance = neighbor_pairs(structure, 2 * max(_RADII.values()) * _STRETCH)
    radius = np.array([_RADII.get(symbol, 0.0) for symbol in structure.species])
    bound = (radius[i] > 0) & (radius[j] > 0) & (distance < _STRETCH * (radius[i] + radius[j]))
    cell = np.zeros((3, 3)) if structure.cell is None else np.asarray(structure.cell, np.float64)
    near: dict[int, list[tuple[int, np.ndarray]]] = {}
    for a, b, s in zip(i[bound], j[bound], shifts[bound], strict=True):
        near.setdefault(int(a), []).append((int(b), s @ cell))
    whole, seen = np.zeros((len(molecule), 3)), set()
    for start in range(len(molecule)):
        queue = [] if start in seen else [start]
        seen.update(queue)
        while queue:
            atom = queue.pop()
            for other, shift in near.get(atom, ()):
                if other not in seen:
                    seen.add(other)
                    whole[other] = whole[atom] + shift
                    queue.append(other)
    return whole


def moved_groups(structure: Structure, ends: Sequence[Structure], least: float = 0.3) -> tuple[Event, ...]:
    """Events of minima that are given: each moves the molecules of all atoms that go farther than `least`, Å.

    Molecules that move without touching each other (nearer than 4 Å) move independently: an end that has several such
    becomes several events. A drift of all atoms together is taken off.

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
            step = nearest_steps(step, structure)
        drift = np.median(step, axis=0)
        if (np.linalg.norm(step - drift, axis=1) < _ALIKE).mean() > 0.5:
            step = step - drift
        far = np.linalg.norm(step, axis=1) > least
        if not far.any():
            raise ValueError(f"motion.ends[{k}]: no atom is {least} Å from where it was; give another minimum.")
        moved = np.isin(molecule, molecule[far])
        i, j, _, _ = neighbor_pairs(structure, _TOUCH)
        touching = moved[i] & moved[j]
        bonds = [*zip(i[touching], j[touching], strict=True), *zip(np.arange(len(molecule)), _heads(molecule), strict=True)]
        part = _joined(len(molecule), bonds)
        parts = sorted({int(p) for p in part[moved]})
        for number, p in enumerate(parts):
            mine = moved & (part == p)
            name = f"end {k}" if len(parts) == 1 else f"end {k}, part {number}"
            place = start + (step if len(parts) == 1 else step * mine[:, None])
            events.append(Event(name, place, tuple(int(a) for a in np.flatnonzero(mine)), ()))
    return tuple(events)


def nearest_steps(steps: np.ndarray, structure: Structure) -> np.ndarray:
    """Steps to the nearest images along the vectors that repeat, Å, (..., 3)."""
    if structure.cell is None:
        return steps
    a, b, c = (bool(along) for along in structure.pbc)
    return nearest_image(steps, np.asarray(structure.cell, np.float64), (a, b, c))


def _heads(molecule: np.ndarray) -> np.ndarray:
    """The first atom of each atom's molecule."""
    return np.array([int(np.argmax(molecule == m)) for m in molecule])


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
