"""A search for other minima, where none are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jaxnmr.dynamics import Surface, minima_hopping, nearest_image
from jaxnmr.workflow._config import Motion
from jaxnmr.workflow._records import Explored, Relaxed

__all__ = ["NEAR", "explored"]

# A minimum whose farthest atom is nearer than this to where the search began is that one, Å.
NEAR = 0.1
# Images by symmetry are told apart by the place of the farthest atom, Å.
_APART = 0.5


def explored(
    surface: Surface, first: Relaxed, how: Motion, progress: Callable[[int, int, float], None] | None = None
) -> Explored:
    """Minima hopping from the first minimum; the crystal as a whole is put back where it was.

    Minima that look alike but lie elsewhere, as images of one by symmetry or with like atoms in each other's places, are
    states of their own in a crystal, for a spectrum tells them apart. A free molecule turns: there they count as one.

    Args:
        surface: the surface.
        first: where to begin.
        how: number of walkers and escapes, window and seed.
        progress: called with hops made, their number, and the lowest energy.

    Raises:
        ValueError: as `jaxnmr.dynamics.minima_hopping`.
    """
    starts = np.array([first.positions] * how.explore_walkers)
    held = surface.cell is not None or any(surface.fixed or ())
    found = minima_hopping(
        surface,
        starts,
        hops=how.explore_hops,
        seed=how.explore_seed,
        max_force=5e-3,
        apart=_APART if held else None,
        progress=progress,
    )
    steps = found.positions - first.positions
    if surface.cell is not None:
        steps = nearest_image(steps, np.asarray(surface.cell, np.float64), surface.periodic)
    if not any(surface.fixed or ()):
        # By the median: most atoms stay where they are, but for a drift of all.
        steps = steps - np.median(steps, axis=1, keepdims=True)
    energies = found.energies - first.energy
    other = np.linalg.norm(steps, axis=-1).max(axis=1) > NEAR
    taken = other & (energies <= how.explore_window_ev)
    return Explored(
        first.positions + steps[taken],
        energies[taken],
        found.visits[taken],
        int((other & ~taken).sum()),
        int(found.evaluations),
    )
