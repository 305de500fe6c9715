"""Neighbour graphs made on the host, where a new list costs milliseconds and every kind of cell is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxnmr.errors import is_concrete, missing_extra
from jaxnmr.structure._elements import ELEMENTS
from jaxnmr.structure._graph import Batch, Graph, bucket
from jaxnmr.structure._structure import Structure, lattice_of

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["as_structure", "atomic_numbers", "batch_graphs", "neighbor_graph", "neighbor_pairs"]

# A structure that comes once costs its compilation, seconds, rather than what is computed in vain.
_ATOMS, _ROWS = {"in_octave": 4, "step": 8}, {"in_octave": 4, "step": 16}
_NUMBERS = {symbol: number for number, symbol in enumerate(ELEMENTS, start=1)}


def as_structure(atoms: Structure | Atoms) -> Structure:
    """Atoms of either kind as a `Structure`.

    ASE keeps a slab's or a chain's missing lattice vectors as zeros; they are completed here, at right angles to the
    others, since nothing repeats along them.

    Args:
        atoms: a `Structure`, or Atoms of ASE.

    Raises:
        ValueError: what came is neither, or repeats along a lattice vector that is zero; as `Structure` otherwise.
    """
    if isinstance(atoms, Structure):
        return atoms
    if not all(hasattr(atoms, name) for name in ("get_chemical_symbols", "get_positions", "get_cell", "get_pbc")):
        raise ValueError(f"atoms: got {type(atoms).__name__}; give a Structure, or Atoms of ASE.")
    cell, pbc = lattice_of(atoms)
    return Structure(atoms.get_chemical_symbols(), atoms.get_positions(), cell, pbc)


def atomic_numbers(structure: Structure) -> np.ndarray:
    """Atomic number of each atom, (atom,)."""
    return np.array([_NUMBERS[symbol] for symbol in structure.species], dtype=np.int32)


def neighbor_pairs(structure: Structure, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All pairs nearer than a cutoff, each from both ends, all periodic images counted.

    Args:
        structure: the atoms; periodic along any of the lattice vectors or none.
        cutoff: Å.

    Returns:
        Index i, index j, lattice vectors S to the image of j, and the distance |r_j + S h - r_i| in Å; sorted by i.

    Raises:
        ValueError: a cutoff that is not positive, or traced positions.
        ImportError: vesin is not installed.
    """
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise ValueError(f"cutoff: got {cutoff}; give a positive distance in angstrom.")
    if not is_concrete(structure.positions, structure.cell):
        raise ValueError("atoms: positions are traced; build the graph before jit, and update it with NeighborList.")
    try:
        from vesin import NeighborList
    except ImportError:
        raise missing_extra("vesin", "atoms") from None
    search = NeighborList(cutoff=float(cutoff), full_list=True, sorted=True, n_threads=1)
    cell = np.eye(3) if structure.cell is None else np.array(structure.cell, dtype=np.float64)
    positions = np.array(structure.positions, dtype=np.float64)
    i, j, shifts, distances = search.compute(positions, cell, np.array(structure.pbc), "ijSd")
    return i.astype(np.int32), j.astype(np.int32), shifts.astype(np.int32), distances


def neighbor_graph(
    atoms: Structure | Atoms, cutoff: float, *, n_atoms: int | None = None, n_neighbors: int | None = None
) -> Graph:
    """The neighbours of each atom within a cutoff, in arrays whose sizes are rounded up to few values.

    Args:
        atoms: a crystal, slab, chain or molecule; a cell may be smaller than the cutoff, oblique, or left-handed (all
            that is asked of lattice vectors is a volume).
        cutoff: Å.
        n_atoms: length of the arrays, to keep a shape that is compiled already; as `batch_graphs` unless given.
        n_neighbors: length of a row, likewise.

    Returns:
        A graph of one structure.

    Raises:
        ValueError: more atoms or neighbours than the given sizes hold, two atoms in one place (nearer than 1e-3 Å), or
            what `as_structure` and `neighbor_pairs` refuse.
        ImportError: vesin is not installed.
    """
    return batch_graphs([atoms], cutoff, n_atoms=n_atoms, n_neighbors=n_neighbors).graph


def batch_graphs(
    atoms: Sequence[Structure | Atoms],
    cutoff: float,
    *,
    n_atoms: int | None = None,
    n_neighbors: int | None = None,
    n_structures: int | None = None,
    least_distance: float = 1e-3,
) -> Batch:
    """Several structures, of any sizes, in one graph, in arrays whose sizes are rounded up to few values.

    There are four in each octave (`bucket`), by steps of 8 atoms and 16 neighbours at least: 17 by 7 sizes for crystals of
    up to 300 atoms with 26 to 124 neighbours. A function under jit that takes such graphs, one structure at a time and
    with a cutoff of 6 Å, is compiled for 90 of 300 random crystals of 1 to 300 atoms and 0.03 to 0.12 atoms/Å³ (22 of the
    second half), for 54 of 421 silicates of 6 to 192 atoms (7 of the second half), and twice for 300 frames of crystalline
    KHCO₃ at 300 to 700 K, or of MgO in a cell that fluctuates by 3 %. Arrays then have 20, 21, 8 and 6 % more places than
    atoms times the longest row. Hand graph, positions and cell to such a function rather than the whole `Batch`: its
    numbers of atoms are static, and each would be compiled for.

    Args:
        atoms: the structures.
        cutoff: Å.
        n_atoms: atoms to make room for; the next size unless given.
        n_neighbors: length of a row; the next size after the longest unless given.
        n_structures: structures to make room for; their number unless given.
        least_distance: Å; atoms nearer than that are taken for a mistake.

    Returns:
        Graph, positions and cells; structures that fill up have no atoms and the identity as their cell.

    Raises:
        ValueError: no structure, more than the given sizes hold, or as `neighbor_graph`.
        ImportError: vesin is not installed.
    """
    structures = [as_structure(each) for each in atoms]
    if not structures:
        raise ValueError("atoms: got no structure; give at least one.")
    pairs = [neighbor_pairs(structure, cutoff) for structure in structures]
    for structure, (i, j, _, distances) in zip(structures, pairs, strict=True):
        if distances.size and distances.min() < least_distance:
            k = int(distances.argmin())
            a, b = structure.names[i[k]], structure.names[j[k]]
            raise ValueError(f"positions: {a} and {b} are {distances[k]:.3g} Å apart; remove one, or correct the cell.")
    sizes = tuple(len(structure) for structure in structures)
    longest = max(int(np.bincount(i, minlength=1).max()) for i, _, _, _ in pairs)
    n = _room("n_atoms", n_atoms, sum(sizes), bucket(sum(sizes), **_ATOMS))
    width = _room("n_neighbors", n_neighbors, longest, bucket(longest, **_ROWS))
    count = _room("n_structures", n_structures, len(sizes), len(sizes))

    numbers, owner = np.zeros(n, np.int32), np.zeros(n, np.int32)
    positions, cells = np.zeros((n, 3)), np.tile(np.eye(3), (count, 1, 1))
    neighbors, shifts = np.full((n, width), n, np.int32), np.zeros((n, width, 3), np.int32)
    start = 0
    for index, (structure, (i, j, s, _)) in enumerate(zip(structures, pairs, strict=True)):
        here = slice(start, start + len(structure))
        numbers[here], owner[here] = atomic_numbers(structure), index
        positions[here] = np.asarray(structure.positions)
        if structure.cell is not None:
            cells[index] = np.asarray(structure.cell)
        # Pairs come sorted by i: the place in the row is the distance from the row's first pair.
        counts = np.bincount(i, minlength=len(structure))
        place = np.arange(i.size) - np.repeat(np.cumsum(counts) - counts, counts)
        neighbors[start + i, place], shifts[start + i, place] = start + j, s
        start += len(structure)
    graph = Graph(numbers, neighbors, shifts, owner, float(cutoff), count)
    return Batch(graph, positions, cells, sizes, tuple(all(structure.pbc) for structure in structures))


def _room(name: str, given: int | None, needed: int, default: int) -> int:
    if given is None:
        return default
    if given < needed:
        raise ValueError(f"{name}: got {given}, but {needed} are there; give at least that, or leave it out.")
    return int(given)
