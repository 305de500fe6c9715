"""Which sites may share a line: groups from a tree of pairs, each group tested as a whole."""

from __future__ import annotations

import numpy as np

from jaxnmr.exchange._deviation import Cost, Known, cost, rate_error
from jaxnmr.exchange._model import Group

__all__ = ["find_groups", "mean_width"]

# A lumped rate this far off, relative, moves a coalescing line by less than a tenth of the tolerance for frequencies.
_RATE_ERROR = 1e-3

Pair = tuple[int, int]


def find_groups(
    known: Known, pairs: list[Pair], residual: np.ndarray, tolerance: float
) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """The largest groups that may share a line, and of these the largest that mean tensors may stand for."""
    parts = _tree(len(known.sites), pairs, residual)
    tops = [group for group in parts if not any(set(group) < set(other) for other in parts)]
    tops += [(i,) for i in range(len(known.sites)) if not any(i in group for group in tops)]
    costs: dict[Group, Cost] = {}

    def settle(group: Group, which: int) -> list[Group]:
        if len(group) == 1:
            return [group]
        if group not in costs:
            costs[group] = cost(known, group)
        if costs[group][which] <= tolerance * mean_width(known, group):
            return [group]
        return [found for part in parts[group] for found in settle(part, which)]

    def balanced(found: list[Group]) -> list[Group]:
        # Splitting one group changes where others lead to, so look again until all pass.
        while True:
            bad = [group for group in found if len(group) > 1 and rate_error(known, group, tuple(found)) > _RATE_ERROR]
            if not bad:
                return found
            found = [part for group in found for part in (parts[group] if group in bad else [group])]

    lines = balanced([found for group in tops for found in settle(group, 0)])
    alike = balanced([found for group in lines for found in settle(group, 1)])
    return tuple(sorted(lines)), tuple(sorted(alike))


def _tree(n: int, pairs: list[Pair], residual: np.ndarray) -> dict[Group, tuple[Group, Group]]:
    """Single linkage, narrowest pair first: each join, and the two groups that it joins."""
    of: dict[int, Group] = {i: (i,) for i in range(n)}
    joins: dict[Group, tuple[Group, Group]] = {}
    for index in np.argsort(residual, kind="stable"):
        a, b = (of[site] for site in pairs[int(index)])
        if a != b:
            top = tuple(sorted((*a, *b)))
            joins[top] = (a, b)
            of.update({site: top for site in top})
    return joins


def mean_width(known: Known, group: Group) -> float:
    """Mean linewidth of a group, Hz."""
    members = np.asarray(group)
    p = known.populations[members]
    return float(known.linewidth[members] @ p / p.sum()) if p.sum() > 0 else float(known.linewidth[members].mean())
