"""The neighbour graph of atoms: who is near whom, through which periodic image, in arrays of static shape."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnmr.compiling import exact_products

__all__ = ["Batch", "Graph", "bucket"]

Numbers = Array | np.ndarray


class Graph(eqx.Module):
    r"""Neighbours within a cutoff of each atom of one or several structures, every periodic image counted.

    Row i lists the neighbours j of atom i with the lattice vectors that lead to their images, so that the vector of
    an edge is

    $$\mathbf r_{ij} = \mathbf r_j + \mathbf S_{ij}\,\mathbf h - \mathbf r_i .$$

    Each pair is listed from both ends. Rows have one length: a dense list sums over neighbours without a scatter, which
    is quicker and, on a GPU, the same from run to run. Sizes are rounded up, so that a new structure seldom means a new
    compilation (how often says `batch_graphs`); atoms that fill up have number 0 and no neighbours, places that fill up a
    row point at no atom. `neighbor_graph` and `batch_graphs` build graphs, `NeighborList` updates one under jit.

    Args:
        numbers: atomic numbers, 0 for an atom that fills up, (atom,).
        neighbors: index of each neighbour; the number of atoms where there is none, (atom, neighbor).
        shifts: lattice vectors to its image, (atom, neighbor, 3).
        structure: which structure an atom belongs to, (atom,).
        cutoff: up to which distance pairs are listed, Å.
        n_structures: how many structures there are.
    """

    numbers: Int[Numbers, " atom"]
    neighbors: Int[Numbers, "atom neighbor"]
    shifts: Int[Numbers, "atom neighbor 3"]
    structure: Int[Numbers, " atom"]
    cutoff: float = eqx.field(static=True)
    n_structures: int = eqx.field(static=True, default=1)

    @property
    def n_atoms(self) -> int:
        """Atoms, with those that fill up."""
        return self.numbers.shape[-1]

    @property
    def n_neighbors(self) -> int:
        """Length of a row."""
        return self.neighbors.shape[-1]

    @property
    def is_atom(self) -> Bool[Numbers, " atom"]:
        """Which atoms are real."""
        return self.numbers > 0

    @property
    def is_edge(self) -> Bool[Numbers, "atom neighbor"]:
        """Which places of a row hold a neighbour."""
        return self.neighbors < self.n_atoms

    @property
    def n_edges(self) -> int:
        """Pairs, each counted from both ends; concrete graphs only."""
        return int(np.asarray(self.is_edge).sum())

    @exact_products
    def vectors(
        self, positions: Float[Numbers, "atom 3"], cell: Float[Numbers, "3 3"] | Float[Numbers, "structure 3 3"] | None
    ) -> Float[Array, "atom neighbor 3"]:
        """Vector from each atom to each neighbour's image, Å; twice the cutoff along x where there is none.

        Args:
            positions: Å, of all atoms of the graph.
            cell: lattice vectors in rows, one set for all or one for each structure; None without a lattice.
        """
        positions = jnp.asarray(positions)
        away = jnp.asarray([2.0 * self.cutoff, 0.0, 0.0], positions.dtype)
        # Places without a neighbour read the atom's own position; the value is then discarded.
        here = jnp.arange(self.n_atoms, dtype=self.neighbors.dtype)[:, None]
        vectors = positions[jnp.where(self.is_edge, self.neighbors, here)] - positions[:, None, :]
        if cell is not None:
            cell = jnp.asarray(cell, positions.dtype)
            shifts = jnp.asarray(self.shifts).astype(positions.dtype)
            if cell.ndim == 2:
                vectors = vectors + shifts @ cell
            else:
                vectors = vectors + jnp.einsum("aks,asx->akx", shifts, cell[self.structure])
        return jnp.where(self.is_edge[..., None], vectors, jnp.broadcast_to(away, vectors.shape))


class Batch(eqx.Module):
    """Structures side by side in one graph, with their coordinates.

    Args:
        graph: the neighbours; no edge joins two structures.
        positions: of all atoms, zero for those that fill up, Å.
        cell: lattice vectors of each structure, Å; the identity where a structure has none.
        sizes: number of real atoms of each structure, in order.
        periodic: whether each structure repeats along all three lattice vectors, so that it has a volume.
    """

    graph: Graph
    positions: Float[Numbers, "atom 3"]
    cell: Float[Numbers, "structure 3 3"]
    sizes: tuple[int, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)


def bucket(size: int, *, in_octave: int = 8, step: int = 4) -> int:
    """The next size that arrays are made in: eight in each octave, so that at most an eighth is filled up.

    Sizes are multiples of four at least, 8, 12, 16, 20 ... 64, 72, 80 ... 128, 144: 1 to 10⁴ atoms fall into 73 sizes.
    `NeighborList` takes them, since one compilation there serves many steps; `neighbor_graph` and `batch_graphs` take fewer.

    Args:
        size: what has to fit.
        in_octave: how many sizes there are between one power of two and the next, itself a power of two.
        step: the least difference between sizes, likewise.
    """
    size = max(size, 8)
    step = max(step, (1 << (size - 1).bit_length() - 1) // in_octave)
    return -(-size // step) * step
