"""Which atom of one endpoint is which of the other: images, orientation and like atoms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from jaxnmr.dynamics._images import PERIODIC, nearest_image

__all__ = ["Matching", "match_endpoints"]


class Matching(eqx.Module):
    """An endpoint renamed and moved to lie near the other.

    Attributes:
        positions: of the end, in the order and near the atoms of the start, Å, (atom, 3).
        order: `positions[i]` was atom `order[i]`.
        distance: root of the sum of squared displacements from the start, Å.
    """

    positions: Float[np.ndarray, "atom 3"]
    order: Int[np.ndarray, " atom"]
    distance: float


def match_endpoints(
    start: Any,
    end: Any,
    species: Sequence[str],
    cell: Any = None,
    *,
    among: Sequence[int] | None = None,
    align: bool | None = None,
    count: int = 1,
    screen: int = 5040,
    pbc: tuple[bool, bool, bool] = PERIODIC,
) -> tuple[Matching, ...]:
    """Ways to name the atoms of the end after those of the start, the shortest first.

    All permutations of like atoms are tried where there are few; many are assigned by least squared distance, in turn
    with the orientation until neither changes (one answer, not certain to be the best where a molecule turns).
    The shortest is not always the lowest path: ask for several and give them to `neb`.

    Args:
        start: Å, (atom, 3).
        end: Å, (atom, 3).
        species: symbols of the elements; the same at both ends.
        cell: Å; displacements then go to the nearest image.
        among: atoms that may change names; all unless given. Give those of the group that reacts in a large structure.
        align: shift and turn the end onto the start; for molecules, so by default where there is no cell.
        count: how many ways.
        screen: most permutations to try one by one.
        pbc: along which vectors of the cell atoms repeat.

    Raises:
        ValueError: ends with different atoms.
    """
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 3 or len(species) != len(a):
        raise ValueError(
            f"start, end, species: got shapes {a.shape}, {b.shape} and {len(species)} atoms; both ends need the same."
        )
    align = cell is None if align is None else align
    lattice = None if cell is None else np.asarray(cell, np.float64)
    free = range(len(a)) if among is None else sorted(set(among))
    classes: dict[str, list[int]] = {}
    for index in free:
        classes.setdefault(species[index], []).append(index)
    groups = [group for group in classes.values() if len(group) > 1]
    if math.prod(math.factorial(len(group)) for group in groups) <= screen:
        orders = []
        for choice in itertools.product(*(itertools.permutations(group) for group in groups)):
            order = np.arange(len(a))
            for group, permuted in zip(groups, choice, strict=True):
                order[group] = permuted
            orders.append(order)
    else:
        orders = [_assigned(a, b, groups, lattice, pbc, align)]
    found = [_placed(a, b, order, lattice, pbc, align) for order in orders]
    return tuple(sorted(found, key=lambda match: match.distance)[:count])


def _placed(
    a: np.ndarray, b: np.ndarray, order: np.ndarray, cell: np.ndarray | None, pbc: tuple[bool, bool, bool], align: bool
) -> Matching:
    moved = b[order]
    if align:
        moved = _superposed(moved, a)
    if cell is not None:
        moved = a + nearest_image(moved - a, cell, pbc)
    return Matching(moved, order, float(np.linalg.norm(moved - a)))


def _superposed(moving: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Shifted and turned onto the target (Kabsch 1976), never mirrored."""
    ca, cb = moving.mean(axis=0), target.mean(axis=0)
    u, _, vt = np.linalg.svd((moving - ca).T @ (target - cb))
    turn = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    return (moving - ca) @ turn + cb


def _assigned(
    a: np.ndarray,
    b: np.ndarray,
    groups: list[list[int]],
    cell: np.ndarray | None,
    pbc: tuple[bool, bool, bool],
    align: bool,
) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment

    order = np.arange(len(a))
    for _ in range(50):
        placed, before = _placed(a, b, order, cell, pbc, align), order.copy()
        for group in groups:
            apart = a[group][:, None, :] - placed.positions[group][None, :, :]
            if cell is not None:
                apart = nearest_image(apart, cell, pbc)
            _, chosen = linear_sum_assignment((apart**2).sum(axis=-1))
            order[group] = before[np.asarray(group)[chosen]]
        if (order == before).all():
            break
    return order
