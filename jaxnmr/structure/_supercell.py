"""Larger cells of the same crystal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxnmr.structure._structure import Structure

__all__ = ["repeated", "supercell"]


def repeated(structure: Structure, times: Sequence[int]) -> Structure:
    """Copies of a cell beside each other.

    Args:
        structure: with a cell.
        times: how often along each lattice vector, (3,).

    Returns:
        All atoms of the first copy, then of the next, whose last index runs fastest; tensors and labels are copied, indices
        counted anew.

    Raises:
        ValueError: no cell, a number that is not an integer >= 1, or more than 1 along a direction that does not repeat.
    """
    if structure.cell is None:
        raise ValueError("structure: has no cell; give one that repeats.")
    counts = tuple(int(n) for n in times)
    if len(counts) != 3 or min(counts) < 1 or any(n != m for n, m in zip(counts, times, strict=True)):
        raise ValueError(f"times: got {tuple(times)}; give three integers >= 1.")
    for axis, (n, periodic) in enumerate(zip(counts, structure.pbc, strict=True)):
        if n > 1 and not periodic:
            raise ValueError(f"times: got {n} along vector {axis}, along which nothing repeats; give 1.")
    cell = np.asarray(structure.cell)
    shifts = np.array([index for index in np.ndindex(*counts)]) @ cell
    copies = len(shifts)
    return Structure(
        structure.species * copies,
        (np.asarray(structure.positions)[None] + shifts[:, None]).reshape(-1, 3),
        cell * np.array(counts)[:, None],
        structure.pbc,
        labels=structure.labels * copies,
        isotopes=None if structure.isotopes is None else structure.isotopes * copies,
        shielding=np.tile(np.asarray(structure.shielding), (copies, 1, 1)),
        efg=np.tile(np.asarray(structure.efg), (copies, 1, 1)),
        source=structure.source,
        code=structure.code,
    )


def supercell(structure: Structure, length: float) -> Structure:
    r"""The smallest repetition of a cell that is at least so thick in every direction.

    The thickness along a vector is the distance between the two faces that it joins,
    $V / |\mathbf b \times \mathbf c|$.

    Args:
        structure: with a cell; directions that do not repeat stay.
        length: least thickness, Å.

    Raises:
        ValueError: no cell, a length that is not positive.
    """
    if not length > 0:
        raise ValueError(f"length: got {length}; give the least thickness of the cell in A, > 0.")
    if structure.cell is None:
        raise ValueError("structure: has no cell; give one that repeats.")
    cell = np.asarray(structure.cell)
    thickness = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    # A cell that is as thick but for rounding is thick enough.
    counts = np.ceil(length / thickness - 1e-6).astype(int)
    return repeated(structure, [int(n) if periodic else 1 for n, periodic in zip(counts, structure.pbc, strict=True)])
