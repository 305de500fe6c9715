"""Minima hopping: short bursts of motion out of a minimum, and down again, with a memory of where one has been."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxnmr.dynamics._escape import Escape, hop
from jaxnmr.dynamics._fingerprint import element_weights
from jaxnmr.dynamics._images import nearest_image
from jaxnmr.dynamics._minimise import minimise
from jaxnmr.dynamics._optimisers import LBFGS, Optimiser
from jaxnmr.dynamics._rigid import rigid_kind
from jaxnmr.dynamics._status import CONVERGED, OVERFLOW
from jaxnmr.dynamics._surface import EnergyFunction, Surface, as_surface

__all__ = ["Hops", "minima_hopping"]


class Feedback(NamedTuple):
    """How kinetic energy and threshold follow what is found."""

    same: float = 1.1  # back where it came from: harder
    old: float = 1.05  # somewhere known: harder, the more so the better it is known
    new: float = 1 / 1.1  # somewhere new: more gently
    accepted: float = 1 / 1.05
    refused: float = 1.05


class Hops(eqx.Module):
    """What a search has found, lowest first.

    Attributes:
        positions: of the minima, Å, (minimum, atom, dimension).
        energies: eV.
        visits: how often each was reached.
        connections: pairs of minima between which a walker went in one escape, with the number of times,
            (pair, 3): from, to, times.
        path: where each walker stood after each hop, (hop, walker).
        evaluations: of forces in all, products of the Hessian as two, hops repeated for a list too short as well.
        found_after: evaluations of a walker until it first reached the target, (walker,); -1 where it did not.
        kinetic: the walkers' kinetic energies at the end, eV.
        fingerprints: of the minima, see `jaxnmr.dynamics.fingerprint`.
    """

    positions: Float[np.ndarray, "minimum atom dim"]
    energies: Float[np.ndarray, " minimum"]
    visits: Int[np.ndarray, " minimum"]
    connections: Int[np.ndarray, "pair 3"]
    path: Int[np.ndarray, "hop walker"]
    evaluations: int
    found_after: Int[np.ndarray, " walker"]
    kinetic: Float[np.ndarray, " walker"]
    fingerprints: Float[np.ndarray, "minimum atom"]


class _Known:
    """The minima so far; a new one is compared with those of like energy."""

    def __init__(self, threshold: float, same_energy: float, apart: float | None, surface: Surface):
        self.threshold, self.same_energy, self.apart = threshold, same_energy, apart
        self.cell = None if surface.cell is None else np.asarray(surface.cell, np.float64)
        self.pbc = surface.periodic
        self.positions: list[np.ndarray] = []
        self.energies: list[float] = []
        self.prints: list[np.ndarray] = []
        self.visits: list[int] = []
        self.joined: dict[tuple[int, int], int] = {}

    def place(self, positions: np.ndarray, energy: float, print_: np.ndarray) -> tuple[int, bool]:
        """Which minimum this is, and whether it is new."""
        for k, other in enumerate(self.energies):
            alike = abs(other - energy) < self.same_energy and np.abs(self.prints[k] - print_).max() < self.threshold
            if alike and (self.apart is None or self._away(positions, self.positions[k]) < self.apart):
                self.visits[k] += 1
                if energy < other:
                    self.energies[k], self.positions[k] = energy, np.array(positions)
                return k, False
        # A copy: the walker that stands there goes on in the same array.
        self.positions.append(np.array(positions))
        self.energies.append(energy)
        self.prints.append(print_)
        self.visits.append(1)
        return len(self.energies) - 1, True

    def _away(self, one: np.ndarray, other: np.ndarray) -> float:
        """Distance of the farthest atom from its place, nearest images, without a drift of most atoms."""
        step = one - other
        if self.cell is not None:
            step = nearest_image(step, self.cell, self.pbc)
            step = step - np.median(step, axis=0)
        return float(np.linalg.norm(step, axis=-1).max())


def minima_hopping(
    surface: Surface | EnergyFunction,
    positions: Any,
    *,
    hops: int = 100,
    target: float | None = None,
    kinetic: float | None = None,
    difference: float = 0.5,
    dt: float | None = None,
    minima_passed: int = 2,
    softening: int = 5,
    width: float | None = None,
    threshold: float = 5e-3,
    same_energy: float = 1e-3,
    apart: float | None = None,
    optimiser: Optimiser | None = None,
    max_force: float = 1e-3,
    max_steps: int = 1000,
    max_motion: int = 300,
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> Hops:
    r"""Search for the minima that matter, in the end the lowest.

    From a minimum a walker starts with kinetic energy in a random direction that is turned towards soft modes, moves at
    constant energy until the potential energy has passed some minima, and goes down. Back in the same minimum, or in one
    that is known, the kinetic energy grows, in a new one it falls; the new minimum is accepted where its energy is not
    above the old one's by more than a threshold that adapts until about half are. Several walkers run side by side and
    share their memory. A molecule or cluster that falls apart, into pieces farther than two widths from each other, counts
    as an escape with too much energy. All atoms have the same mass on the way: what is sought has no dynamics.

    Two minima are the same where their energies differ by less than `same_energy` and no eigenvalue of their overlap
    matrices (`fingerprint`) differs by more than `threshold`; mirror images count as one. For atoms displaced by δ
    eigenvalues change by some δ/width: forces converged to 1e-3 leave 1e-3, different minima of Lennard-Jones clusters
    differ by 1e-2 and more.

    Args:
        surface: a `Surface`, or an energy function of positions; the cell is held.
        positions: Å, (atom, dimension), or (walker, atom, dimension); they are minimised first.
        hops: escapes of each walker.
        target: an energy at which to stop once all walkers have been at or below it, eV (1e-4 above counts).
        kinetic: energy of the first escapes, eV; adapts. A tenth for each coordinate that moves unless given.
        difference: how much higher a minimum is accepted at first, eV; adapts.
        dt: time step for atoms of mass one; a twelfth of the stiffest mode's period unless given.
        minima_passed: how many minima of the potential energy along the motion end it.
        softening: steps of turning the direction; 0 leaves it random.
        width: of the fingerprint's Gaussians, Å; the mean distance of nearest atoms unless given.
        threshold: largest difference of eigenvalues of the same minimum.
        same_energy: largest difference of energies of the same minimum, eV.
        apart: how far the farthest atom may be from its place in the same minimum, Å; images by symmetry, and like atoms in
            each other's places, are then minima of their own. None where they are not told apart.
        optimiser: `LBFGS()` unless given.
        max_force: goal of the minimisations, eV/Å.
        max_steps: of each minimisation.
        max_motion: steps of motion of each escape at most.
        seed: of the directions.
        progress: called after each hop with hops made, their number, and the lowest energy.

    Raises:
        ValueError: shapes that do not fit, settings out of range, or a start that does not come down to a minimum.

    References:
        Goedecker, J. Chem. Phys. 120, 9911 (2004); softening: Schönborn et al., J. Chem. Phys. 130, 144108 (2009);
        growing feedback: Roy, Goedecker, Hellmann, Phys. Rev. E 77, 056707 (2008).
    """
    surface = as_surface(surface)
    starts = surface.check(positions)
    if starts.ndim > 3:
        raise ValueError(f"positions: got shape {starts.shape}; give (atom, dimension) or (walker, atom, dimension).")
    starts = starts[None] if starts.ndim == 2 else starts
    if kinetic is None:
        kinetic = 0.1 * float(np.asarray(surface.free(starts[0])).sum())
    for name, value in dict(hops=hops, kinetic=kinetic, difference=difference, minima_passed=minima_passed).items():
        if not value > 0:
            raise ValueError(f"{name}: got {value}; must be > 0.")
    if not (threshold > 0 and same_energy > 0):
        raise ValueError(f"threshold, same_energy: got {threshold} and {same_energy}; both must be > 0.")
    optimiser = LBFGS() if optimiser is None else optimiser
    low = minimise(surface, starts, optimiser=optimiser, max_force=max_force, max_steps=max_steps, throw=False)
    if not (np.asarray(low.code) == CONVERGED).all():
        bad = int(np.argmax(np.asarray(low.code) != CONVERGED))
        raise ValueError(
            f"positions: walker {bad} did not come down to a minimum in {max_steps} steps; minimise the start first, or "
            "give more max_steps."
        )
    neighbors, here = low.neighbors, np.array(low.positions)
    neighbors = jax.tree.map(lambda x: x[0] if eqx.is_array(x) else x, neighbors)
    settings = Escape.of(surface, neighbors, low.positions, dt, width, rigid_kind(surface, starts[0], None))
    weights = jnp.asarray(element_weights(surface.species, starts.shape[1]), starts.dtype)
    known, rules = _Known(threshold, same_energy, apart, surface), Feedback()
    prints = settings.prints(low.positions, surface.cell, weights)
    at = [known.place(here[w], float(low.energy[w]), np.asarray(prints[w]))[0] for w in range(len(here))]
    energies, path = np.asarray(low.energy, float).copy(), []
    push, gap = np.full(len(here), float(kinetic)), np.full(len(here), float(difference))
    calls, found_after = np.asarray(low.evaluations, np.int64).copy(), np.full(len(here), -1)
    sizes = (minima_passed, softening, max_motion, max_steps)

    # A walker has fallen apart where a gap is wider than any that its start had.
    reach = [max(2 * float(settings.width), 1.2 * _widest_gap(r)) for r in here]
    for number in range(hops):
        if target is not None:
            reached = (energies <= target + 1e-4) & (found_after < 0)
            found_after[reached] = calls[reached]
            if (found_after >= 0).all():
                break
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), number), len(here))
        while True:
            new, prints, spent = hop(
                surface,
                neighbors,
                jnp.asarray(here),
                jnp.asarray(push),
                keys,
                settings,
                weights,
                optimiser,
                max_force,
                sizes,
            )
            calls += np.asarray(spent)
            full = np.asarray(new.code) == OVERFLOW
            if neighbors is None or not full.any():
                break
            neighbors = neighbors.grow(np.asarray(new.positions)[int(np.argmax(full))], surface.cell)
        for w in range(len(here)):
            if int(new.code[w]) != CONVERGED:  # fell apart, or met: as if it had not left
                push[w] *= rules.same if np.isfinite(float(new.energy[w])) else rules.new
                continue
            energy, where = float(new.energy[w]), np.asarray(new.positions[w])
            if settings.kind == "molecule" and not _in_one_piece(where, reach[w]):
                push[w] *= rules.new
                continue
            k, is_new = known.place(where, energy, np.asarray(prints[w]))
            if k == at[w]:
                push[w] *= rules.same
                continue
            push[w] *= rules.new if is_new else rules.old * (1 + 0.1 * np.log(known.visits[k]))
            known.joined[at[w], k] = known.joined.get((at[w], k), 0) + 1
            if energy - energies[w] < gap[w]:
                at[w], energies[w], here[w] = k, energy, where
                gap[w] *= rules.accepted
            else:
                gap[w] *= rules.refused
        path.append(list(at))
        if progress is not None:
            progress(number + 1, hops, min(known.energies))
    if target is not None:
        reached = (energies <= target + 1e-4) & (found_after < 0)
        found_after[reached] = calls[reached]
    return _sorted(known, path, len(here), int(calls.sum()), found_after, push)


def _widest_gap(positions: np.ndarray) -> float:
    """The longest step that is needed to reach all atoms from the first."""
    near = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    found, widest = np.arange(len(positions)) == 0, 0.0
    while not found.all():
        steps = np.where(found, np.inf, near[found].min(axis=0))
        widest = max(widest, float(steps.min()))
        found = found | (np.arange(len(positions)) == int(np.argmin(steps)))
    return widest


def _in_one_piece(positions: np.ndarray, reach: float) -> bool:
    near = np.linalg.norm(positions[:, None] - positions[None], axis=-1) < reach
    found = np.arange(len(positions)) == 0
    while (more := near[found].any(axis=0)).sum() > found.sum():
        found = more
    return bool(found.all())


def _sorted(
    known: _Known, path: list[list[int]], walkers: int, calls: int, found_after: np.ndarray, push: np.ndarray
) -> Hops:
    order = np.argsort(known.energies, kind="stable")
    place = np.argsort(order)
    pairs = [(place[i], place[j], times) for (i, j), times in sorted(known.joined.items())]
    return Hops(
        positions=np.array(known.positions)[order],
        energies=np.array(known.energies)[order],
        visits=np.array(known.visits)[order],
        connections=np.array(pairs, int).reshape(-1, 3),
        path=place[np.array(path, int).reshape(-1, walkers)],
        evaluations=calls,
        found_after=found_after,
        kinetic=push,
        fingerprints=np.array(known.prints)[order],
    )
