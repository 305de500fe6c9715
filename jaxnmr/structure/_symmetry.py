"""What turns and shifts take a crystal onto itself, by spglib."""

from __future__ import annotations

import warnings

import numpy as np

from jaxnmr.errors import missing_extra
from jaxnmr.structure._graph_build import atomic_numbers
from jaxnmr.structure._structure import Structure

__all__ = ["Operation", "symmetries"]

# A turn of steps, Cartesian, (3, 3), and where each atom goes.
Operation = tuple[np.ndarray, np.ndarray]


def symmetries(structure: Structure, *, within: float = 0.1) -> list[Operation]:
    r"""Operations that leave the crystal as it is: the turn of a step, and where each atom goes.

    With rows of L the lattice vectors, fractions f go to f M + t, M of whole numbers with $M L L^T M^T = L L^T$, and a step
    d of atom a becomes the step $d\,L^{-1} M L$ of atom `order[a]`. Shifts by vectors of a smaller cell are among them. The
    identity comes first; it is alone where the structure does not repeat in all directions.

    Args:
        structure: the atoms.
        within: how far an atom may lie from the image of another, Å.

    Raises:
        ImportError: spglib is missing.

    References:
        Togo, Shinohara and Tanaka, Sci. Technol. Adv. Mater. Meth. 4, 2384822 (2024).
    """
    count = len(structure)
    identity = (np.eye(3), np.arange(count))
    if structure.cell is None or not all(structure.pbc):
        return [identity]
    try:
        import spglib
    except ImportError:
        raise missing_extra("spglib", "atoms") from None
    cell = np.asarray(structure.cell, np.float64)
    inverse = np.linalg.inv(cell)
    fractions = np.asarray(structure.positions, np.float64) @ inverse
    species = atomic_numbers(structure)
    with warnings.catch_warnings():
        # Of how it will tell failures one day: it raises then, and returns None until then.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = spglib.get_symmetry((cell, fractions, species), symprec=within)  # type: ignore[arg-type]
        except spglib.SpglibError:
            found = None
    if found is None:  # as where two atoms lie nearer than the tolerance
        return [identity]
    operations = []
    for turn, shift in zip(found["rotations"], found["translations"], strict=True):
        order = _order(fractions @ turn.T + shift, fractions, species, cell, within)
        if order is not None:
            operations.append((inverse @ turn.T @ cell, order))
    operations.sort(key=lambda each: (np.abs(each[0] - np.eye(3)).max() > 1e-6, (each[1] != identity[1]).any()))
    return operations


def _order(
    moved: np.ndarray, fractions: np.ndarray, species: np.ndarray, cell: np.ndarray, within: float
) -> np.ndarray | None:
    """Which atom lies where each one went, or None where there is none."""
    order = np.full(len(moved), -1)
    for element in np.unique(species):
        mine = np.flatnonzero(species == element)
        gap = moved[mine][:, None] - fractions[mine][None]
        distance = np.linalg.norm((gap - np.round(gap)) @ cell, axis=-1)
        nearest = distance.argmin(axis=1)
        # spglib measures the mean of an orbit; twice its tolerance is between two atoms of one.
        if distance[np.arange(len(mine)), nearest].max() > 2 * within or len(np.unique(nearest)) < len(mine):
            return None
        order[mine] = mine[nearest]
    return order
