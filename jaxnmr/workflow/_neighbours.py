"""Groups that feel each other: which pairs of events to look at together, and what these cost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxnmr.dynamics import Surface, minimise
from jaxnmr.structure import Structure, symmetries
from jaxnmr.workflow._atoms import FORCE, forces_to
from jaxnmr.workflow._folder import Store
from jaxnmr.workflow._hops import nearest_steps
from jaxnmr.workflow._records import Couple, Ends, Neighbours, Together

__all__ = ["MOST_PAIRS", "couples", "neighbours_of", "together"]

MOST_PAIRS = 64
"""Kinds of pairs that are looked at; nearest first."""
# Where symmetry takes an atom to within so much of another it is that one, and a minimum to within so much of an end, Å.
_WITHIN, _SAME = 0.03, 0.1
# Ends of one event that symmetry makes of another have the same energy, eV.
_LEVEL = 5e-4
# Atoms that go farther make an event. A pair whose atoms come to rest farther from where the two events alone take them has
# fallen into another minimum, Å.
_JUMP, _AWAY = 0.3, 0.3


def neighbours_of(
    store: Store,
    depends: Mapping[str, Any],
    surface: Surface,
    first: Structure,
    level: float,
    ends: Ends,
    used: Sequence[int],
) -> Neighbours:
    """What events do to each other's energies: one pair after the other, each kept, and all events at once.

    Args:
        store: keeps each.
        depends: what they are made from.
        surface: the surface.
        first: the first minimum.
        level: its energy, eV.
        ends: minima of the events.
        used: events that have rates.
    """

    def looked_at(name: str, some: tuple[int, ...]) -> Together:
        inside = dict(depends) | {"events": some}
        return store.step(
            name, Together, inside, lambda: together(surface, first, level, ends, some, store.within(name))
        ).record

    found, looked = couples(first, ends, used), {}
    for k in list(dict.fromkeys(couple.like for couple in found))[:MOST_PAIRS]:
        one, other = found[k].events
        looked[k] = looked_at(f"ends-{one}-{other}", (one, other))
    groups, whole = [ends.groups[k] for k in used], None
    if found and len(set(groups)) == len(groups):  # with one event each there is one way for all to happen
        whole = looked[0] if len(groups) == 2 else looked_at("ends-all", tuple(used))
    return filled(found, looked, whole)


def filled(found: Sequence[Couple], looked: Mapping[int, Together], whole: Together | None) -> Neighbours:
    """Couples with the energies of those that were looked at, each for all that are like it.

    Args:
        found: from `couples`.
        looked: by their place in that list.
        whole: all events at once, where somebody has looked.
    """
    there = [looked.get(couple.like) for couple in found]
    states = tuple("not looked at" if pair is None else _state(pair) for pair in there)
    energies = [pair.energy_ev if pair is not None and _state(pair) == "minimum" else np.nan for pair in there]
    state = "not looked at" if whole is None else _state(whole)
    place = whole.positions if whole is not None and state == "minimum" else np.zeros((0, 3))
    return Neighbours(tuple(found), np.array(energies, np.float64), states, place, state)


def _state(pair: Together) -> str:
    return "not converged" if not pair.converged else "minimum" if pair.away_a < _AWAY else "none"


def couples(structure: Structure, ends: Ends, used: Sequence[int]) -> tuple[Couple, ...]:
    """Pairs of events of different groups, the nearest first, and which of them the crystal's symmetry makes alike.

    Args:
        structure: the first minimum.
        ends: minima of the events.
        used: events that have rates.
    """
    first = np.asarray(structure.positions, np.float64)
    steps = [nearest_steps(ends.positions[k] - first, structure) for k in used]
    lengths = [np.linalg.norm(step, axis=-1) for step in steps]
    # Atoms that make the event, and not those that make room for it.
    jumping = [np.flatnonzero(far > min(_JUMP, far.max() / 2)) for far in lengths]
    pairs = [(a, b) for a, b in itertools.combinations(range(len(used)), 2) if ends.groups[used[a]] != ends.groups[used[b]]]
    if not pairs:
        return ()

    def apart(a: int, b: int) -> float:
        gaps = first[jumping[a]][:, None] - first[jumping[b]][None]
        return float(np.linalg.norm(nearest_steps(gaps, structure), axis=-1).min())

    distance = {pair: apart(*pair) for pair in pairs}
    images = _images(structure, ends, used, steps)
    pairs.sort(key=lambda pair: (round(distance[pair], 2), pair))
    place = {pair: k for k, pair in enumerate(pairs)}
    like = list(range(len(pairs)))
    for k, (a, b) in enumerate(pairs):
        if like[k] != k:
            continue
        for image in images:
            there = place.get((min(image[a], image[b]), max(image[a], image[b])))
            if there is not None and there > k:
                like[there] = k
    return tuple(Couple((used[a], used[b]), like[k], distance[a, b]) for k, (a, b) in enumerate(pairs))


def _images(structure: Structure, ends: Ends, used: Sequence[int], steps: Sequence[np.ndarray]) -> list[list[int]]:
    """By each operation of the crystal, the place in `used` of every event's image; -1 where there is none."""
    try:
        operations = symmetries(structure, within=_WITHIN)
    except ImportError:  # without spglib every pair is looked at
        return []
    found = []
    for turn, order in operations:
        row = []
        for a, step in enumerate(steps):
            turned = np.zeros_like(step)
            turned[order] = step @ turn
            level = ends.energies[used[a]]
            near = (
                b
                for b, other in enumerate(steps)
                if np.abs(turned - other).max() < _SAME and abs(level - ends.energies[used[b]]) < _LEVEL
            )
            row.append(next(near, -1))
        found.append(row)
    return found


def together(
    surface: Surface, first: Structure, level: float, ends: Ends, events: Sequence[int], told: Callable[[str], None]
) -> Together:
    """The minimum in which events of different groups have happened.

    Args:
        surface: the surface.
        first: the first minimum.
        level: its energy, eV.
        ends: minima of the events.
        events: which.
        told: is told how far it is.
    """
    start = np.asarray(first.positions, np.float64)
    guess = start + sum(nearest_steps(ends.positions[k] - start, first) for k in events)
    found = minimise(surface, guess, max_force=FORCE, max_steps=3000, throw=False, progress=forces_to(told))
    place = np.asarray(found.positions, np.float64)
    away = float(np.linalg.norm(nearest_steps(place - guess, first), axis=-1).max())
    energy = float(found.energy) - level - float(ends.energies[list(events)].sum())
    return Together(place, energy, away, bool(found.converged), int(found.evaluations))
