"""Motions of one group of molecules that are independent of each other, and the minima that they make together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxnmr.structure import Structure
from jaxnmr.workflow._hops import Event, nearest_steps

__all__ = ["MOST", "Combined", "combined", "grouped"]

# An atom that goes farther jumps, and two minima whose atoms are nearer are one, Å.
_JUMP = 0.3
MOST = 24
"""States of one group at most; more are too many for a spectrum's exchange."""


class Combined(NamedTuple):
    """Events, some of which are others done together.

    Attributes:
        events: those that were given, and then the new ones.
        parts: of each event, the events that it is made of; itself alone where it is a motion of its own.
        factors: of each event, the number of its motion: events of one motion exclude each other; -1 where it has parts.
    """

    events: tuple[Event, ...]
    parts: tuple[tuple[int, ...], ...]
    factors: tuple[int, ...]


def combined(structure: Structure, events: Sequence[Event]) -> Combined:
    """The events, and what those of one group make together.

    Events that share molecules are of one group, for each changes the surroundings of the other's atoms. Those whose jumping
    atoms (that go farther than 0.3 Å) are not the same are independent motions all the same, as the turn of a methyl group
    and the hop of a molecule's proton: a molecule may do both, one of them or none, so that every choice of at most one
    event of each motion is a minimum to look for. Where that makes more than 24 in one group, none are added.

    Args:
        structure: where the events begin.
        events: with first guesses of their ends; one that looks like others together is known as such.
    """
    start = np.asarray(structure.positions, np.float64)
    steps = [nearest_steps(np.asarray(event.positions, np.float64) - start, structure) for event in events]
    jumping = [frozenset(np.flatnonzero(_far(step)).tolist()) for step in steps]
    parts: list[tuple[int, ...]] = [(k,) for k in range(len(events))]
    for k in sorted(range(len(events)), key=lambda k: len(jumping[k])):
        parts[k] = _made_of(k, steps, jumping, [j for j in range(len(events)) if j != k and len(parts[j]) == 1])
    whole, factors = list(events), [-1] * len(events)
    number = 0
    for group in grouped(events):
        mine = [k for k in range(len(events)) if events[k].atoms[0] in group and len(parts[k]) == 1]
        motions = _motions(mine, jumping)
        for motion in motions:
            for k in motion:
                factors[k] = number
            number += 1
        if np.prod([1.0 + len(motion) for motion in motions]) > MOST:
            continue
        for chosen in itertools.product(*([None, *motion] for motion in motions)):
            some = tuple(sorted(k for k in chosen if k is not None))
            if len(some) < 2 or some in parts:
                continue
            atoms = tuple(sorted({a for k in some for a in events[k].atoms}))
            place = start + np.sum([steps[k] for k in some], axis=0)
            whole.append(Event(" and ".join(events[k].name for k in some), place, atoms, ()))
            parts.append(some)
            factors.append(-1)
    return Combined(tuple(whole), tuple(parts), tuple(factors))


def grouped(events: Sequence[Event]) -> list[set[int]]:
    """Atoms of each group: events that share atoms belong to one."""
    groups: list[set[int]] = []
    for event in events:
        others = [g for g in groups if not g & set(event.atoms)]
        shared = [g for g in groups if g & set(event.atoms)]
        groups = [*others, set(event.atoms).union(*shared)]
    return sorted(groups, key=min)


def _far(step: np.ndarray) -> np.ndarray:
    """Which atoms jump; where none goes far, those that go half as far as the farthest."""
    length = np.linalg.norm(step, axis=-1)
    return length > min(_JUMP, length.max() / 2)


def _made_of(k: int, steps: list[np.ndarray], jumping: list[frozenset[int]], others: list[int]) -> tuple[int, ...]:
    """Events that together are event k, or k alone."""
    found: list[int] = []
    left = jumping[k]
    for j in sorted(others, key=lambda j: -len(jumping[j])):
        inside = sorted(jumping[j])
        if jumping[j] < jumping[k] and jumping[j] <= left and _near(steps[j][inside], steps[k][inside]):
            found.append(j)
            left = left - jumping[j]
    together = len(found) > 1 and not left and _near(np.sum([steps[j] for j in found], axis=0), steps[k])
    return tuple(sorted(found)) if together else (k,)


def _near(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.linalg.norm(one - other, axis=-1).max() < _JUMP)


def _motions(events: list[int], jumping: list[frozenset[int]]) -> list[list[int]]:
    """Events whose jumping atoms overlap, in the order of their first."""
    motions: list[list[int]] = []
    for k in events:
        shared = [m for m in motions if any(jumping[k] & jumping[j] for j in m)]
        motions = [m for m in motions if m not in shared] + [sorted([*(j for m in shared for j in m), k])]
    return sorted(motions)
