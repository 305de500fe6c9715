"""Groups that feel each other: what two events cost together, and the shares that neighbours which hop as well leave."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxnmr.dynamics import Surface, minimise
from jaxnmr.structure import Structure, symmetries
from jaxnmr.units import BOLTZMANN_IN_EV
from jaxnmr.workflow._atoms import FORCE, forces_to
from jaxnmr.workflow._folder import Store
from jaxnmr.workflow._hops import nearest_steps
from jaxnmr.workflow._records import Ends, RatesOfEvents, Together

__all__ = ["MOST_PAIRS", "Couple", "Neighbours", "couples", "mean_field", "neighbours_of", "scales"]

MOST_PAIRS = 64
"""Kinds of pairs that are looked at; nearest first."""
# Where symmetry takes an atom to within so much of another it is that one, and a minimum to within so much of an end, Å.
_WITHIN, _SAME = 0.03, 0.1
# Ends of one event that symmetry makes of another have the same energy, eV.
_LEVEL = 5e-4
# A pair whose atoms come to rest farther from where the two events alone take them has fallen into another minimum, Å.
_AWAY = 0.3
# Couplings that together make more or less than so many times the sum over pairs are no sum over pairs at all.
_SCALE = 2.0
_SWEEPS, _STILL = 100_000, 1e-13


class Couple(NamedTuple):
    """Two events of different groups.

    Attributes:
        events: both.
        like: place in the list of the first couple that symmetry takes to this one; its own where there is none.
        distance: between the nearest of the atoms that they move, Å.
    """

    events: tuple[int, int]
    like: int
    distance: float


@dataclass(frozen=True)
class Neighbours:
    r"""How events of different groups change each other's energies, $W_{kl} = E_{kl} - E_k - E_l$.

    Attributes:
        couples: all of them, the nearest first.
        energies: W of each, eV; NaN where both at once are no minimum, or where nobody has looked.
        looked: whether anybody has.
        whole: the minimum in which all events have happened, Å, (atom, 3); None where groups have several events each, or
            where there is none.
    """

    couples: tuple[Couple, ...]
    energies: np.ndarray
    looked: np.ndarray
    whole: np.ndarray | None = None

    def matrix(self, count: int) -> np.ndarray:
        """W of all events, eV, (event, event); zero where it is not known."""
        found = np.zeros((count, count))
        for couple, energy in zip(self.couples, self.energies, strict=True):
            found[couple.events] = found[couple.events[::-1]] = np.nan_to_num(energy)
        return found


def neighbours_of(
    store: Store,
    depends: Mapping[str, Any],
    surface: Surface,
    first: Structure,
    level: float,
    ends: Ends,
    used: Sequence[int],
) -> tuple[Neighbours, tuple[str, ...]]:
    """What events do to each other's energies: one pair after the other, each kept, and all events at once.

    Args:
        store: keeps each.
        depends: what they are made from.
        surface: the surface.
        first: the first minimum.
        level: its energy, eV.
        ends: minima of the events.
        used: events that have rates.

    Returns:
        All of it, and digests of what it was made from.
    """
    digests = []

    def looked_at(name: str, some: tuple[int, ...]) -> Together:
        inside = dict(depends) | {"events": some}
        kept = store.step(name, Together, inside, lambda: together(surface, first, level, ends, some, store.within(name)))
        digests.append(kept.digest)
        return kept.record

    found, looked = couples(first, ends, used), {}
    for k in list(dict.fromkeys(couple.like for couple in found))[:MOST_PAIRS]:
        one, other = found[k].events
        looked[k] = looked_at(f"ends-{one}-{other}", (one, other))
    groups, whole = [ends.groups[k] for k in used], None
    if found and len(set(groups)) == len(groups):  # with one event each there is one way for all to happen
        whole = looked[0] if len(groups) == 2 else looked_at("ends-all", tuple(used))
    return _filled(found, looked, whole), tuple(digests)


def _filled(found: Sequence[Couple], looked: Mapping[int, Together], whole: Together | None) -> Neighbours:
    """Couples with the energies of those that were looked at, each for all that are like it."""
    there = [looked.get(couple.like) for couple in found]
    return Neighbours(
        tuple(found),
        np.array([pair.energy_ev if pair is not None and pair.reached else np.nan for pair in there]),
        np.array([pair is not None for pair in there], bool),
        whole.positions if whole is not None and whole.reached else None,
    )


def scales(found: Neighbours, rates: RatesOfEvents) -> np.ndarray:
    r"""By how much to multiply W so that all events at once are right at each temperature, (temperature,).

    Not all of a coupling is a sum over pairs, nor energy: the minimum of all events has the weight w beside the first, which
    vibrations enter as well, and

    $$\lambda \sum_{k<l} W_{kl} = -kT \Big( \ln w - \sum_k \ln w_k \Big)$$

    Near its end an order that all share depends on small differences. λ is one where all at once were not looked at, and
    where it would be below a half or above two: then the coupling is no sum over pairs at all.

    Args:
        found: couplings.
        rates: shares of the events' minima, and of that of all events.
    """
    total, alone = float(np.nansum(found.energies)), np.log(rates.populations[:, :, 1] / rates.populations[:, :, 0])
    if not len(rates.log_whole) or total == 0:
        return np.ones(len(alone))
    scale = -BOLTZMANN_IN_EV * rates.temperatures * (rates.log_whole - alone.sum(axis=1)) / total
    return np.where((scale > 1 / _SCALE) & (scale < _SCALE), scale, 1.0)


def couples(structure: Structure, ends: Ends, used: Sequence[int]) -> tuple[Couple, ...]:
    """Pairs of events of different groups, the nearest first, and which of them the crystal's symmetry makes alike.

    Args:
        structure: the first minimum.
        ends: minima of the events.
        used: events that have rates.
    """
    first = np.asarray(structure.positions, np.float64)
    steps = [nearest_steps(ends.positions[k] - first, structure) for k in used]
    moves = [np.linalg.norm(step, axis=-1) for step in steps]
    # Atoms that make the event, and not those that make room for it.
    jumping = [np.flatnonzero(far > min(_AWAY, far.max() / 2)) for far in moves]
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
    found = []
    for turn, order in symmetries(structure, within=_WITHIN):
        row = []
        for a, step in enumerate(steps):
            turned = np.zeros_like(step)
            turned[order] = step @ turn
            row.append(
                next(
                    (
                        b
                        for b, other in enumerate(steps)
                        if np.abs(turned - other).max() < _SAME
                        and abs(ends.energies[used[a]] - ends.energies[used[b]]) < _LEVEL
                    ),
                    -1,
                )
            )
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
    gap = nearest_steps(np.asarray(found.positions, np.float64) - guess, first)
    away = float(np.linalg.norm(gap, axis=-1).max())
    energy = float(found.energy) - level - float(ends.energies[list(events)].sum())
    return Together(
        np.asarray(found.positions, np.float64), energy, away, bool(found.converged) and away < _AWAY, int(found.evaluations)
    )


def mean_field(
    weights: Sequence[np.ndarray], parts: Sequence[Sequence[Sequence[int]]], matrix: np.ndarray, kt: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    r"""Shares of each group's basins among neighbours that hop as well, and what these do to the basins' energies.

    $$p_g(a) \propto w_g(a)\, e^{-\varepsilon_g(a)/kT}, \qquad
      \varepsilon_g(a) = \sum_{k \in a} \sum_{l} W_{kl}\, q_l, \qquad q_l = \sum_{b \ni l} p_h(b)$$

    with $q_l$ how often event l of another group h has happened. It is a product of shares whose free energy is a minimum,
    found by one group after the other from the first minimum, so that it never rises: an ordered crystal stays in its order
    as long as that is a minimum of the free energy, and loses it above the temperature where it is none any more.

    Args:
        weights: w of the basins of each group among neighbours at rest, the first basin first.
        parts: of each basin of each group, the events that have happened in it.
        matrix: W, eV, (event, event), zero within a group.
        kt: eV.

    Returns:
        Shares, and ε, eV, of each group's basins.

    References:
        Bragg and Williams, Proc. R. Soc. Lond. A 145, 699 (1934).
    """
    inside = []
    for basins in parts:
        member = np.zeros((len(basins), len(matrix)))
        for b, some in enumerate(basins):
            member[b, list(some)] = 1.0
        inside.append(member)
    shares = [np.eye(len(w))[0] for w in weights]
    often = np.zeros(len(matrix))
    for _ in range(_SWEEPS):
        worst = 0.0
        for g, member in enumerate(inside):
            # Logarithms: where an event is out of reach its weight is next to nothing.
            level = np.log(weights[g]) - member @ (matrix @ often) / kt
            new = np.exp(level - level.max())
            new = new / new.sum()
            worst = max(worst, float(np.abs(new - shares[g]).max()))
            often, shares[g] = often + (new - shares[g]) @ member, new
        if worst < _STILL:
            break
    return shares, [member @ (matrix @ often) for member in inside]
