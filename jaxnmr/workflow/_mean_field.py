"""Shares of groups that feel each other: exact for few, in a mean field for crystals."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["MOST_STATES", "Field", "exact_shares", "mean_field", "with_the_rest"]

MOST_STATES = 4096
"""Of all groups together, up to which every one is looked at."""
# Shares that change by less have come to rest; and after how many sweeps nobody waits any more.
_STILL, _SWEEPS = 1e-13, 20_000


class Field(NamedTuple):
    """Groups among neighbours that hop as well.

    Attributes:
        shares: of each group's basins.
        felt: what the neighbours add to the free energies of the basins, eV; zero for the first.
        free_energy: of the whole, eV, with weights as they were given.
        settled: whether the equations are solved.
    """

    shares: list[np.ndarray]
    felt: list[np.ndarray]
    free_energy: float
    settled: bool


def with_the_rest(matrix: np.ndarray, rest: float) -> np.ndarray:
    """Couplings that together make what all events at once cost.

    Not all of a coupling is a sum over pairs, nor energy: what is left goes to the pairs by the size of their couplings, or
    to all alike where there are none. An order that all share depends on small differences near its end.

    Args:
        matrix: W, eV, (event, event).
        rest: of all events at once above the sum of the pairs, eV.
    """
    size = np.abs(matrix)
    if not size.any():
        size = 1.0 - np.eye(len(matrix))
    return matrix + rest * size / np.triu(size).sum()


def exact_shares(
    weights: Sequence[np.ndarray], parts: Sequence[Sequence[Sequence[int]]], matrix: np.ndarray, kt: float
) -> Field:
    r"""Shares of each group's basins over all states of all groups, $P \propto \prod_g w_g\, e^{-\sum_{k<l} W_{kl}/kT}$.

    Args:
        weights: w of the basins of each group among neighbours at rest, the first basin first.
        parts: of each basin of each group, the events that have happened in it.
        matrix: W, eV, (event, event), zero within a group.
        kt: eV.
    """
    logs = [np.log(w) for w in weights]
    states = np.array(list(itertools.product(*(range(len(w)) for w in weights))), int)
    happened = np.zeros((len(states), len(matrix)))
    for g, basins in enumerate(parts):
        happened += _members(basins, len(matrix))[states[:, g]]
    level = (
        sum(log[states[:, g]] for g, log in enumerate(logs)) - np.einsum("si,ij,sj->s", happened, matrix, happened) / 2 / kt
    )
    top = level.max()
    p = np.exp(level - top)
    free = -kt * (top + np.log(p.sum()))
    p = p / p.sum()
    shares = [np.array([p[states[:, g] == b].sum() for b in range(len(w))]) for g, w in enumerate(weights)]
    # What would give these shares to a group alone.
    felt = [-kt * (np.log(share / share[0]) - log + log[0]) for share, log in zip(shares, logs, strict=True)]
    return Field(shares, felt, float(free), True)


def mean_field(
    weights: Sequence[np.ndarray],
    parts: Sequence[Sequence[Sequence[int]]],
    matrix: np.ndarray,
    kt: float,
    *,
    kinds: Sequence[int] | None = None,
    hopped: bool = False,
) -> Field:
    r"""Shares of each group's basins in the mean field of all others.

    $$p_g(a) \propto w_g(a)\, e^{-\varepsilon_g(a)/kT}, \qquad
      \varepsilon_g(a) = \sum_{k \in a} \sum_{l} W_{kl}\, q_l, \qquad q_l = \sum_{b \ni l} p_h(b)$$

    with $q_l$ how often event l of another group h has happened. Sought from the first minimum, so that an ordered crystal
    stays in its order as long as that is stable, and loses it above the temperature where it is none any more. Groups of one
    kind have the same shares: an order that is not the first minimum's own is not looked for.

    Args:
        weights: w of the basins of each group among neighbours at rest, the first basin first.
        parts: of each basin of each group, the events that have happened in it.
        matrix: W, eV, (event, event), zero within a group.
        kt: eV.
        kinds: of each group, a number that those alike share; None where each is by itself.
        hopped: whether to begin where all groups are in their last basin.

    References:
        Bragg and Williams, Proc. R. Soc. Lond. A 145, 699 (1934).
    """
    labels = list(range(len(weights))) if kinds is None else list(kinds)
    order = {kind: [g for g, other in enumerate(labels) if other == kind] for kind in dict.fromkeys(labels)}
    member = [_members(basins, len(matrix)) for basins in parts]
    logs = [np.log(w) for w in weights]
    shares = [np.eye(len(w))[-1 if hopped else 0] for w in weights]

    def target(shares: Sequence[np.ndarray]) -> list[np.ndarray]:
        often = sum(p @ inside for p, inside in zip(shares, member, strict=True))
        new = []
        for log, inside in zip(logs, member, strict=True):
            level = log - inside @ (matrix @ often) / kt
            p = np.exp(level - level.max())
            new.append(p / p.sum())
        for some in order.values():
            mean = np.mean([new[g] for g in some], axis=0)
            for g in some:
                new[g] = mean
        return new

    step, last, settled = 1.0, None, False
    for _ in range(_SWEEPS):
        new = target(shares)
        change = np.concatenate([a - b for a, b in zip(new, shares, strict=True)])
        if np.abs(change).max() < _STILL:
            settled = True
            break
        # Neighbours that repel each other answer each other's last share, to and fro: a part of the way then.
        if last is not None and change @ last < -0.25 * (last @ last):
            step /= 2
        last = change
        shares = [old + step * (to - old) for old, to in zip(shares, new, strict=True)]
    often = sum(p @ inside for p, inside in zip(shares, member, strict=True))
    felt = [inside @ (matrix @ often) for inside in member]
    own = sum(kt * float(np.sum(p * (np.log(np.maximum(p, 1e-300)) - log))) for p, log in zip(shares, logs, strict=True))
    return Field(shares, felt, float(own + often @ matrix @ often / 2), settled)


def _members(basins: Sequence[Sequence[int]], count: int) -> np.ndarray:
    """Which events have happened in each basin, (basin, event)."""
    found = np.zeros((len(basins), count))
    for b, some in enumerate(basins):
        found[b, list(some)] = 1.0
    return found
