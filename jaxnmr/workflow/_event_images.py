"""What a crystal's symmetry makes of an event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxnmr.structure import Operation, Structure
from jaxnmr.workflow._hops import Event, fragments, nearest_steps

__all__ = ["images_of", "said_of_images"]

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


def said_of_images(
    structure: Structure, given: Sequence[Event], found: Sequence[Event], operations: Sequence[Operation], files: bool
) -> tuple[str, ...]:
    """What symmetry has made of the events, for whoever gave these or may miss others.

    Args:
        structure: the atoms whose symmetry was looked for.
        given: events before.
        found: events after.
        operations: of the structure.
        files: whether the events are of minima that were given.
    """
    if structure.cell is None or not any(structure.pbc):
        return ()
    where = fragments(structure)
    kinds = {int(m): tuple(sorted(structure.species[a] for a in np.flatnonzero(where == m))) for m in np.unique(where)}
    moved = {int(where[a]) for event in given for a in event.atoms}
    still = {m for m in kinds if m not in moved}
    equals = any(kinds[m] == kinds[other] for m in moved for other in still)
    said = (
        f"motion.symmetry: {len(operations)} operation{'s' * (len(operations) > 1)} of the first minimum made "
        f"{len(found) - len(given)} images of {len(given)} event{'s' * (len(given) > 1)}"
    )
    if len(operations) == 1 and equals:
        return (
            f"{said}; other molecules of the kind that moves have no event of their own, and rest: give theirs too if they "
            "move, or a structure whose symmetry can be seen.",
        )
    return (f"{said}.",) if files else ()


def _apart(one: np.ndarray, other: np.ndarray, structure: Structure) -> float:
    """Distance of the farthest atom, to the nearest image."""
    return float(np.linalg.norm(nearest_steps(one - other, structure), axis=-1).max())
