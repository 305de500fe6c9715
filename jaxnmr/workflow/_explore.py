"""A search for other minima, where none are known."""

from __future__ import annotations

import numpy as np

from jaxnmr.dynamics import Surface, minima_hopping
from jaxnmr.workflow._config import Motion
from jaxnmr.workflow._records import Explored, Relaxed

__all__ = ["explored"]

# A minimum nearer than this in energy to where the search began is that one, eV; or in place, Å, of the farthest atom.
_LEVEL, _NEAR = 1e-3, 0.1


def explored(surface: Surface, first: Relaxed, how: Motion) -> Explored:
    """Minima hopping from the first minimum; the crystal as a whole is put back where it was.

    Minima that look alike, as images of one by symmetry, count as one: only hops to minima of another shape are found.

    Args:
        surface: the surface.
        first: where to begin.
        how: number of walkers and escapes, window and seed.

    Raises:
        ValueError: as `jaxnmr.dynamics.minima_hopping`.
    """
    starts = np.array([first.positions] * how.explore_walkers)
    found = minima_hopping(surface, starts, hops=how.explore_hops, seed=how.explore_seed, max_force=5e-3)
    steps = found.positions - first.positions
    if surface.cell is not None:
        cell = np.asarray(surface.cell, np.float64)
        steps = steps - np.round(steps @ np.linalg.inv(cell)) @ cell
    if not any(surface.fixed or ()):
        # By the median: most atoms stay where they are, but for a drift of all.
        steps = steps - np.median(steps, axis=1, keepdims=True)
    energies = found.energies - first.energy
    other = (np.linalg.norm(steps, axis=-1).max(axis=1) > _NEAR) & (np.abs(energies) > _LEVEL)
    taken = other & (energies <= how.explore_window_ev)
    return Explored(
        first.positions + steps[taken],
        energies[taken],
        found.visits[taken],
        int((other & ~taken).sum()),
        int(found.evaluations),
    )
