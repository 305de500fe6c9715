"""From the top of a path to the saddle, by the whole Hessian where that is small."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import numpy as np

from jaxnmr.dynamics import Surface, Vibrations, minimise, vibrations

__all__ = ["Top", "refined"]

# Longest step, Å, of all atoms together, and how far to the sides the ways down begin.
_LONGEST, _SIDE = 0.2, 0.15
# A step that leaves more of the force than this calls for a new Hessian.
_SLOW = 1 / 3
_forces = eqx.filter_jit(lambda surface, positions: surface.value_and_gradient(positions))


class Top(NamedTuple):
    """A saddle.

    Attributes:
        positions: Å, (atom, 3).
        energy: eV.
        curvature: lowest eigenvalue of the Hessian, eV/Å².
        n_negative: negative modes.
        sides: minima where the two ways down end, Å, (2, atom, 3); None where nobody looked.
        side_energies: theirs, eV, (2,).
        evaluations: of forces, a product of the Hessian as two.
    """

    positions: np.ndarray
    energy: float
    curvature: float
    n_negative: int
    sides: np.ndarray | None
    side_energies: np.ndarray | None
    evaluations: int


def columns_to(told: Callable[[str], None], what: str = "") -> Callable[[int, int], None]:
    """What vibrations report, in words."""
    return lambda made, count: told(f"{what}{made} of {count} columns of the Hessian")


def refined(
    surface: Surface,
    start: np.ndarray,
    max_force: float,
    *,
    steps: int = 12,
    descent: int = 3000,
    told: Callable[[str], None] = lambda text: None,
) -> Top | None:
    r"""Newton's steps up along the softest mode and down along all others.

    $$\Delta\mathbf x = \mathbf M^{-1/2}\Big[\mathbf v_0\frac{q_0}{|\lambda_0|} - \sum_{k>0}\mathbf v_k
      \frac{q_k}{|\lambda_k|}\Big],\qquad q_k = \mathbf v_k\cdot\mathbf M^{-1/2}\nabla E,$$

    and from the saddle down to both sides.

    A Hessian costs six evaluations for each atom, which is little for some dozens of atoms; it serves until a step leaves
    more than a third of the force. No program is needed that the vibrations do not need anyway, where a dimer takes longer
    to compile than to run.

    Args:
        surface: the surface.
        start: near the saddle, Å, (atom, 3).
        max_force: goal, eV/Å.
        steps: at most so many.
        descent: steps of each way down at most.
        told: is told how far it is.

    Returns:
        The saddle, or None where it was not reached or has not exactly one negative mode.

    Raises:
        SearchError: a way down that ends nowhere.

    References:
        Cerjan, Miller, J. Chem. Phys. 75, 2800 (1981).
    """
    heard = columns_to(told, "saddle, ")
    place, calls, found, before = np.asarray(start, np.float64), 0, None, np.inf
    for step in range(steps + 1):
        (energy, gradient), calls = _at(surface, place), calls + 1
        force = float(np.linalg.norm(gradient, axis=-1).max())
        if force <= max_force or step == steps:
            break
        if found is None or force > _SLOW * before:
            found, calls = vibrations(surface, place, progress=heard), calls + 2 * place.size
        place, before = place + _step(found, gradient), force
    if force > max_force:
        return None
    found, calls = vibrations(surface, place, progress=heard), calls + 2 * place.size
    if int(found.n_negative) != 1:
        return None
    told("both ways down from the saddle")
    softest = np.asarray(found.displacement(0), np.float64)
    low = [minimise(surface, place + sign * _SIDE * softest, max_force=max_force, max_steps=descent) for sign in (1, -1)]
    return Top(
        place,
        energy,
        float(np.linalg.eigvalsh(np.asarray(found.hessian, np.float64))[0]),
        int(found.n_negative),
        np.array([np.asarray(side.positions, np.float64) for side in low]),
        np.array([float(side.energy) for side in low]),
        calls + sum(int(side.evaluations) for side in low),
    )


def _at(surface: Surface, place: np.ndarray) -> tuple[float, np.ndarray]:
    positions = surface.check(place)
    energy, gradient = _forces(surface.with_neighbors(surface.renew(surface.neighbors, positions)), positions)
    return float(energy), np.asarray(gradient, np.float64)


def _step(found: Vibrations, gradient: np.ndarray) -> np.ndarray:
    root = np.sqrt(np.asarray(found.masses, np.float64))[:, None]
    modes, values = np.asarray(found.modes, np.float64), np.asarray(found.eigenvalues, np.float64)
    inside = np.asarray(found.is_vibration)
    slopes = np.einsum("kad,ad->k", modes, gradient / root)
    lengths = np.where(inside, -slopes / np.where(inside, np.abs(values), 1.0), 0.0)
    lengths[np.flatnonzero(inside)[0]] *= -1
    step = np.einsum("k,kad->ad", lengths, modes) / root
    return step * min(1.0, _LONGEST / np.linalg.norm(step))
