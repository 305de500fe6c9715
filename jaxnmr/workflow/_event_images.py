"""What a crystal's symmetry makes of an event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxnmr.structure import Operation, Structure
from jaxnmr.workflow._hops import Event

__all__ = ["images_of"]

# Two events whose atoms end nearer than this are one, Å.
_SAME = 0.1


def images_of(structure: Structure, events: Sequence[Event], operations: Sequence[Operation]) -> tuple[Event, ...]:
    """The events and all that symmetry makes of them, each once; those that have bridges are left as they are.

    Args:
        structure: where the events begin.
        events: with first guesses of their ends.
        operations: from `jaxnmr.structure.symmetries`.
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


def _apart(one: np.ndarray, other: np.ndarray, structure: Structure) -> float:
    """Distance of the farthest atom, to the nearest image."""
    gap = one - other
    if structure.cell is not None:
        cell = np.asarray(structure.cell, np.float64)
        gap = gap - np.round(gap @ np.linalg.inv(cell)) @ cell
    return float(np.linalg.norm(gap, axis=-1).max())
