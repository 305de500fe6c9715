"""What turns and shifts take a crystal onto itself, and the events that they make of one event."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from jaxnmr.structure import Structure
from jaxnmr.workflow._hops import Event

__all__ = ["images_of", "symmetries"]

# How far an atom may lie from the image of another, Å; two events whose atoms end nearer than this are one.
_TOLERANCE, _SAME = 0.1, 0.1
# Bases of lattices in use are reduced enough for whole numbers up to one.
_TURNS = np.array(list(itertools.product((-1, 0, 1), repeat=9)), int).reshape(-1, 3, 3)

Operation = tuple[np.ndarray, np.ndarray]


def symmetries(structure: Structure) -> list[Operation]:
    r"""Operations that leave the crystal as it is, up to 0.1 Å: turn of a step, and where each atom goes.

    With rows of L the lattice vectors, fractions f go to f M + t, M of whole numbers with $M L L^T M^T = L L^T$, and a step
    d of atom a becomes the step $d\,L^{-1} M L$ of atom `order[a]`. Shifts by vectors of a smaller cell are among them. The
    identity comes first; it is alone where the structure does not repeat in all directions.

    Args:
        structure: the atoms.
    """
    n = len(structure)
    identity = (np.eye(3), np.arange(n))
    if structure.cell is None or not all(structure.pbc):
        return [identity]
    cell = np.asarray(structure.cell, np.float64)
    metric, species = cell @ cell.T, np.array(structure.species)
    size = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    turned = np.einsum("mij,jk,mlk->mil", _TURNS, metric, _TURNS)
    turns = _TURNS[(np.abs(turned - metric) / size < 1e-3).all(axis=(1, 2))]
    fractions = np.asarray(structure.positions, np.float64) @ np.linalg.inv(cell)
    # Of the rarest element, so that few shifts come into question.
    rare = min(set(structure.species), key=structure.species.count)
    candidates = np.flatnonzero(species == rare)
    found = []
    for turn in turns:
        moved = fractions @ turn
        for target in candidates:
            order = _order(moved + fractions[target] - moved[candidates[0]], fractions, species, cell)
            if order is not None:
                found.append((np.linalg.inv(cell) @ turn @ cell, order))
    found.sort(key=lambda each: (np.abs(each[0] - np.eye(3)).max() > 1e-6, (each[1] != np.arange(n)).any()))
    return found


def images_of(structure: Structure, events: Sequence[Event], operations: Sequence[Operation]) -> tuple[Event, ...]:
    """The events and all that symmetry makes of them, each once; those that have bridges are left as they are.

    Args:
        structure: where the events begin.
        events: with first guesses of their ends.
        operations: from `symmetries`.
    """
    start, found = np.asarray(structure.positions, np.float64), list(events)
    for event in events:
        if event.bridges:
            continue
        step, count = event.positions - start, 0
        for turn, order in operations:
            place = start.copy()
            place[order] += step @ turn
            if any(_apart(place, other.positions, structure) < _SAME for other in found):
                continue
            count += 1
            atoms = tuple(sorted(int(a) for a in order[list(event.atoms)]))
            found.append(Event(f"{event.name}, image {count}", place, atoms, ()))
    return tuple(found)


def _order(moved: np.ndarray, fractions: np.ndarray, species: np.ndarray, cell: np.ndarray) -> np.ndarray | None:
    """Which atom lies where each one went, or None where there is none."""
    order = np.full(len(moved), -1)
    for symbol in set(species.tolist()):
        mine = np.flatnonzero(species == symbol)
        gap = moved[mine][:, None] - fractions[mine][None]
        distance = np.linalg.norm((gap - np.round(gap)) @ cell, axis=-1)
        nearest = distance.argmin(axis=1)
        if distance[np.arange(len(mine)), nearest].max() > _TOLERANCE or len(set(nearest.tolist())) < len(mine):
            return None
        order[mine] = mine[nearest]
    return order


def _apart(one: np.ndarray, other: np.ndarray, structure: Structure) -> float:
    """Distance of the farthest atom, to the nearest image."""
    gap = one - other
    if structure.cell is not None:
        cell = np.asarray(structure.cell, np.float64)
        gap = gap - np.round(gap @ np.linalg.inv(cell)) @ cell
    return float(np.linalg.norm(gap, axis=-1).max())
