"""The stages on the potential-energy surface: minima, saddles between them, and vibrations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np

from jaxnmr.dynamics import (
    Path,
    SearchError,
    Surface,
    Vibrations,
    dimer,
    fingerprint,
    minimise,
    nearest_image,
    neb,
    vibrations,
)
from jaxnmr.structure import ELEMENTS
from jaxnmr.workflow._combined import Combined, grouped
from jaxnmr.workflow._config import Motion
from jaxnmr.workflow._hops import Event
from jaxnmr.workflow._records import Band, Ends, Point, Relaxed
from jaxnmr.workflow._refine import Top, columns_to, refined

__all__ = ["FORCE", "between", "check_joined", "forces_to", "point_at", "relaxed", "settled", "vibrations_of"]

# Vibrations of 50 cm⁻¹ are right to a few per cent at points that are stationary to so much, eV/Å.
FORCE = 5e-4
# Coordinates up to which a whole Hessian costs less than what a dimer takes to compile.
_SMALL = 200
# Minima nearer than this are one, Å and eV.
_NEAR, _LEVEL = 0.05, 5e-4
# Of two events that look the same the atoms go ways whose lengths differ by less, Å.
_WAY = 0.15
# A descent that is less exact ends in the minimum that it comes so near to, Å; and by which part of the way it is pushed.
_ASIDE, _PUSH = 0.2, 0.1


def relaxed(surface: Surface, positions: np.ndarray, told: Callable[[str], None]) -> Relaxed:
    """Down to the first minimum.

    Args:
        surface: the surface.
        positions: where to start, Å.
        told: is told how far it is.

    Raises:
        SearchError: not reached.
    """
    found = minimise(surface, positions, max_force=FORCE, max_steps=3000, progress=forces_to(told))
    return Relaxed(_array(found.positions), float(found.energy), float(found.max_force), int(found.evaluations))


def settled(surface: Surface, first: Relaxed, before: np.ndarray, all_of: Combined, told: Callable[[str], None]) -> Ends:
    """Down to the minimum of each event.

    Args:
        surface: the surface.
        first: the first minimum.
        before: positions that the events' guesses were made from, Å.
        all_of: the events, alone and together.
        told: is told how far it is.

    Raises:
        SearchError: one was not reached.
    """
    events = all_of.events
    groups = grouped(events)
    places, energies, prints, ways = [], [], [], []
    weights = None
    if surface.species is not None:
        weights = np.sqrt([1.0 + ELEMENTS.index(symbol) for symbol in surface.species])
    for k, event in enumerate(events):
        heard = forces_to(told, f"minimum {k + 1} of {len(events)}, ")
        guess = first.positions + (event.positions - before)
        found = minimise(surface, guess, max_force=FORCE, max_steps=3000, progress=heard)
        places.append(_array(found.positions))
        energies.append(float(found.energy) - first.energy)
        prints.append(np.asarray(fingerprint(jnp.asarray(places[-1]), 1.5, weights, surface.cell, surface.periodic)))
        ways.append(np.sort(np.linalg.norm(_nearest(places[-1] - first.positions, surface), axis=-1)))
    apart: list[bool] = []
    for k, place in enumerate(places):
        # Two guesses may come down to one minimum, which is one state.
        known = [first.positions, *(places[j] for j in range(k) if apart[j])]
        apart.append(all(np.abs(_nearest(place - other, surface)).max() > _NEAR for other in known))
    same = []
    for k in range(len(events)):
        near = (
            j
            for j in range(k)
            if apart[j]
            and abs(energies[j] - energies[k]) < _LEVEL
            and np.allclose(prints[j], prints[k], atol=0.02)
            # Turns by one and by two places may end alike, but their ways differ.
            and np.allclose(ways[j], ways[k], atol=_WAY)
        )
        same.append(next(near, k))
    group_of = [next(g for g, atoms in enumerate(groups) if event.atoms[0] in atoms) for event in events]
    return Ends(
        tuple(event.name for event in events),
        np.array(places).reshape(len(events), *first.positions.shape),
        np.array(energies),
        np.array(apart, bool),
        np.array(same, int),
        tuple(group_of),
        tuple(tuple(sorted(g)) for g in groups),
        all_of.parts,
        all_of.factors,
    )


def between(
    surface: Surface,
    first: Relaxed,
    end: np.ndarray,
    event: Event,
    before: np.ndarray,
    how: Motion,
    told: Callable[[str], None],
) -> Band:
    """The path to an event's minimum, and the saddle on it, refined and verified.

    Args:
        surface: the surface.
        first: the first minimum.
        end: the event's minimum, Å.
        event: the event.
        before: positions that the event's guess was made from, Å.
        how: images, forces and steps.
        told: is told how far it is.

    Raises:
        SearchError: no path, or no point with exactly one negative mode.
    """
    path = neb(
        surface,
        first.positions,
        end,
        images=how.images,
        max_force=how.max_force_ev_a,
        max_steps=how.max_steps,
        end_force=None,
        progress=forces_to(told, "path, "),
    )
    top = _refined(surface, path, told)
    joins, levels = False, ()  # where nobody looked, nothing is known
    if top.sides is not None and top.side_energies is not None:
        levels = tuple(float(e) - first.energy for e in top.side_energies)
        goals = first.positions, end
        ways = [[np.abs(_nearest(side - goal, surface)).max() for goal in goals] for side in top.sides]
        joins = bool(min(max(ways[0][0], ways[1][1]), max(ways[0][1], ways[1][0])) < 0.3)
    place = top.positions
    crossing = tuple(bridge.moved(before, place).coordinate(place) for bridge in event.bridges)
    alone = _one_by_one(surface, first, end, event, before, told)
    return Band(
        _array(path.positions),
        _array(path.energies) - first.energy,
        _array(path.arc),
        place,
        top.energy - first.energy,
        top.curvature,
        top.n_negative,
        joins,
        levels,
        crossing,
        int(path.evaluations) + top.evaluations + sum(calls for _, _, calls in alone),
        tuple(where for where, _, _ in alone),
        tuple(level for _, level, _ in alone),
    )


def check_joined(ends: Ends, bands: Mapping[int, Band]) -> None:
    """Refuse saddles whose ways down end elsewhere than in the two minima of their events.

    Where nobody has looked nothing is known, and nothing refused.

    Args:
        ends: minima.
        bands: by the number of the event.

    Raises:
        SearchError: one of them; the message says what to do.
    """
    found = []
    for k, band in bands.items():
        if band.joins or not band.sides_ev:
            continue
        # Zero has no sign.
        sides = " and ".join(f"{round(side, 3) + 0.0:.3f}" for side in band.sides_ev)
        found.append(
            f"event {k} ({ends.names[k]}): the ways down from its saddle ({band.barrier_ev:.3f} eV) end in minima at "
            f"{sides} eV, and not in the first (0 eV) and the event's own ({round(float(ends.energies[k]), 3) + 0.0:.3f} eV)"
        )
    if found:
        raise SearchError(
            f"{'; '.join(found)}. Such a saddle's rate is not the event's: take more motion.images, or give the minimum "
            'that lies between among motion.ends; motion.unjoined = "keep" takes the rate as it is.',
            dict(bands),
        )


def _one_by_one(
    surface: Surface, first: Relaxed, end: np.ndarray, event: Event, before: np.ndarray, told: Callable[[str], None]
) -> list[tuple[str, float, int]]:
    """Where each of several protons leads that crosses alone, how high that lies, and what it took to see.

    A path on which all cross together may be a saddle's while another, one after the other, is lower: by symmetry a band
    that begins in step stays in step. A minimum between would show such a way.
    """
    found = []
    heard = forces_to(told, "one proton alone, ")
    goals = {"first": first.positions, "end": end}
    for bridge in event.bridges if len(event.bridges) > 1 else ():
        guess = first.positions.copy()
        guess[bridge.proton] = bridge.moved(before, first.positions).across(first.positions[bridge.proton])
        where, calls = "between", 0
        # Twice: a descent that symmetry holds on a ridge leaves it once it is pushed.
        for _ in range(2):
            low = minimise(surface, guess, max_force=10 * FORCE, max_steps=1000, throw=False, progress=heard)
            place, calls = _array(low.positions), calls + int(low.evaluations)
            near = (name for name, goal in goals.items() if np.abs(_nearest(place - goal, surface)).max() < _ASIDE)
            where = next(near, "between") if low.converged else "nowhere"
            if where != "between":
                break
            guess = place + _PUSH * _nearest(first.positions - place, surface)
        found.append((where, float(low.energy) - first.energy, calls))
    return found


def forces_to(told: Callable[[str], None], what: str = "") -> Callable[[int, int, float], None]:
    """What a search reports, in words."""
    return lambda made, most, force: told(f"{what}{made} of at most {most} steps, {force:.2g} eV/Å")


def _refined(surface: Surface, path: Path, told: Callable[[str], None]) -> Top:
    """By Newton's steps in small systems, by a dimer in large ones and where the steps lead elsewhere."""
    if path.top.size <= _SMALL:
        found = refined(surface, _array(path.top), FORCE, told=told)
        if found is not None:
            return found
    told("saddle, by a dimer")
    saddle = dimer(surface, path.top, path.tangent, max_force=FORCE)
    sides = saddle.sides
    return Top(
        _array(saddle.positions),
        float(saddle.energy),
        float(saddle.curvature),
        int(saddle.n_negative),
        None if sides is None else _array(sides.positions),
        None if sides is None else _array(sides.energy),
        int(saddle.evaluations),
    )


def point_at(surface: Surface, positions: np.ndarray, told: Callable[[str], None]) -> Point:
    """Vibrations at a point.

    Args:
        surface: the surface.
        positions: of the point, Å.
        told: is told how far it is.
    """
    found = vibrations(surface, positions, progress=columns_to(told))
    inertia = np.zeros((0, 0)) if found.inertia is None else _array(found.inertia)
    return Point(
        energy=_array(found.energy),
        positions=_array(found.positions),
        eigenvalues=_array(found.eigenvalues),
        modes=_array(found.modes),
        residuals=_array(found.residuals),
        log_determinant=_array(found.log_determinant),
        inertia=inertia,
        masses=_array(found.masses),
        max_force=_array(found.max_force),
        n_rigid=np.asarray(found.n_rigid),
    )


def vibrations_of(point: Point, species: tuple[str, ...] | None) -> Vibrations:
    """Back to what rates are made from."""
    dtype = jnp.asarray(0.0).dtype
    number = lambda x: jnp.asarray(x, dtype)  # noqa: E731
    return Vibrations(
        energy=number(point.energy),
        positions=number(point.positions),
        eigenvalues=number(point.eigenvalues),
        modes=number(point.modes),
        residuals=number(point.residuals),
        hessian=None,
        log_determinant=number(point.log_determinant),
        inertia=number(point.inertia) if point.inertia.size else None,
        masses=number(point.masses),
        max_force=number(point.max_force),
        n_rigid=jnp.asarray(point.n_rigid),
        species=species,
        complete=True,
    )


def _nearest(step: np.ndarray, surface: Surface) -> np.ndarray:
    """To the nearest images."""
    return step if surface.cell is None else nearest_image(step, np.asarray(surface.cell, np.float64), surface.periodic)


def _array(value: object) -> np.ndarray:
    return np.asarray(value, np.float64)
